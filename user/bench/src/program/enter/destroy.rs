//! The loop that destroys, and what shows that it has.
//!
//! Concurrency: one user.
//! Source: interface §5 ("revoke", "pd_ctrl").

use super::{DOWN, EMPTY, NOTE, control};
use abi::{Crd, Hypercall, Request, Rights, Selector};
use core::arch::asm;

/// From one selector to the next in the word of a range.
const RANGE_UNIT: u64 = 1 << 12;
/// Flag: with the range itself.
const WITH_SELF: u8 = 1;
/// Flag: tells how much of its quota a domain uses.
const READ_QUOTA: u8 = 2;

const fn revoke(notified: u64) -> u64 {
    Request::new(Hypercall::Revoke, WITH_SELF, Selector::new(notified)).word()
}

/// The one capability at a selector, as a range.
pub fn range(selector: u64) -> u64 {
    Crd::objects(Selector::new(selector), 0, Rights::ALL).unwrap_or(Crd::NULL).word()
}

/// Revokes the `count` capabilities at consecutive selectors from `first`, each with a hypercall; otherwise the status.
pub fn destroy(first: u64, count: u64) -> Result<(), u8> {
    repeat!(["mov rsi, r9"], ["add r9, {unit}"], 0_u8, count,
        in("r12") revoke(0), inout("r9") range(first) => _, unit = const RANGE_UNIT)
}

/// Waits until all that was destroyed is given back: the kernel ups a semaphore then.
pub fn settle() -> Result<(), u8> {
    match super::hypercall(revoke(NOTE), [range(EMPTY), 0, 0, 0]) {
        0 => super::repeat_down(control(NOTE, DOWN), 1),
        status => Err(status),
    }
}

/// Pages of the kernel's memory that the domain at `selector` pays for.
pub fn usage(selector: u64) -> u64 {
    let mut pages = 0_u64;
    let request = Request::new(Hypercall::ControlDomain, READ_QUOTA, Selector::new(selector)).word();
    // SAFETY: asks for two numbers.
    unsafe {
        asm!("syscall", inout("rdi") request => _, out("rsi") _, inout("rdx") pages, out("rax") _, out("r8") _,
            out("rcx") _, out("r11") _, options(nostack));
    }
    pages
}
