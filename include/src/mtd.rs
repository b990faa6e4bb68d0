//! Message transfer descriptor (MTD): which groups of registers a portal transfers.
//!
//! The same bits stand in a portal's attribute and in the first word of the architectural state in the UTCB.
//! Invariants: bits without a name are kept ([`Mtd::from_word`]), so that a program reads back what it wrote.
//! Concurrency: plain values.
//! Source: classic interface, "MTD bits".

use bitflags::bitflags;

bitflags! {
    /// Groups of registers; names as in the classic interface.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    #[repr(transparent)]
    pub struct Mtd: u64 {
        /// rax, rcx, rdx, rbx.
        const ACDB = 1 << 0;
        /// rbp, rsi, rdi.
        const BSD = 1 << 1;
        /// rsp.
        const RSP = 1 << 2;
        /// rip, and the length of the instruction that exited.
        const RIP_LEN = 1 << 3;
        /// rflags.
        const RFLAGS = 1 << 4;
        /// ds, es.
        const DS_ES = 1 << 5;
        /// fs, gs.
        const FS_GS = 1 << 6;
        /// cs, ss.
        const CS_SS = 1 << 7;
        /// Task register.
        const TR = 1 << 8;
        /// Local descriptor table.
        const LDTR = 1 << 9;
        /// Global descriptor table.
        const GDTR = 1 << 10;
        /// Interrupt descriptor table.
        const IDTR = 1 << 11;
        /// cr0, cr2, cr3, cr4.
        const CR = 1 << 12;
        /// dr7.
        const DR = 1 << 13;
        /// Registers of SYSENTER.
        const SYSENTER = 1 << 14;
        /// Why: error code and address of a fault, or qualification of an exit. Read only.
        const QUAL = 1 << 15;
        /// Which events exit. Write only.
        const CTRL = 1 << 16;
        /// Event injection.
        const INJ = 1 << 17;
        /// Interruptibility and activity.
        const STA = 1 << 18;
        /// Time-stamp counter and its offset.
        const TSC = 1 << 19;
        /// efer.
        const EFER = 1 << 20;
        /// Page-directory-pointer entries of PAE paging.
        const PDPTE = 1 << 21;
        /// r8 to r15.
        const R8_R15 = 1 << 22;
        /// star, lstar, cstar, sfmask, kernel GS base.
        const SYSCALL_SWAPGS = 1 << 23;
        /// Task priority and its threshold.
        const TPR = 1 << 24;
        /// IA32_TSC_AUX.
        const TSC_AUX = 1 << 25;
        /// xcr0, xss.
        const XSAVE = 1 << 26;
        /// Vector registers.
        const FPU = 1 << 31;
    }
}

impl Mtd {
    /// All general-purpose registers.
    pub const GPR: Self = Self::ACDB.union(Self::BSD).union(Self::RSP).union(Self::R8_R15);
    /// The groups that a thread has; the others belong to virtual CPUs.
    pub const THREAD: Self = Self::GPR.union(Self::RIP_LEN).union(Self::RFLAGS).union(Self::QUAL).union(Self::FPU);
    /// Groups that a reply never writes back.
    pub const READ_ONLY: Self = Self::QUAL;

    /// Any word is a set of groups.
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self::from_bits_retain(word)
    }

    /// The word.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_the_classic_interface() {
        // QUAL | RSP | RIP_LEN: what Genode asks for at its page-fault portal.
        assert_eq!((Mtd::QUAL | Mtd::RSP | Mtd::RIP_LEN).word(), 0x800C);
        assert_eq!(Mtd::all().word(), 0x87FF_FFFF);
        assert_eq!(Mtd::THREAD.word(), 0x8040_801F);
    }

    #[test]
    fn unnamed_bits_are_kept() {
        assert_eq!(Mtd::from_word(u64::MAX).word(), u64::MAX);
    }
}
