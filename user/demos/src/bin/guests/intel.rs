//! Intel's numbers as those of AMD, in which the scenes are written.
//!
//! Concurrency: one word, set before the first exit.
use core::sync::atomic::{AtomicBool, Ordering::SeqCst};

use abi::Mtd;

use crate::monitor::field;
use crate::scenes::{CPUID, HLT, INVALID, MSR, NESTED, PORT, SHUTDOWN, VMMCALL, WINDOW};

static INTEL: AtomicBool = AtomicBool::new(false);

/// Says that the processor is one of Intel's.
pub fn set() {
    INTEL.store(true, SeqCst);
}

/// Whether it is.
pub fn is_intel() -> bool {
    INTEL.load(SeqCst)
}

/// The event that is the same.
pub fn event(event: u64) -> u64 {
    const EVENTS: [(u64, u64); 10] = [
        (2, SHUTDOWN),
        (7, WINDOW),
        (10, CPUID),
        (12, HLT),
        (18, VMMCALL),
        (30, PORT),
        (31, MSR),
        (32, MSR),
        (33, INVALID),
        (48, NESTED),
    ];
    let same = |&(intel, amd): &(u64, u64)| (intel == event).then_some(amd);
    if is_intel() { EVENTS.iter().find_map(same).unwrap_or(event) } else { event }
}

/// The number that the processor has for one of the scenes' events.
pub fn number(of: u64) -> u64 {
    (0..256).find(|&number| event(number) == of).unwrap_or(of)
}

/// What an exit says of itself, in the form of `event`: two words.
pub fn information(event: u64, [first, second]: [u64; 2], next: u64) -> [u64; 2] {
    match event {
        _ if !is_intel() => [first, second],
        // Size and direction; a port in the upper half is the same.
        PORT => [first >> 16 << 16 | 0x10 << (first & 3) | first >> 3 & 1, next],
        // Whether something is there, and whether it was stored to; the access is always one of the guest's.
        NESTED => [u64::from(first >> 3 & 7 != 0) | first & 2 | 4, second],
        MSR => [0, 0],
        _ => [first, second],
    }
}

/// What to write into a field instead of `value`: there is no bit for virtualisation, and other controls.
pub fn value(group: Mtd, field: usize, value: u64) -> u64 {
    match is_intel() {
        true if group == Mtd::EFER => value & !0x1000,
        true if field == field!(ctrl) => 0,
        _ => value,
    }
}

/// The last byte of the instruction that asks the monitor, which is VMMCALL in the code of guests.
pub const CALL: (u64, u64) = (0xD9_010F, 0xC1_010F);
