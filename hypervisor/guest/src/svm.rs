//! AMD's virtual machine control block.
//!
//! Purpose: its fields; a new one; between the block and a message, by transfer descriptor; what an exit means.
//! Invariants: the block intercepts whatever would reach the host or never end, and its EFER has SVME, whatever a message
//! says. Everything else that is wrong in it makes the processor refuse the entry, which is an exit like others. An event
//! that an exit has interrupted is injected again, unless the monitor says otherwise.
//! Concurrency: see the crate.
//! Source: AMD64 manual volume 2, §15.5 to §15.25 and appendix B; interface §4 ("MTD bits", SVM) and §6.
use crate::registers::RFLAGS_ONE;
use crate::tags::Tag;
use crate::{Exit, Fields, Guest, Message, extra, load, store};
use abi::arch_state::{ArchState, STATE_OFFSET};
use abi::{Mtd, PhysAddr, event};
use core::mem::offset_of;
use objects::Page;
use objects::frame::Frame;

/// Word that has byte `offset` of the block.
const fn at(offset: u32) -> u32 {
    offset / 8
}

/// Fields of the block, as words. Two of 32 bits share one where that is said.
const CR_DR: u32 = at(0x00);
const EXCEPTIONS_MISC: u32 = at(0x08);
const MISC: u32 = at(0x10);
const IO_MAP: u32 = at(0x40);
const MSR_MAP: u32 = at(0x48);
const ASID_FLUSH: u32 = at(0x58);
const INTERRUPT: u32 = at(0x60);
const SHADOW: u32 = at(0x68);
const CODE: u32 = at(0x70);
const INTERRUPTED: u32 = at(0x88);
const NESTED: u32 = at(0x90);
const INJECT: u32 = at(0xA8);
const NESTED_ROOT: u32 = at(0xB0);
const CPL: u32 = at(0x4C8);
const EFER: u32 = at(0x4D0);
const DR7: u32 = at(0x560);
const DR6: u32 = at(0x568);
const RFLAGS: u32 = at(0x570);
const PAT: u32 = at(0x668);

/// Registers that are copied as they are: group, word of the message, word of the block.
const PLAIN: [(Mtd, usize, u32); 14] = [
    (Mtd::RSP, word!(rsp), at(0x5D8)),
    (Mtd::CR, word!(cr0), at(0x558)),
    (Mtd::CR, word!(cr2), at(0x640)),
    (Mtd::CR, word!(cr3), at(0x550)),
    (Mtd::CR, word!(cr4), at(0x548)),
    (Mtd::DR, word!(dr7), DR7),
    (Mtd::SYSENTER, word!(sysenter_cs), at(0x628)),
    (Mtd::SYSENTER, word!(sysenter_rsp), at(0x630)),
    (Mtd::SYSENTER, word!(sysenter_rip), at(0x638)),
    (Mtd::SYSCALL_SWAPGS, word!(star), at(0x600)),
    (Mtd::SYSCALL_SWAPGS, word!(lstar), at(0x608)),
    (Mtd::SYSCALL_SWAPGS, word!(cstar), at(0x610)),
    (Mtd::SYSCALL_SWAPGS, word!(sfmask), at(0x618)),
    (Mtd::SYSCALL_SWAPGS, word!(kernel_gs_base), at(0x620)),
];
/// Segments, which look the same on both sides: two words each.
const SEGMENTS: [(Mtd, usize, u32); 10] = [
    (Mtd::DS_ES, word!(es), at(0x400)),
    (Mtd::CS_SS, word!(cs), at(0x410)),
    (Mtd::CS_SS, word!(ss), at(0x420)),
    (Mtd::DS_ES, word!(ds), at(0x430)),
    (Mtd::FS_GS, word!(fs), at(0x440)),
    (Mtd::FS_GS, word!(gs), at(0x450)),
    (Mtd::GDTR, word!(gdtr), at(0x460)),
    (Mtd::LDTR, word!(ldtr), at(0x470)),
    (Mtd::IDTR, word!(idtr), at(0x480)),
    (Mtd::TR, word!(tr), at(0x490)),
];
/// Bits of a segment's first word that are no attributes of a descriptor.
const NO_ATTRIBUTE: u64 = 0xF << 28;

const RFLAGS_IF: u64 = 1 << 9;
const EFER_SVME: u64 = 1 << 12;

/// Intercepted whatever the monitor says. First word: INTR, NMI, INIT, INVD, HLT, INVLPGA, I/O, MSR, SHUTDOWN; of the
/// exceptions #DB and #AC, which a guest could be made to raise for ever, and #MC, which is the host's.
const ALWAYS_FIRST: u64 =
    (1 << 0 | 1 << 1 | 1 << 3 | 1 << 22 | 1 << 24 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 31) << 32 | 1 << 1 | 3 << 17;
/// Second word: VMRUN (the processor insists), VMLOAD, VMSAVE, STGI, CLGI, SKINIT, XSETBV.
const ALWAYS_SECOND: u64 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 13;
/// All accesses to debug registers.
const DEBUG: u64 = 0xFFFF_FFFF << 32;
/// All accesses to CR8: its controller is the monitor's.
const CR8: u64 = 1 << 8 | 1 << 24;
/// While a window is wanted: the moment when a virtual interrupt could be taken.
const WINDOW: u64 = 1 << 4 << 32;
/// Virtual interrupts: the guest's flag does not mask the host's; one is pending, with the highest priority.
const MASKING: u64 = 1 << 24;
const PENDING: u64 = IS_PENDING | 0xF << 16 | 1 << 20;
const IS_PENDING: u64 = 1 << 8;
/// Flushes all tags.
const FLUSH: u64 = 1 << 32;
/// In a message: bits of the event to inject that ask for windows.
const WANTS_WINDOW: u64 = 1 << 12;
const WANTS_NMI_WINDOW: u64 = 1 << 13;
/// Of an event: that there is one, its type, and types that the instruction itself raises.
const VALID: u64 = 1 << 31;
const fn kind(event: u64) -> u64 {
    event >> 8 & 7
}
const EXCEPTION: u64 = 3;
const SOFTWARE: u64 = 4;

/// The control block, as words.
#[derive(Clone, Copy)]
pub struct Block<'p>(pub &'p Page);

impl Fields for Block<'_> {
    type Limits = ();
    const RIP: u32 = at(0x578);
    const RFLAGS: u32 = RFLAGS;
    const DR7: u32 = DR7;
    const TSC_OFFSET: u32 = at(0x50);
    const LENGTHS: Option<[u32; 2]> = None;
    const INFORMATION: [u32; 2] = [at(0x78), at(0x80)];
    const DEBUG: (u32, u64) = (CR_DR, DEBUG);
    const TSC_AUX: usize = extra::TSC_AUX;
    const GENERAL: Mtd = Mtd::ACDB.union(Mtd::BSD).union(Mtd::R8_R15);
    const OWN: (u32, usize, Mtd, Mtd) = (at(0x5F8), offset_of!(Frame, rax) / 8, Self::GENERAL, Mtd::ACDB);
    const PLAIN: &'static [(Mtd, usize, u32)] = &PLAIN;

    #[inline]
    fn read(self, field: u32) -> u64 {
        load(self.0, field as usize)
    }

    #[inline]
    fn write(self, field: u32, value: u64) {
        store(self.0, field as usize, value);
    }

    fn save_others(guest: &Guest<'_, Self>, event: u8, message: &Message<'_>) {
        for (group, to, from) in SEGMENTS {
            message.show(group, to, || guest.read(from));
            message.show(group, to + 1, || guest.read(from + 1));
        }
        message.show(Mtd::INJ, word!(inj_info), || guest.injection(event));
        message.show(Mtd::STA, word!(intr_state), || guest.read(SHADOW) & 1);
        message.show(Mtd::EFER, word!(efer), || guest.read(EFER));
    }

    fn restore_others(guest: &Guest<'_, Self>, message: &Message<'_>, (): &()) {
        let block = |field, value| guest.write(field, value);
        for (group, from, to) in SEGMENTS {
            message.change(group, from, |value| block(to, value & !NO_ATTRIBUTE));
            message.change(group, from + 1, |value| block(to + 1, value));
        }
        // The privilege level is the stack segment's.
        message.change(Mtd::CS_SS, word!(ss), |ss| block(CPL, guest.read(CPL) & !(0xFF << 24) | (ss >> 21 & 3) << 24));
        message.change(Mtd::CTRL, word!(ctrl), |wanted| {
            let window = guest.read(EXCEPTIONS_MISC) & WINDOW;
            block(EXCEPTIONS_MISC, wanted << 32 & !WINDOW | ALWAYS_FIRST | window);
            block(MISC, wanted >> 32 | ALWAYS_SECOND);
        });
        message.change(Mtd::STA, word!(intr_state), |state| block(SHADOW, state & 1));
        message.change(Mtd::INJ, word!(inj_info), |event| guest.inject(event));
        message.change(Mtd::EFER, word!(efer), |efer| block(EFER, efer | EFER_SVME));
    }
}

/// Makes a control block of an empty page, with the map of MSRs that do not exit (two pages) and the nested table.
pub fn initialise(block: Block<'_>, extra: &Page, msr_map: PhysAddr, nested: PhysAddr) {
    let words = [
        (CR_DR, DEBUG | CR8),
        (EXCEPTIONS_MISC, ALWAYS_FIRST),
        (MISC, ALWAYS_SECOND),
        (MSR_MAP, msr_map.get()),
        (INTERRUPT, MASKING),
        (NESTED, 1),
        (NESTED_ROOT, nested.get()),
        (EFER, EFER_SVME),
        (DR6, 0xFFFF_0FF0),
        (DR7, 0x400),
        (RFLAGS, RFLAGS_ONE),
        (PAT, 0x0007_0406_0007_0406),
    ];
    words.into_iter().for_each(|(field, value)| block.write(field, value));
    store(extra, extra::XCR0, 1);
}

impl Guest<'_, Block<'_>> {
    /// Before an entry: tag and map of ports that do not exit (three pages).
    #[inline]
    pub fn prepare(&self, tag: Tag, io_map: PhysAddr) {
        self.write(ASID_FLUSH, tag.number | if tag.flush { FLUSH } else { 0 });
        self.write(IO_MAP, io_map.get());
    }

    /// After an exit: what it means.
    #[inline]
    pub fn exit(&self) -> Exit {
        let code = self.read(CODE);
        let again = || self.write(INJECT, again(self.read(INTERRUPTED)));
        // First those of instructions.
        if matches!(code, 0x65..=0xFA) {
            again();
            return Exit::Event(code as u8);
        }
        if code as u32 == u32::MAX {
            // Some processors overwrite this.
            self.write(INTERRUPT, MASKING);
            self.want_window(self.read(EXCEPTIONS_MISC) & WINDOW != 0);
            return Exit::Event(event::VCPU_SVM_INVALID);
        }
        again();
        match code {
            0x60..=0x63 => Exit::Interrupt,
            0x20..=0x3F => Exit::Debug,
            0x41 | 0x51 => {
                // #DB, #AC: back to the guest, which has left its instruction at least.
                let error = if code == 0x51 { 1 << 11 } else { 0 };
                self.write(INJECT, VALID | EXCEPTION << 8 | error | (code - 0x40));
                Exit::Again
            }
            0x52 => Exit::Host(18),
            0x64 => {
                self.want_window(false);
                Exit::Event(0x64)
            }
            0x400 => {
                if self.offers_interrupt() {
                    // A translator that calls it an exception, and offers it still.
                    self.write(INJECT, 0);
                }
                Exit::Event(event::VCPU_SVM_NESTED_FAULT)
            }
            0..=0xFA => Exit::Event(code as u8),
            _ => Exit::Event(event::VCPU_SVM_OTHER),
        }
    }

    /// The event of the last exit, also if it was one that nobody is told of.
    #[inline(always)]
    pub fn reason(&self, exit: Exit) -> u8 {
        if let Exit::Event(event) = exit { event } else { self.read(CODE) as u8 }
    }

    fn want_window(&self, wanted: bool) {
        self.set(INTERRUPT, PENDING, wanted);
        self.set(EXCEPTIONS_MISC, WINDOW, wanted);
    }

    /// Has an event delivered at the next entry. An interrupt that the guest takes then is offered as a virtual one: QEMU's
    /// translator does not note that it has delivered an injected one, and may do so again, whatever the guest's flag says.
    fn inject(&self, event: u64) {
        let window = event & WANTS_WINDOW != 0;
        let event = event & !(WANTS_WINDOW | WANTS_NMI_WINDOW);
        let taken = self.read(RFLAGS) & RFLAGS_IF != 0 && self.read(SHADOW) & 1 == 0;
        self.want_window(window);
        if taken && !window && event as u32 & !0xFF == VALID as u32 {
            self.write(INTERRUPT, MASKING | PENDING | (event & 0xFF) << 32);
            self.write(INJECT, event & !VALID);
        } else {
            self.write(INJECT, event);
        }
    }

    /// Whether a virtual interrupt is not delivered yet.
    fn offers_interrupt(&self) -> bool {
        self.read(INTERRUPT) & IS_PENDING != 0 && self.read(EXCEPTIONS_MISC) & WINDOW == 0
    }

    /// The event to be injected, or else what an exit with this code has interrupted.
    fn injection(&self, event: u8) -> u64 {
        let inject = self.read(INJECT);
        if self.offers_interrupt() {
            return inject & !0xFFFF_FFFF | VALID | self.read(INTERRUPT) >> 32 & 0xFF;
        }
        let own = matches!(event, event::VCPU_SVM_INVALID | event::VCPU_RECALL);
        if own { inject } else { self.read(INTERRUPTED) }
    }
}

/// What is injected at the next entry if an exit has interrupted the delivery of `event`. What an instruction raises it
/// raises again.
const fn again(event: u64) -> u64 {
    if event & VALID == 0 {
        return 0;
    }
    let software = kind(event) == SOFTWARE || kind(event) == EXCEPTION && matches!(event & 0xFF, 3 | 4);
    if software { 0 } else { event }
}

#[cfg(test)]
mod tests;
