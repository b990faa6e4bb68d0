//! How fast the time-stamp counter and the local timer run.
//!
//! Purpose: calibration against a clock of known frequency.
//! Invariants: every wait is bounded by reads, so that a clock that stands still is an error and not a hang.
//! Concurrency: boot core, interrupts off.
//! Source: ACPI specification 6.5, §4.8.3.3 (PM timer); Intel 8254 data sheet.
use crate::{apic, cpu, port::Port, ratio};

/// Where a clock counts.
#[derive(Debug)]
enum Counter {
    PowerManagement(Port),
    Interval,
    TimeStamp,
}

/// A clock of known frequency.
#[derive(Debug)]
pub struct Reference {
    /// Its name, for the log.
    pub name: &'static str,
    hertz: u64,
    /// The bits that count.
    mask: u32,
    counter: Counter,
}

const SPEAKER: u16 = 0x61;
/// Reads of the reference before it counts as dead; each takes about a microsecond or more on real hardware.
const PATIENCE: u32 = 10_000_000;

impl Reference {
    /// The power-management timer at `port`, with a counter of 32 bits or 24.
    pub fn power_management(port: u16, wide: bool) -> Self {
        let mask = if wide { u32::MAX } else { 0xFF_FFFF };
        // SAFETY: a read-only counter.
        let counter = Counter::PowerManagement(unsafe { Port::new(port) });
        Self { name: "PM timer", hertz: 3_579_545, mask, counter }
    }

    /// Channel 2 of the interval timer, which is started.
    pub fn interval_timer() -> Self {
        let [count, control] = interval_ports();
        // SAFETY: the gate of the speaker's timer channel.
        let gate = unsafe { Port::new(SPEAKER) };
        gate.write8(gate.read8() & !2 | 1); // speaker off, gate on
        control.write8(0xB0); // channel 2, both bytes, mode 0
        count.write8(0xFF);
        count.write8(0xFF);
        Self { name: "PIT", hertz: 1_193_182, mask: 0xFFFF, counter: Counter::Interval }
    }

    /// The time-stamp counter, whose frequency CPUID tells.
    pub fn time_stamp(khz: u32) -> Self {
        Self { name: "CPUID", hertz: u64::from(khz) * 1000, mask: u32::MAX, counter: Counter::TimeStamp }
    }

    /// The counter's value; it counts upwards.
    fn read(&self) -> u32 {
        match self.counter {
            Counter::PowerManagement(port) => port.read32(),
            Counter::TimeStamp => cpu::time_stamp() as u32,
            Counter::Interval => {
                let [count, control] = interval_ports();
                control.write8(0x80); // latch channel 2
                let low = count.read8();
                !(u32::from(low) | u32::from(count.read8()) << 8)
            }
        }
    }
}

/// Count of channel 2, and the control register.
fn interval_ports() -> [Port; 2] {
    // SAFETY: the interval timer counts; it does not access memory.
    [0x42, 0x43].map(|port| unsafe { Port::new(port) })
}

/// Counts TSC and local-timer ticks for ten milliseconds of `reference`: their frequencies in kHz, that of the local timer
/// after its divider. `None` if the reference stands still.
#[must_use]
pub fn calibrate(reference: &Reference) -> Option<(u32, u32)> {
    let wanted = (reference.hertz / 100) as u32;
    let start = reference.read();
    apic::start_count();
    let stamp = cpu::time_stamp();
    for _ in 0..PATIENCE {
        let passed = reference.read().wrapping_sub(start) & reference.mask;
        if passed >= wanted {
            let tsc = cpu::time_stamp() - stamp;
            let timer = u64::from(apic::count());
            let khz = |ticks| ratio::kilohertz(ticks, u64::from(passed), reference.hertz);
            return Some((khz(tsc)?, khz(timer)?));
        }
        sync::relax();
    }
    None
}
