//! Architectural state in the UTCB: the registers of a thread after an exception, or of a virtual CPU after an exit.
//!
//! Lies over the message words ([`STATE_OFFSET`]). The [`crate::Mtd`] in its first word names the groups that hold
//! something. Behind it, from [`FPU_OFFSET`] on, lies the image of the vector registers.
//! Invariants: offsets as asserted below. All values are claims of user level when the kernel reads them.
//! Concurrency: see [`crate::utcb`].
//! Source: classic interface, "UTCB".

use core::mem::offset_of;

use crate::address::PAGE_SIZE;
use crate::utcb::Utcb;

/// Byte offset of [`ArchState`] in the UTCB.
pub const STATE_OFFSET: usize = offset_of!(Utcb, words);
/// Byte offset of the vector registers' image in the UTCB.
pub const FPU_OFFSET: usize = 0x258;
/// Largest image of the vector registers, in bytes.
pub const FPU_MAX_SIZE: usize = 3135;

const _: () = assert!(FPU_OFFSET + FPU_MAX_SIZE <= PAGE_SIZE as usize);

/// A segment register, or a descriptor-table register (which uses limit and base only).
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// Selector.
    pub selector: u16,
    /// Attributes: bits 7:0 as in the descriptor, 11:8 AVL, L, D, G; bit 12 unusable (VMX).
    pub attributes: u16,
    /// Limit in bytes.
    pub limit: u32,
    /// Base address in bytes.
    pub base: u64,
}

const _: () = assert!(size_of::<Segment>() == 16 && offset_of!(Segment, base) == 8);

/// The registers.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "registers bear the names of the manuals")]
pub struct ArchState {
    /// Groups that hold something: a [`crate::Mtd`].
    pub mtd: u64,
    /// Length of the instruction that exited, in bytes.
    pub instruction_length: u64,
    pub rip: u64,
    pub rflags: u64,
    /// Interruptibility.
    pub intr_state: u32,
    /// Activity.
    pub actv_state: u32,
    /// Event to inject, or that was being delivered.
    pub inj_info: u32,
    /// Its error code.
    pub inj_error: u32,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rbx: u64,
    pub rsp: u64,
    pub rbp: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// r8 to r15.
    pub r8_r15: [u64; 8],
    /// Why: error code and address of a fault, or qualification of an exit and guest-physical address.
    pub qual: [u64; 2],
    /// Which events exit: two words of the processor's format.
    pub ctrl: [u32; 2],
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub xcr0: u64,
    pub xss: u64,
    pub pdpte: [u64; 4],
    /// Never transferred.
    pub cr8: u64,
    pub efer: u64,
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub sfmask: u64,
    pub kernel_gs_base: u64,
    pub tpr: u32,
    pub tpr_threshold: u32,
    pub dr7: u64,
    pub sysenter_cs: u64,
    pub sysenter_rsp: u64,
    pub sysenter_rip: u64,
    pub es: Segment,
    pub cs: Segment,
    pub ss: Segment,
    pub ds: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub ldtr: Segment,
    pub tr: Segment,
    pub gdtr: Segment,
    pub idtr: Segment,
    /// The host's time-stamp counter at the exit.
    pub tsc_val: u64,
    /// Offset of the guest's counter; a write adds to it.
    pub tsc_off: u64,
    pub tsc_aux: u64,
    /// Index of the event.
    pub exit_reason: u64,
}

macro_rules! offsets {
    ($($field:ident = $offset:literal),+ $(,)?) => {
        const _: () = { $(assert!(STATE_OFFSET + offset_of!(ArchState, $field) == $offset);)+ };
    };
}
offsets!(
    mtd = 0x20,
    instruction_length = 0x28,
    rip = 0x30,
    rflags = 0x38,
    intr_state = 0x40,
    actv_state = 0x44,
    inj_info = 0x48,
    inj_error = 0x4C,
    rax = 0x50,
    rcx = 0x58,
    rdx = 0x60,
    rbx = 0x68,
    rsp = 0x70,
    rbp = 0x78,
    rsi = 0x80,
    rdi = 0x88,
    r8_r15 = 0x90,
    qual = 0xD0,
    ctrl = 0xE0,
    cr0 = 0xE8,
    cr2 = 0xF0,
    cr3 = 0xF8,
    cr4 = 0x100,
    xcr0 = 0x108,
    xss = 0x110,
    pdpte = 0x118,
    cr8 = 0x138,
    efer = 0x140,
    star = 0x148,
    lstar = 0x150,
    cstar = 0x158,
    sfmask = 0x160,
    kernel_gs_base = 0x168,
    tpr = 0x170,
    tpr_threshold = 0x174,
    dr7 = 0x178,
    sysenter_cs = 0x180,
    sysenter_rsp = 0x188,
    sysenter_rip = 0x190,
    es = 0x198,
    cs = 0x1A8,
    ss = 0x1B8,
    ds = 0x1C8,
    fs = 0x1D8,
    gs = 0x1E8,
    ldtr = 0x1F8,
    tr = 0x208,
    gdtr = 0x218,
    idtr = 0x228,
    tsc_val = 0x238,
    tsc_off = 0x240,
    tsc_aux = 0x248,
    exit_reason = 0x250,
);
const _: () = assert!(STATE_OFFSET + size_of::<ArchState>() == FPU_OFFSET);
