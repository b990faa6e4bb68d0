//! How fast the time-stamp counter and the local timer run.
//!
//! Purpose: calibration against a clock of known frequency.
//! Invariants: every wait is bounded by reads, so that a clock that stands still is an error and not a hang.
//! Concurrency: boot core, interrupts off.
//! Source: Intel HPET specification 1.0a, §2.3; ACPI specification 6.5, §4.8.3.3 (PM timer); Intel 8254 data sheet.
use crate::{apic, cpu, port::Port, ratio, window::View};
use abi::PhysAddr;
use memory::format::Attributes;

/// A clock of known frequency.
#[derive(Debug)]
pub enum Reference {
    /// High-precision event timer: its registers and its frequency in Hz.
    Hpet(View, u64),
    /// ACPI power-management timer at a port, with a counter of 24 or 32 bits.
    PowerManagement(Port, u32),
    /// Channel 2 of the interval timer.
    IntervalTimer,
}

const POWER_MANAGEMENT_HERTZ: u64 = 3_579_545;
const INTERVAL_HERTZ: u64 = 1_193_182;
const SPEAKER: u16 = 0x61;
/// Reads of the reference before it counts as dead; each takes about a microsecond or more on real hardware.
const PATIENCE: u32 = 10_000_000;

impl Reference {
    /// The event timer at `base`, if it exists and counts.
    ///
    /// # Safety
    /// Device registers or nothing at all are there, but no memory.
    #[must_use]
    pub unsafe fn hpet(base: u64) -> Option<Self> {
        let attributes = Attributes::READ | Attributes::WRITE | Attributes::UNCACHED;
        let view = View::new(PhysAddr::new(base)?, 0x400, attributes)?;
        // SAFETY: the caller vouches for the registers; reading has no effect.
        let period = unsafe { view.register(4) };
        // Femtoseconds per tick; the specification allows at most 100 ns.
        if !(1_000_000..=100_000_000).contains(&period) {
            return None;
        }
        // SAFETY: as above; starting the main counter touches no memory.
        unsafe { view.set_register(0x10, view.register(0x10) | 1) };
        Some(Self::Hpet(view, 1_000_000_000_000_000 / u64::from(period)))
    }

    /// The power-management timer at `port`.
    #[must_use]
    pub fn power_management(port: u16, wide: bool) -> Self {
        // SAFETY: a read-only counter.
        Self::PowerManagement(unsafe { Port::new(port) }, if wide { u32::MAX } else { 0xFF_FFFF })
    }

    /// Its name, for the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hpet(..) => "HPET",
            Self::PowerManagement(..) => "PM timer",
            Self::IntervalTimer => "PIT",
        }
    }

    fn hertz(&self) -> u64 {
        match self {
            Self::Hpet(_, hertz) => *hertz,
            Self::PowerManagement(..) => POWER_MANAGEMENT_HERTZ,
            Self::IntervalTimer => INTERVAL_HERTZ,
        }
    }

    /// The counter's value and the mask of its width.
    fn read(&self) -> (u32, u32) {
        match self {
            // SAFETY: the main counter register, low half.
            Self::Hpet(view, _) => (unsafe { view.register(0xF0) }, u32::MAX),
            Self::PowerManagement(port, mask) => (port.read32() & mask, *mask),
            Self::IntervalTimer => {
                let [_, _, count, control] = interval_ports();
                control.write8(0x80); // latch channel 2
                let low = count.read8();
                (!(u32::from(low) | u32::from(count.read8()) << 8) & 0xFFFF, 0xFFFF)
            }
        }
    }

    fn start(&self) {
        if let Self::IntervalTimer = self {
            let [_, _, count, control] = interval_ports();
            // SAFETY: the gate of the speaker's timer channel.
            let gate = unsafe { Port::new(SPEAKER) };
            gate.write8(gate.read8() & !2 | 1); // speaker off, gate on
            control.write8(0xB0); // channel 2, both bytes, mode 0
            count.write8(0xFF);
            count.write8(0xFF);
        }
    }
}

fn interval_ports() -> [Port; 4] {
    // SAFETY: the interval timer counts; it does not access memory.
    [0x40, 0x41, 0x42, 0x43].map(|port| unsafe { Port::new(port) })
}

/// What a calibration found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frequencies {
    /// Time-stamp counter, kHz.
    pub tsc: u32,
    /// Local timer, after its divider, kHz.
    pub timer: u32,
}

/// Counts TSC and local-timer ticks for ten milliseconds of `reference`. `None` if the reference stands still.
#[must_use]
pub fn calibrate(reference: &Reference) -> Option<Frequencies> {
    reference.start();
    let wanted = (reference.hertz() / 100) as u32;
    let (start, mask) = reference.read();
    apic::start_count();
    let stamp = cpu::time_stamp();
    for _ in 0..PATIENCE {
        let passed = reference.read().0.wrapping_sub(start) & mask;
        if passed >= wanted {
            let tsc = cpu::time_stamp() - stamp;
            let timer = u64::from(apic::count());
            let khz = |ticks| ratio::kilohertz(ticks, u64::from(passed), reference.hertz());
            return Some(Frequencies { tsc: khz(tsc)?, timer: khz(timer)? });
        }
        sync::relax();
    }
    None
}

/// Local timer frequency, counted against a TSC of known frequency for ten milliseconds, kHz.
#[must_use]
pub fn calibrate_timer(tsc_khz: u32) -> Option<u32> {
    apic::start_count();
    let stamp = cpu::time_stamp();
    pause(tsc_khz, 10_000);
    let passed = cpu::time_stamp() - stamp;
    ratio::kilohertz(u64::from(apic::count()), passed, u64::from(tsc_khz) * 1000)
}

/// Waits for `microseconds` of a TSC of `tsc_khz`.
pub fn pause(tsc_khz: u32, microseconds: u64) {
    let end = cpu::time_stamp() + u64::from(tsc_khz) * microseconds / 1000;
    while cpu::time_stamp() < end {
        sync::relax();
    }
}
