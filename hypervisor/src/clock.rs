//! The kernel's time base.
//!
//! Purpose: how fast the TSC and the local timers run, found once at boot.
//! Invariants: [`khz`] is not 0 after [`start`].
//! Concurrency: written by the boot core before other cores start, read by all.
//! Source: design plan §3; interface §7 (TSC frequency in the information page).
use crate::log::info;
use crate::machine::Machine;
use arch::clock::{Frequencies, Reference, calibrate};
use arch::features::Features;
use arch::{apic, ratio::Factor};
use core::sync::atomic::{AtomicU32, Ordering};

static TSC_KHZ: AtomicU32 = AtomicU32::new(0);

/// Frequency of the TSC in kHz.
pub fn khz() -> u32 {
    TSC_KHZ.load(Ordering::Relaxed)
}

/// Finds the frequencies and prepares the timer of all cores. `None` if no clock counts.
#[must_use]
pub fn start(features: &Features, machine: &Machine) -> Option<()> {
    let timer = machine.fadt.as_ref().and_then(|fadt| fadt.pm_timer);
    let reference = match (features.tsc_khz, timer) {
        (Some(khz), _) => Reference::time_stamp(khz),
        (None, Some(timer)) => Reference::power_management(timer.port, timer.wide),
        (None, None) => Reference::interval_timer(),
    };
    let measured = calibrate(&reference)?;
    let (found, source) = (Frequencies { tsc: features.tsc_khz.unwrap_or(measured.tsc), ..measured }, reference.name);
    TSC_KHZ.store(found.tsc, Ordering::Relaxed);
    apic::set_timer(features.tsc_deadline, Factor::new(found.tsc, found.timer));
    info!(
        "clock: TSC {}.{:03} MHz ({source}), timer {}",
        found.tsc / 1000,
        found.tsc % 1000,
        if features.tsc_deadline { "by TSC deadline" } else { "one-shot" }
    );
    Some(())
}
