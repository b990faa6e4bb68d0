//! Interrupt controllers: local APIC, I/O APIC, the 8259A pair.
//!
//! Invariants: what is sent names vectors and destinations that there are.
//! Concurrency: plain values.

use vm_ioapic::{IoApic, PINS};
use vm_lapic::{APIC_BASE, Lapic, Shared, TSC_DEADLINE, X2APIC_FIRST};
use vm_pic::Pics;

use crate::Driven;

struct Local {
    lapic: Lapic,
    shared: Shared,
    now: u64,
}

pub fn lapic() -> Box<dyn Driven> {
    Box::new(Local { lapic: Lapic::new(true), shared: Shared::new(1), now: 0 })
}

impl Driven for Local {
    fn step(&mut self, first: u64, second: u64) {
        let Self { lapic, shared, now } = self;
        *now += first >> 40;
        let index = (first >> 8) as u32 & 0x3F;
        match first & 15 {
            0..4 => _ = lapic.write(shared, index, second as u32, *now),
            4..8 => _ = lapic.write_msr(shared, X2APIC_FIRST + index, second, *now),
            8 => _ = lapic.write_msr(shared, APIC_BASE, 0xFEE0_0000 | second & 0xFFF, *now),
            9 => _ = lapic.write_msr(shared, TSC_DEADLINE, now.wrapping_add(second >> 32), *now),
            10 => _ = lapic.write_msr(shared, first as u32 >> 8, second, *now),
            11 => _ = shared.request(second as u8, second & 0x100 != 0),
            12 => _ = (lapic.read(shared, index, *now), lapic.read_msr(shared, X2APIC_FIRST + index, *now)),
            13 if second & 63 == 0 => lapic.init(shared),
            14 => _ = (shared.take_nmi(), shared.take_start()),
            _ => _ = lapic.tick(shared, *now),
        }
        if let Some(vector) = lapic.pending(shared)
            && first >> 16 & 1 != 0
        {
            lapic.accept(shared, vector);
            assert!(lapic.pending(shared) != Some(vector), "vector {vector} again, while it is served");
        }
        assert!(!lapic.x2apic() || lapic.enabled(), "a mode that the processor does not have");
    }
}

struct Io(IoApic);

pub fn ioapic() -> Box<dyn Driven> {
    Box::new(Io(IoApic::default()))
}

impl Driven for Io {
    fn step(&mut self, first: u64, second: u64) {
        let Self(ioapic) = self;
        let pin = (first >> 8) as usize & 31;
        match first & 7 {
            0 | 1 => _ = ioapic.write(0, second as u32 & 0x3F),
            2 | 3 => _ = ioapic.write(0x10, second as u32),
            4 => _ = ioapic.set_line(pin, second & 1 != 0),
            5 => assert!(ioapic.end_of_interrupt(second as u8).count() <= PINS, "more messages than pins"),
            6 => _ = ioapic.write(first >> 16 & 0xFF, second as u32),
            _ => _ = (ioapic.read(first >> 16 & 0xFF), ioapic.is_masked(pin)),
        }
        let _ = IoApic::is_end(first >> 16 & 0xFF, second as u32);
    }
}

struct Pair(Pics);

pub fn pic() -> Box<dyn Driven> {
    Box::new(Pair(Pics::default()))
}

impl Driven for Pair {
    fn step(&mut self, first: u64, second: u64) {
        const PORTS: [u16; 6] = [0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1];
        let Self(pics) = self;
        let port = PORTS[(first >> 8) as usize % 6];
        match first & 3 {
            0 => pics.write(port, second as u8),
            1 => _ = pics.read(port),
            2 => pics.set_line((second >> 8) as u8 & 15, second & 1 != 0),
            // The processor asks only when it is told to, except that a line may have gone meanwhile.
            _ => _ = pics.acknowledge(),
        }
        let _ = pics.pending();
    }
}
