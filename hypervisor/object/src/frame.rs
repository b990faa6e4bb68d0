//! The register frame: where a context's registers are while it is not running.
//!
//! Purpose: one layout for host threads and virtual CPUs. A trap from ring 3 pushes straight into the current
//! context's frame (the task state's stack pointer is the frame's end), SYSCALL stores into it; nothing is copied.
//! Invariants: 176 bytes, 16-byte aligned, the order is the order of pushes; `vector` tells how the kernel was entered
//! ([`SYSCALL`] or a vector below 256).
//! Concurrency: a frame is used by the core on which the context runs, or by whoever holds the stopped context;
//! registers are relaxed atomics (plain loads and stores), so that a shared borrow suffices.
//! Source: AMD64 manual volume 2, §8.9 (interrupt stack frame); `docs/src/decisions/0007-register-frame.md`.
use sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Value of [`Frame::vector`] after SYSCALL.
pub const SYSCALL: u64 = 256;
/// Value of [`Frame::vector`] of a virtual CPU, always.
pub const GUEST: u64 = 512;
/// Code segment that IRETQ loads for ring 3.
pub const USER_CODE: u64 = 0x1B;
/// Stack segment of ring 3.
pub const USER_DATA: u64 = 0x23;
/// RFLAGS of a context that starts: interrupts on, the bit that is always 1.
pub const USER_FLAGS: u64 = 0x202;

/// A saved register.
#[derive(Default)]
#[repr(transparent)]
pub struct Register(AtomicU64);

impl Register {
    /// A register with this value.
    pub const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// Its value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Replaces its value.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Adds to its value; on one core only.
    pub fn add(&self, value: u64) {
        self.set(self.get().wrapping_add(value));
    }
}

/// Registers in the order in which entry code stores them.
#[derive(Default)]
#[repr(C, align(16))]
#[expect(missing_docs, reason = "registers are named by the architecture")]
pub struct Frame {
    pub r15: Register,
    pub r14: Register,
    pub r13: Register,
    pub r12: Register,
    pub r11: Register,
    pub r10: Register,
    pub r9: Register,
    pub r8: Register,
    pub rdi: Register,
    pub rsi: Register,
    pub rbp: Register,
    pub rbx: Register,
    pub rdx: Register,
    pub rcx: Register,
    pub rax: Register,
    /// How the kernel was entered.
    pub vector: Register,
    /// Error code of the exception, 0 where there is none.
    pub error: Register,
    /// What the processor pushes, or SYSCALL leaves in registers.
    pub rip: Register,
    pub cs: Register,
    pub rflags: Register,
    pub rsp: Register,
    pub ss: Register,
}

const _: () = assert!(size_of::<Frame>() == 176 && align_of::<Frame>() == 16);

impl Frame {
    /// The frame of a context that is to start at `rip` in ring 3 with stack pointer `rsp`; other registers are 0.
    pub fn user(rip: u64, rsp: u64) -> Self {
        Self {
            rip: Register::new(rip),
            cs: Register::new(USER_CODE),
            rflags: Register::new(USER_FLAGS),
            rsp: Register::new(rsp),
            ss: Register::new(USER_DATA),
            ..Self::default()
        }
    }

    /// All of them, in the order of the fields.
    #[inline]
    pub const fn words(&self) -> &[Register; 22] {
        const { assert!(size_of::<Self>() == size_of::<[Register; 22]>()) };
        // SAFETY: the structure is laid out as in C, and consists of that many registers.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// Whether the trap came from ring 3.
    pub fn from_user(&self) -> bool {
        self.cs.get() & 3 == 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_context_starts_in_ring_3_with_interrupts_on() {
        let frame = Frame::user(0x10_0000, 0x20_0000);
        assert!(frame.from_user());
        assert_eq!((frame.rip.get(), frame.rsp.get()), (0x10_0000, 0x20_0000));
        assert_ne!(frame.rflags.get() & 0x200, 0);
        assert_eq!(frame.ss.get() & 3, 3);
    }
}
