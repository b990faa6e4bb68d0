//! What virtual CPUs execute, and what handles their exits: 32-bit code without paging, in which a guest-physical address
//! is the one that this program has.
//!
//! Concurrency: a guest, its monitor and the program take turns.
use super::{HANDLER_PAGE, UP, control, write_word};
use abi::arch_state::{ArchState, STATE_OFFSET};
use abi::{Hypercall, Request, Selector};
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Selectors of the semaphores: upped when a run is over, and what the virtual CPU waits for between runs.
pub const OVER: u64 = 0x905;
/// See [`OVER`].
pub const NEXT: u64 = 0x906;

const fn state(offset: usize) -> usize {
    HANDLER_PAGE as usize + STATE_OFFSET + offset
}

macro_rules! guests {
    ($($name:literal: $instruction:literal, $call:literal;)*) => {
        global_asm!(
            ".balign 256",
            // A run is over: the program is told, and the guest waits behind its VMMCALL or VMCALL.
            "bench_over:",
            "add qword ptr [{rip}], 3",
            "mov edi, {over}",
            "syscall",
            "mov edi, {wait}",
            "syscall",
            ".code32",
            $(concat!("bench_guest_", $name, ":"),
            "2: mov ecx, [{count}]",
            concat!("3: ", $instruction),
            "dec ecx",
            "jnz 3b",
            $call,
            "jmp 2b",)*
            ".code64",
            rip = const state(offset_of!(ArchState, rip)),
            over = const control(OVER, UP),
            wait = const Request::new(Hypercall::Reply, 0, Selector::new(NEXT)).word(),
            count = sym COUNT,
        );
    };
}
guests!(
    "cpuid": "cpuid", "vmmcall";
    "hlt": "hlt", "vmmcall";
    "io": "out 0x80, al", "vmmcall";
    "cpuid_intel": "cpuid", "vmcall";
    "hlt_intel": "hlt", "vmcall";
    "io_intel": "out 0x80, al", "vmcall";
);

#[repr(align(4096))]
struct Count(AtomicU64);
/// How often the next run leaves the guest.
static COUNT: Count = Count(AtomicU64::new(1));

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn bench_over();
    fn bench_guest_cpuid();
    fn bench_guest_hlt();
    fn bench_guest_io();
    fn bench_guest_cpuid_intel();
    fn bench_guest_hlt_intel();
    fn bench_guest_io_intel();
}

/// What a guest does over and over.
#[derive(Clone, Copy, Debug)]
pub enum Guest {
    /// CPUID.
    Cpuid,
    /// HLT.
    Halt,
    /// OUT.
    Port,
}

impl Guest {
    /// Where it starts, on a processor of Intel's or of AMD's.
    pub fn address(self, intel: bool) -> u64 {
        let start = match (self, intel) {
            (Self::Cpuid, false) => bench_guest_cpuid,
            (Self::Halt, false) => bench_guest_hlt,
            (Self::Port, false) => bench_guest_io,
            (Self::Cpuid, true) => bench_guest_cpuid_intel,
            (Self::Halt, true) => bench_guest_hlt_intel,
            (Self::Port, true) => bench_guest_io_intel,
        };
        start as *const () as u64
    }

    /// The event of its exits, and the length of the instruction in bytes.
    pub const fn exit(self, intel: bool) -> (u64, u64) {
        match (self, intel) {
            (Self::Cpuid, false) => (0x72, 2),
            (Self::Halt, false) => (0x78, 1),
            (Self::Port, false) => (0x7B, 2),
            (Self::Cpuid, true) => (10, 2),
            (Self::Halt, true) => (12, 1),
            (Self::Port, true) => (30, 2),
        }
    }
}

/// Where a monitor is entered when a run is over.
pub fn over() -> u64 {
    bench_over as *const () as u64
}

/// Address of the page that says how often the next run leaves the guest.
pub fn count_page() -> u64 {
    (&raw const COUNT).addr() as u64
}

/// Sets how often.
pub fn set_count(count: u64) {
    COUNT.0.store(count, SeqCst);
}

/// Writes the state of a guest that starts at `rip` into the message page at `page`.
pub fn write_state(page: u64, rip: u64, intel: bool) {
    use abi::Mtd;
    let groups = Mtd::RIP_LEN
        | Mtd::RFLAGS
        | Mtd::CS_SS
        | Mtd::DS_ES
        | Mtd::FS_GS
        | Mtd::TR
        | Mtd::LDTR
        | Mtd::CR
        | Mtd::EFER
        | Mtd::CTRL
        | Mtd::XSAVE;
    let word = |offset: usize| (STATE_OFFSET + offset) / 8;
    let data = 0xFFFF_FFFF << 32 | 0xC93 << 16;
    let (code, system) = (0xFFFF_FFFF << 32 | 0xC9B << 16, 0xFFFF << 32);
    let words = [
        (offset_of!(ArchState, mtd), groups.bits()),
        (offset_of!(ArchState, rip), rip),
        (offset_of!(ArchState, rflags), 2),
        (offset_of!(ArchState, cs), code),
        (offset_of!(ArchState, ss), data),
        (offset_of!(ArchState, ds), data),
        (offset_of!(ArchState, es), data),
        (offset_of!(ArchState, fs), data),
        (offset_of!(ArchState, gs), data),
        (offset_of!(ArchState, tr), system | 0x8B << 16),
        (offset_of!(ArchState, ldtr), system | 0x82 << 16),
        (offset_of!(ArchState, cr0), 0x11),
        // CPUID; VMRUN and VMMCALL. Intel's processors leave the guest for theirs, for HLT and for ports anyway.
        (offset_of!(ArchState, ctrl), if intel { 0 } else { 1 << 18 | 0b11 << 32 }),
        (offset_of!(ArchState, efer), if intel { 0 } else { 1 << 12 }),
        // As guests have it that use vector registers: what there is.
        (offset_of!(ArchState, xcr0), u64::MAX),
    ];
    for (offset, value) in words {
        write_word(page, word(offset), value);
    }
}
