//! Exits: what the processor's numbers mean, for both kinds of processor.
//!
//! Invariants: every index decodes to something.
//! Concurrency: plain values.
//! Source: classic interface, "Events"; AMD64 manual volume 2, appendix C; Intel SDM volume 3, appendix C.

use abi::Mtd;
use abi::event;

/// What virtualises the processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// AMD.
    Svm,
    /// Intel.
    Vmx,
}

/// Why a virtual processor left the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It has not run yet.
    Startup,
    /// It was recalled.
    Recall,
    /// CPUID.
    Cpuid,
    /// HLT.
    Halt,
    /// IN or OUT.
    Port,
    /// RDMSR, or WRMSR: VMX tells by the index, SVM by the qualification.
    Msr(Option<bool>),
    /// An access to memory that is not there.
    Memory,
    /// The guest takes interrupts now.
    Window,
    /// An instruction that this machine does not have.
    Undefined,
    /// XSETBV.
    SetXcr,
    /// A move to or from control register 8, the local APIC's task priority; on VMX perhaps another control register.
    Priority,
    /// INVD or WBINVD, of this length: nothing to be done.
    Cache(u64),
    /// RDPMC: there are no counters.
    Counter,
    /// The guest faulted while it handled a double fault.
    TripleFault,
    /// The processor refused the state.
    Invalid,
    /// An INIT arrived from outside.
    Init,
    /// Another one.
    Other(u8),
}

const NEEDS_INJECTION: Mtd = Mtd::RFLAGS.union(Mtd::STA).union(Mtd::INJ);
/// What tells which instruction is next.
pub const PLACE: Mtd = Mtd::RIP_LEN.union(Mtd::CS_SS).union(Mtd::CR).union(Mtd::EFER);
const DECODES: Mtd = PLACE.union(Mtd::GPR).union(Mtd::DS_ES).union(Mtd::FS_GS).union(Mtd::QUAL).union(NEEDS_INJECTION);
/// What a whole state consists of.
pub const WHOLE: Mtd = Mtd::from_bits_retain(
    (1 << 25) - 1 - Mtd::QUAL.bits() - Mtd::CTRL.bits() - Mtd::PDPTE.bits() - Mtd::TPR.bits() - Mtd::TSC.bits(),
);

/// How many kinds of exits are told apart in counts.
pub const KINDS: usize = 12;
/// Their names.
pub const NAMES: [&str; KINDS] = [
    "start",
    "recall",
    "CPUID",
    "HLT",
    "serial port",
    "other port",
    "APIC timer",
    "APIC end of interrupt",
    "APIC message",
    "other MSR",
    "memory",
    "other",
];

impl Exit {
    /// The kind that it is counted as; ports and registers are told apart by `number`.
    #[must_use]
    pub const fn kind(self, number: u32) -> usize {
        match (self, number) {
            (Self::Startup, _) => 0,
            (Self::Recall | Self::Window, _) => 1,
            (Self::Cpuid, _) => 2,
            (Self::Halt, _) => 3,
            (Self::Port, 0x3F8..=0x3FF) => 4,
            (Self::Port, _) => 5,
            (Self::Msr(_), 0x6E0) => 6,
            (Self::Msr(_), 0x80B) => 7,
            (Self::Msr(_), 0x830) => 8,
            (Self::Msr(_), _) => 9,
            (Self::Memory, _) => 10,
            _ => 11,
        }
    }

    /// Decodes the index of an event.
    #[must_use]
    pub const fn new(backend: Backend, index: u8) -> Self {
        match (backend, index) {
            (_, event::VCPU_STARTUP) => Self::Startup,
            (_, event::VCPU_RECALL) => Self::Recall,
            (Backend::Svm, index) => match index {
                event::VCPU_SVM_NESTED_FAULT => Self::Memory,
                event::VCPU_SVM_INVALID => Self::Invalid,
                0x08 | 0x18 => Self::Priority,
                0x63 => Self::Init,
                0x64 => Self::Window,
                0x6F => Self::Counter,
                0x72 => Self::Cpuid,
                0x76 | 0x89 => Self::Cache(2),
                0x78 => Self::Halt,
                0x7B => Self::Port,
                0x7C => Self::Msr(None),
                0x7F => Self::TripleFault,
                0x7A | 0x80..=0x86 | 0x8A | 0x8B | 0x8C | 0x8E => Self::Undefined,
                0x8D => Self::SetXcr,
                other => Self::Other(other),
            },
            (Backend::Vmx, index) => match index {
                2 => Self::TripleFault,
                3 => Self::Init,
                7 | 8 => Self::Window,
                10 => Self::Cpuid,
                12 => Self::Halt,
                13 | 54 => Self::Cache(2),
                15 => Self::Counter,
                28 => Self::Priority,
                18..=27 | 36 | 39 | 50 | 53 => Self::Undefined,
                30 => Self::Port,
                31 => Self::Msr(Some(false)),
                32 => Self::Msr(Some(true)),
                event::VCPU_VMX_INVALID => Self::Invalid,
                48 => Self::Memory,
                55 => Self::SetXcr,
                other => Self::Other(other),
            },
        }
    }

    /// The state that is needed to handle it: the transfer descriptor of its portal.
    #[must_use]
    pub const fn needs(self) -> Mtd {
        match self {
            // Everything is written, nothing read.
            Self::Startup => Mtd::empty(),
            // With what tells whether HLT is next.
            Self::Recall | Self::Window => PLACE.union(NEEDS_INJECTION),
            Self::Init => NEEDS_INJECTION,
            // What the guest has enabled is told by it, too.
            Self::Cpuid => Mtd::ACDB.union(Mtd::RIP_LEN).union(Mtd::CR).union(Mtd::XSAVE),
            Self::Cache(_) => Mtd::RIP_LEN.union(NEEDS_INJECTION),
            Self::Halt => Mtd::RIP_LEN.union(NEEDS_INJECTION),
            Self::Port => Mtd::ACDB.union(Mtd::RIP_LEN).union(Mtd::QUAL).union(NEEDS_INJECTION),
            Self::Msr(_) => Mtd::ACDB
                .union(Mtd::RIP_LEN)
                .union(Mtd::QUAL)
                .union(Mtd::EFER)
                .union(Mtd::SYSENTER)
                .union(Mtd::SYSCALL_SWAPGS)
                .union(Mtd::TSC_AUX)
                .union(NEEDS_INJECTION),
            Self::Memory | Self::Priority => DECODES,
            Self::Undefined | Self::Counter => Mtd::RIP_LEN.union(NEEDS_INJECTION),
            Self::SetXcr => Mtd::ACDB.union(Mtd::RIP_LEN).union(Mtd::CS_SS).union(NEEDS_INJECTION),
            Self::TripleFault | Self::Invalid | Self::Other(_) => WHOLE.union(Mtd::QUAL),
        }
    }

    /// Whether this machine's processors leave the guest with it at all; others end the machine.
    #[must_use]
    pub const fn is_expected(self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

/// An access to a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PortAccess {
    /// The port.
    pub port: u16,
    /// 1, 2 or 4 bytes.
    pub size: u8,
    /// Whether the guest reads.
    pub read: bool,
    /// INS or OUTS.
    pub string: bool,
    /// Address of the next instruction, if the processor tells.
    pub next: Option<u64>,
}

impl PortAccess {
    /// From the qualification of the exit.
    #[must_use]
    pub const fn new(backend: Backend, [first, second]: [u64; 2]) -> Self {
        let port = (first >> 16) as u16;
        match backend {
            Backend::Svm => {
                let size = match first >> 4 & 7 {
                    1 => 1,
                    2 => 2,
                    _ => 4,
                };
                Self { port, size, read: first & 1 != 0, string: first & 4 != 0, next: Some(second) }
            }
            Backend::Vmx => {
                let size = match first & 7 {
                    0 => 1,
                    1 => 2,
                    _ => 4,
                };
                Self { port, size, read: first & 8 != 0, string: first & 16 != 0, next: None }
            }
        }
    }
}

/// Whether an access to memory was a write, and its address.
#[must_use]
pub const fn memory_access([first, second]: [u64; 2]) -> (bool, u64) {
    // Error code of a page fault, or qualification of an EPT violation: bit 1 says so in both.
    (first & 2 != 0, second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_event_has_different_numbers() {
        for (svm, vmx, exit) in [(0x72, 10, Exit::Cpuid), (0x78, 12, Exit::Halt), (0xFC, 48, Exit::Memory)] {
            assert_eq!((Exit::new(Backend::Svm, svm), Exit::new(Backend::Vmx, vmx)), (exit, exit));
        }
        assert_eq!(Exit::new(Backend::Vmx, 0xFE), Exit::Startup);
        assert_eq!(Exit::new(Backend::Svm, 0xFB), Exit::Other(0xFB));
    }

    #[test]
    fn port_accesses_decode_alike() {
        let svm = PortAccess::new(Backend::Svm, [0x3F8 << 16 | 1 << 4 | 1, 0x1002]);
        let vmx = PortAccess::new(Backend::Vmx, [0x3F8 << 16 | 8, 0]);
        assert_eq!(svm, PortAccess { next: Some(0x1002), ..vmx });
        assert_eq!((vmx.port, vmx.size, vmx.read, vmx.string), (0x3F8, 1, true, false));
    }

    #[test]
    fn a_whole_state_leaves_out_what_is_not_read() {
        assert!(!WHOLE.intersects(Mtd::QUAL | Mtd::CTRL | Mtd::FPU | Mtd::TSC));
        assert!(WHOLE.contains(Mtd::GPR | Mtd::EFER | Mtd::R8_R15));
    }
}
