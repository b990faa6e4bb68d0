//! Events: which portal of an execution context the kernel calls, as an index from the context's event base.
//!
//! A thread has 32 events: the processor's exceptions, and two that the kernel makes. A virtual CPU has 256: exit reasons
//! of the processor, and some that the kernel makes.
//! Concurrency: plain values.
//! Source: classic interface, "Events"; AMD64 manual volume 2, §8.2 (vectors).

/// Events of a thread.
pub const THREAD_EVENTS: u64 = 32;
/// Events of a virtual CPU.
pub const VCPU_EVENTS: u64 = 256;

/// First run of a thread with a scheduling context of its own.
pub const STARTUP: u8 = 0x1E;
/// A thread was recalled.
pub const RECALL: u8 = 0x1F;

/// SVM: any exit code of 0x100 or more without an index of its own.
pub const VCPU_SVM_OTHER: u8 = 0xFB;
/// SVM: fault in the nested page table.
pub const VCPU_SVM_NESTED_FAULT: u8 = 0xFC;
/// SVM: the processor refused the guest state.
pub const VCPU_SVM_INVALID: u8 = 0xFD;
/// VMX: the processor refused the guest state.
pub const VCPU_VMX_INVALID: u8 = 33;
/// First run of a virtual CPU.
pub const VCPU_STARTUP: u8 = 0xFE;
/// A virtual CPU was recalled.
pub const VCPU_RECALL: u8 = 0xFF;

/// An exception of the processor, named by its vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(transparent)]
pub struct Exception(u8);

impl Exception {
    /// Divide error.
    pub const DIVIDE: Self = Self(0);
    /// Debug.
    pub const DEBUG: Self = Self(1);
    /// Non-maskable interrupt.
    pub const NMI: Self = Self(2);
    /// Breakpoint.
    pub const BREAKPOINT: Self = Self(3);
    /// Overflow.
    pub const OVERFLOW: Self = Self(4);
    /// Bound range exceeded.
    pub const BOUND: Self = Self(5);
    /// Undefined opcode.
    pub const UNDEFINED: Self = Self(6);
    /// Device (vector unit) not available.
    pub const NOT_AVAILABLE: Self = Self(7);
    /// Double fault.
    pub const DOUBLE_FAULT: Self = Self(8);
    /// Invalid task state segment.
    pub const INVALID_TSS: Self = Self(10);
    /// Segment not present.
    pub const NOT_PRESENT: Self = Self(11);
    /// Stack-segment fault.
    pub const STACK: Self = Self(12);
    /// General protection.
    pub const GENERAL_PROTECTION: Self = Self(13);
    /// Page fault.
    pub const PAGE_FAULT: Self = Self(14);
    /// x87 floating-point error.
    pub const FLOATING_POINT: Self = Self(16);
    /// Alignment check.
    pub const ALIGNMENT: Self = Self(17);
    /// Machine check.
    pub const MACHINE_CHECK: Self = Self(18);
    /// SIMD floating-point error.
    pub const SIMD: Self = Self(19);

    /// The exception with this vector; `None` from 32 on.
    #[must_use]
    pub const fn new(vector: u8) -> Option<Self> {
        if (vector as u64) < THREAD_EVENTS { Some(Self(vector)) } else { None }
    }

    /// The vector, 0 to 31; also the index of its portal.
    #[must_use]
    pub const fn vector(self) -> u8 {
        self.0
    }

    /// Whether a thread gets it through a portal; the rest belongs to the kernel, or kills the thread.
    #[must_use]
    pub const fn is_delivered(self) -> bool {
        matches!(self.0, 0 | 1 | 3..=6 | 10..=14 | 16..=19)
    }

    /// Whether the processor pushes an error code.
    #[must_use]
    pub const fn has_error_code(self) -> bool {
        matches!(self.0, 8 | 10..=14 | 17 | 21 | 29 | 30)
    }

    /// The short form of the manuals, such as `#PF`.
    #[must_use]
    pub const fn mnemonic(self) -> &'static str {
        match self.0 {
            0 => "#DE",
            1 => "#DB",
            2 => "NMI",
            3 => "#BP",
            4 => "#OF",
            5 => "#BR",
            6 => "#UD",
            7 => "#NM",
            8 => "#DF",
            10 => "#TS",
            11 => "#NP",
            12 => "#SS",
            13 => "#GP",
            14 => "#PF",
            16 => "#MF",
            17 => "#AC",
            18 => "#MC",
            19 => "#XM",
            20 => "#VE",
            21 => "#CP",
            28 => "#HV",
            29 => "#VC",
            30 => "#SX",
            _ => "#??",
        }
    }

    /// The exception in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self.0 {
            0 => "divide error",
            1 => "debug",
            2 => "non-maskable interrupt",
            3 => "breakpoint",
            4 => "overflow",
            5 => "bound range exceeded",
            6 => "undefined opcode",
            7 => "device not available",
            8 => "double fault",
            10 => "invalid task state segment",
            11 => "segment not present",
            12 => "stack-segment fault",
            13 => "general protection",
            14 => "page fault",
            16 => "x87 floating-point error",
            17 => "alignment check",
            18 => "machine check",
            19 => "SIMD floating-point error",
            20 => "virtualisation",
            21 => "control protection",
            28 => "hypervisor injection",
            29 => "VMM communication",
            30 => "security",
            _ => "reserved exception",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_32_vectors() {
        assert!((0..32).all(|vector| Exception::new(vector).is_some_and(|e| e.vector() == vector)));
        assert!((32..=u8::MAX).all(|vector| Exception::new(vector).is_none()));
    }

    #[test]
    fn the_kernel_keeps_what_is_its_own() {
        let kept: Vec<_> = (0..32).filter(|&v| Exception::new(v).is_some_and(|e| !e.is_delivered())).collect();
        assert_eq!(kept, [2, 7, 8, 9, 15, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31]);
    }

    #[test]
    fn the_events_of_the_kernel_lie_above_the_exceptions() {
        for event in [STARTUP, RECALL] {
            assert!(Exception::new(event).is_some_and(|e| !e.is_delivered()));
        }
    }
}
