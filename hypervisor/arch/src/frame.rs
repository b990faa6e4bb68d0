//! The register frame: where a context's registers are while it is not running.
//!
//! Purpose: one layout for host threads and virtual CPUs. A trap from ring 3 pushes straight into the current
//! context's frame (the task state's stack pointer is the frame's end), SYSCALL stores into it; nothing is copied.
//! Invariants: 176 bytes, 16-byte aligned, the order is the order of pushes; `vector` tells how the kernel was entered
//! ([`SYSCALL`] or a vector below 256).
//! Concurrency: owned by the core on which the context runs, or by whoever holds the stopped context.
//! Source: AMD64 manual volume 2, §8.9 (interrupt stack frame); `docs/src/decisions/0007-register-frame.md`.

/// Value of [`Frame::vector`] after SYSCALL.
pub const SYSCALL: u64 = 256;
/// Code segment that IRETQ loads for ring 3.
pub const USER_CODE: u64 = 0x1B;
/// Stack segment of ring 3.
pub const USER_DATA: u64 = 0x23;
/// RFLAGS of a context that starts: interrupts on, the bit that is always 1.
pub const USER_FLAGS: u64 = 0x202;

/// Registers in the order in which entry code stores them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(16))]
#[expect(missing_docs, reason = "registers are named by the architecture")]
pub struct Frame {
    /// General registers, R15 first.
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    /// How the kernel was entered.
    pub vector: u64,
    /// Error code of the exception, 0 where there is none.
    pub error: u64,
    /// What the processor pushes, or SYSCALL leaves in registers.
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

const _: () = assert!(size_of::<Frame>() == 176);

impl Frame {
    /// The frame of a context that is to start at `rip` in ring 3 with stack pointer `rsp`.
    #[must_use]
    pub const fn user(rip: u64, rsp: u64) -> Self {
        Self {
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            r11: 0,
            r10: 0,
            r9: 0,
            r8: 0,
            rdi: 0,
            rsi: 0,
            rbp: 0,
            rbx: 0,
            rdx: 0,
            rcx: 0,
            rax: 0,
            vector: 0,
            error: 0,
            rip,
            cs: USER_CODE,
            rflags: USER_FLAGS,
            rsp,
            ss: USER_DATA,
        }
    }

    /// Whether the trap came from ring 3.
    #[must_use]
    pub const fn from_user(&self) -> bool {
        self.cs & 3 == 3
    }
}
