//! Return addresses on the stack of the calling thread.
//!
//! There are no frame pointers and no unwind tables: every word of the stack that points into the program's code, behind
//! a call instruction, counts. So some may be left over from calls that have returned.
//! Invariants: reads between the stack pointer and the top of the stack only.
//! Concurrency: each thread its own.
//! Source: AMD64 manual volume 3 (CALL: E8 with a 32-bit displacement, FF with a register or memory operand).

use core::arch::asm;

use crate::arch::start::program;
use crate::arch::utcb::{RECORD_SIZE, STACK_SIZE};

/// Where programs are linked.
const CODE: usize = 0x10_0000;

/// Fills `found` with return addresses, the innermost first; gives those that there are. For threads of programs that run
/// on stacks of the runtime.
pub(crate) fn return_addresses(found: &mut [usize]) -> &[usize] {
    let bottom: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) bottom, options(nomem, nostack, preserves_flags)) };
    let top = (bottom | (STACK_SIZE - 1)) + 1 - RECORD_SIZE;
    let mut count = 0;
    for address in (bottom.next_multiple_of(8)..top).step_by(8) {
        // SAFETY: a word of the own stack (duty of the caller), which is mapped up to its top.
        let word = unsafe { core::ptr::with_exposed_provenance::<usize>(address).read_volatile() };
        if let Some(slot) = found.get_mut(count).filter(|_| is_behind_call(word)) {
            *slot = word;
            count += 1;
        }
    }
    found.get(..count).unwrap_or_default()
}

/// Whether a call instruction ends at `address`.
fn is_behind_call(address: usize) -> bool {
    // Constants lie behind the code, and the program's description is one.
    let end = core::ptr::from_ref(program()).addr();
    if !(CODE + 8..end).contains(&address) {
        return false;
    }
    // SAFETY: code and constants are mapped, readable, and adjacent but for padding.
    let byte = |back: usize| unsafe { core::ptr::with_exposed_provenance::<u8>(address - back).read_volatile() };
    byte(5) == 0xE8 || [2, 3, 6, 7].into_iter().any(|back| byte(back) == 0xFF && byte(back - 1) & 0x38 == 0x10)
}
