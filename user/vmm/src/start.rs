//! How processors start: the boot processor where its loader says, the others at the page that a start-up message names.
//!
//! Invariants: a start writes the whole state.
//! Concurrency: plain values.
//! Source: Linux, Documentation/arch/x86/boot (64-bit entry); Multiboot 0.6.96, §3.2; Intel SDM volume 3, "Processor
//! State after Reset".

use abi::Mtd;
use abi::arch_state::{ArchState, Segment};
use rt::message::Words;

use crate::exit::{Backend, WHOLE};
use crate::layout;
use crate::state::State;

/// Attributes of a flat code segment of 64 bits, of 32 bits, and of data.
const CODE_64: u16 = 0xA9B;
const CODE_32: u16 = 0xC9B;
const DATA_32: u16 = 0xC93;
const TASK: u16 = 0x08B;
const TABLE: u16 = 0x082;
const UNUSABLE: u16 = 1 << 12;

const CR0_EXTENSION: u64 = 1 << 4;
const CR0_PROTECTED: u64 = 1;
const CR0_NUMERIC: u64 = 1 << 5;
const CR0_PAGING: u64 = 1 << 31;
const CR0_CACHE_OFF: u64 = 3 << 29;
const CR4_PHYSICAL: u64 = 1 << 5;
const EFER_LONG: u64 = 1 << 8 | 1 << 10;
const EFER_SVM: u64 = 1 << 12;

/// SVM: what leaves the guest besides what the kernel needs: CPUID, RDPMC, INVLPGA; instructions of SVM, MONITOR, MWAIT,
/// XSETBV.
const SVM_INTERCEPTS: [u32; 2] = [1 << 18 | 1 << 15 | 1 << 26, 0x7F | 7 << 10 | 1 << 13];
/// VMX: MWAIT, RDPMC, MONITOR exit; RDTSCP, which CPUID shows, is allowed.
const VMX_INTERCEPTS: [u32; 2] = [1 << 10 | 1 << 11 | 1 << 29, 1 << 3];

/// How the boot processor starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Boot {
    /// In 64-bit mode, as Linux wants it.
    Linux {
        /// The entry point.
        entry: u64,
    },
    /// In 32-bit mode without paging, as Multiboot says.
    Multiboot {
        /// The entry point.
        entry: u32,
        /// Address of the information for the guest.
        information: u32,
    },
}

impl Boot {
    /// Writes the state that the processor starts with.
    pub fn load<W: Words>(&self, state: &mut State<'_, W>, backend: Backend) {
        let flat = |selector, attributes| Segment { selector, attributes, limit: u32::MAX, base: 0 };
        let mut all = common(backend);
        let data = flat(0x18, DATA_32);
        [all.ds, all.es, all.fs, all.gs, all.ss] = [data; 5];
        all.gdtr = Segment { limit: 31, base: layout::GDT, ..Segment::default() };
        match *self {
            Self::Linux { entry } => {
                all.cs = flat(0x10, CODE_64);
                all.cr0 = CR0_PROTECTED | CR0_EXTENSION | CR0_NUMERIC | CR0_PAGING;
                (all.cr3, all.cr4) = (layout::PAGE_TABLES, CR4_PHYSICAL);
                all.efer |= EFER_LONG;
                (all.rip, all.rsi) = (entry, layout::BOOT_PARAMETERS);
            }
            Self::Multiboot { entry, information } => {
                all.cs = flat(0x10, CODE_32);
                all.cr0 = CR0_PROTECTED | CR0_EXTENSION | CR0_NUMERIC;
                (all.rip, all.rax, all.rbx) = (entry.into(), 0x2BAD_B002, information.into());
            }
        }
        state.load(&all, GROUPS);
    }
}

const GROUPS: Mtd = WHOLE.union(Mtd::CTRL);

/// Writes the state of a processor that starts in real mode at `page`.
pub fn load_page<W: Words>(state: &mut State<'_, W>, backend: Backend, page: u8) {
    let mut all = common(backend);
    let real =
        |selector: u16, attributes| Segment { selector, attributes, limit: 0xFFFF, base: u64::from(selector) << 4 };
    all.cs = real(u16::from(page) << 8, 0x09B);
    [all.ds, all.es, all.fs, all.gs, all.ss] = [real(0, 0x093); 5];
    all.gdtr = Segment { limit: 0xFFFF, ..Segment::default() };
    all.cr0 = CR0_EXTENSION | CR0_NUMERIC | CR0_CACHE_OFF;
    state.load(&all, GROUPS);
}

fn common(backend: Backend) -> ArchState {
    ArchState {
        rflags: 2,
        dr7: 0x400,
        rdx: 0x600,
        xcr0: 1,
        efer: if backend == Backend::Svm { EFER_SVM } else { 0 },
        ctrl: if backend == Backend::Svm { SVM_INTERCEPTS } else { VMX_INTERCEPTS },
        idtr: Segment { limit: 0xFFFF, ..Segment::default() },
        tr: Segment { attributes: TASK, limit: 0xFFFF, ..Segment::default() },
        ldtr: Segment { attributes: TABLE | UNUSABLE, limit: 0xFFFF, ..Segment::default() },
        ..ArchState::default()
    }
}
