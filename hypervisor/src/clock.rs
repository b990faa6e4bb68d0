//! The kernel's time base.
//!
//! Purpose: how fast the TSC and the local timers run, found once at boot.
//! Invariants: [`khz`] is not 0 after [`start`].
//! Concurrency: written by the boot core before other cores start, read by all.
//! Source: design plan §3; interface §7 (TSC frequency in the information page).
use crate::log::info;
use crate::machine::Machine;
use arch::clock::{Reference, calibrate};
use arch::features::Features;
use arch::{apic, ratio::Factor};
use core::iter;
use core::sync::atomic::{AtomicU32, Ordering};

static TSC_KHZ: AtomicU32 = AtomicU32::new(0);

/// Frequency of the TSC in kHz.
pub fn khz() -> u32 {
    TSC_KHZ.load(Ordering::Relaxed)
}

/// Finds the frequencies and prepares the timer of all cores. `None` if no clock counts.
#[must_use]
pub fn start(features: &Features, machine: &Machine) -> Option<()> {
    let told = features.tsc_khz.map(Reference::time_stamp);
    let timer = machine.fadt.as_ref().and_then(|fadt| fadt.pm_timer);
    let power = timer.map(|timer| Reference::power_management(timer.port, timer.wide));
    let mut all = told.into_iter().chain(power).chain(iter::once_with(Reference::interval_timer));
    let ((measured, timer), source) = all.find_map(|clock| Some((calibrate(&clock)?, clock.name)))?;
    let tsc = features.tsc_khz.unwrap_or(measured);
    TSC_KHZ.store(tsc, Ordering::Relaxed);
    apic::set_timer(features.tsc_deadline, Factor::new(tsc, timer));
    let kind = if features.tsc_deadline { "by TSC deadline" } else { "one-shot" };
    info!("clock: TSC {}.{:03} MHz ({source}), timer {kind}", tsc / 1000, tsc % 1000);
    Some(())
}
