//! AMD's virtual machine control block.
//!
//! Purpose: its fields; a new one; between the block and a message, by transfer descriptor; what an exit means.
//! Invariants: the block intercepts whatever would reach the host or never end, and its EFER has SVME, whatever a message
//! says. Everything else that is wrong in it makes the processor refuse the entry, which is an exit like others. An event
//! that an exit has interrupted is injected again, unless the monitor says otherwise.
//! Concurrency: see the crate.
//! Source: AMD64 manual volume 2, §15.5 to §15.25 and appendix B; interface §4 ("MTD bits", SVM) and §6.
use crate::{Exit, extra, load, sane_xcr0, store};
use abi::arch_state::{ArchState, STATE_OFFSET};
use abi::utcb::Header;
use abi::{Mtd, PhysAddr, event};
use core::mem::offset_of;
use ipc::state;
use objects::Page;
use objects::frame::Frame;

/// Word that has byte `offset` of the block.
const fn at(offset: usize) -> usize {
    offset / 8
}

/// Fields of the block, as words. Two of 32 bits share one where that is said.
const CR_DR: usize = at(0x00);
const EXCEPTIONS_MISC: usize = at(0x08);
const MISC: usize = at(0x10);
const IO_MAP: usize = at(0x40);
const MSR_MAP: usize = at(0x48);
const TSC_OFFSET: usize = at(0x50);
const ASID_FLUSH: usize = at(0x58);
const INTERRUPT: usize = at(0x60);
const SHADOW: usize = at(0x68);
const CODE: usize = at(0x70);
const INFO_1: usize = at(0x78);
const INFO_2: usize = at(0x80);
const INTERRUPTED: usize = at(0x88);
const NESTED: usize = at(0x90);
const INJECT: usize = at(0xA8);
const NESTED_ROOT: usize = at(0xB0);
const CPL: usize = at(0x4C8);
const EFER: usize = at(0x4D0);
const DR7: usize = at(0x560);
const DR6: usize = at(0x568);
const RFLAGS: usize = at(0x570);
const RIP: usize = at(0x578);
const RSP: usize = at(0x5D8);
const RAX: usize = at(0x5F8);
const PAT: usize = at(0x668);

/// Registers that are copied as they are: group, word of the message, word of the block.
const PLAIN: [(Mtd, usize, usize); 13] = [
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
const SEGMENTS: [(Mtd, usize, usize); 10] = [
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
const SS: usize = at(0x420);
/// Bits of a segment's first word that are no attributes of a descriptor.
const NO_ATTRIBUTE: u64 = 0xF << 28;

/// Groups that most portals do without.
const RARE: Mtd = Mtd::all().difference(OFTEN.union(Mtd::RIP_LEN).union(Mtd::QUAL).union(Mtd::FPU));
const OFTEN: Mtd = Mtd::ACDB.union(Mtd::BSD).union(Mtd::R8_R15);
const RFLAGS_ONE: u64 = 1 << 1;
const RFLAGS_IF: u64 = 1 << 9;
const EFER_SVME: u64 = 1 << 12;

/// Intercepted whatever the monitor says. First word: INTR, NMI, INIT, INVD, HLT, INVLPGA, I/O, MSR, SHUTDOWN; of the
/// exceptions #DB and #AC, which a guest could be made to raise for ever.
const ALWAYS_FIRST: u64 =
    (1 << 0 | 1 << 1 | 1 << 3 | 1 << 22 | 1 << 24 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 31) << 32 | 1 << 1 | 1 << 17;
/// Second word: VMRUN (the processor insists), VMLOAD, VMSAVE, STGI, CLGI, SKINIT, XSETBV.
const ALWAYS_SECOND: u64 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 13;
/// All accesses to debug registers.
const DEBUG: u64 = 0xFFFF_FFFF << 32;
/// While a window is wanted: the moment when a virtual interrupt could be taken, and writes of CR8, which end some
/// emulators while there is one.
const WINDOW: u64 = 1 << 4 << 32;
const WRITE_CR8: u64 = 1 << 24;
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

/// What every entry of a virtual CPU says anew.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its tag.
    pub tag: crate::tags::Tag,
    /// The map of ports that do not exit: three pages.
    pub io_map: PhysAddr,
}

/// A virtual CPU.
#[derive(Clone, Copy)]
pub struct Guest<'p> {
    /// Its registers, but for what the block has.
    pub frame: &'p Frame,
    /// Its control block.
    pub block: &'p Page,
    /// Its second page.
    pub extra: &'p Page,
}

/// Makes a control block of an empty page, with the map of MSRs that do not exit (two pages) and the nested table.
pub fn initialise(block: &Page, extra: &Page, msr_map: PhysAddr, nested: PhysAddr) {
    let words = [
        (CR_DR, DEBUG),
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
    words.into_iter().for_each(|(index, value)| store(block, index, value));
    store(extra, extra::XCR0, 1);
}

impl Guest<'_> {
    /// Before an entry.
    #[inline]
    pub fn prepare(&self, entry: &Entry) {
        store(self.block, ASID_FLUSH, entry.tag.number | if entry.tag.flush { FLUSH } else { 0 });
        store(self.block, IO_MAP, entry.io_map.get());
    }

    /// After an exit: what it means.
    #[inline]
    pub fn exit(&self) -> Exit {
        let code = load(self.block, CODE);
        let again = || store(self.block, INJECT, again(load(self.block, INTERRUPTED)));
        // First those of instructions.
        if matches!(code, 0x65..=0xFA) {
            again();
            return Exit::Event(code as u8);
        }
        if code as u32 == u32::MAX {
            // Some processors overwrite this.
            store(self.block, INTERRUPT, MASKING);
            self.want_window(load(self.block, EXCEPTIONS_MISC) & WINDOW != 0);
            return Exit::Event(event::VCPU_SVM_INVALID);
        }
        again();
        match code {
            0x60..=0x63 => Exit::Interrupt,
            0x20..=0x3F => Exit::Debug,
            0x41 | 0x51 => {
                // #DB, #AC: back to the guest, which has left its instruction at least.
                let error = if code == 0x51 { 1 << 11 } else { 0 };
                store(self.block, INJECT, VALID | EXCEPTION << 8 | error | (code - 0x40));
                Exit::Again
            }
            0x64 => {
                self.want_window(false);
                Exit::Event(0x64)
            }
            0x400 => {
                if self.offers_interrupt() {
                    // A translator that calls it an exception, and offers it still.
                    store(self.block, INJECT, 0);
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
        if let Exit::Event(event) = exit { event } else { load(self.block, CODE) as u8 }
    }

    /// Details of the last exit; of a nested fault its error code and guest-physical address.
    #[inline]
    pub fn information(&self) -> [u64; 2] {
        [load(self.block, INFO_1), load(self.block, INFO_2)]
    }

    /// Whether accesses to debug registers exit.
    #[inline]
    pub fn lacks_breakpoints(&self) -> bool {
        load(self.block, CR_DR) & DEBUG != 0
    }

    /// Whether the guest has enabled breakpoints.
    #[inline]
    pub fn uses_breakpoints(&self) -> bool {
        load(self.block, DR7) & 0xFF != 0
    }

    /// Makes accesses to debug registers exit, or not.
    pub fn withhold_breakpoints(&self, withheld: bool) {
        self.set(CR_DR, DEBUG, withheld);
    }

    fn set(&self, index: usize, bits: u64, set: bool) {
        let rest = load(self.block, index) & !bits;
        store(self.block, index, if set { rest | bits } else { rest });
    }

    fn want_window(&self, wanted: bool) {
        self.set(INTERRUPT, PENDING, wanted);
        self.set(EXCEPTIONS_MISC, WINDOW, wanted);
        self.set(CR_DR, WRITE_CR8, wanted);
    }

    /// Has an event delivered at the next entry. An interrupt that the guest takes then is offered as a virtual one: QEMU's
    /// translator does not note that it has delivered an injected one, and may do so again, whatever the guest's flag says.
    fn inject(&self, event: u64) {
        let window = event & WANTS_WINDOW != 0;
        let event = event & !(WANTS_WINDOW | WANTS_NMI_WINDOW);
        let taken = load(self.block, RFLAGS) & RFLAGS_IF != 0 && load(self.block, SHADOW) & 1 == 0;
        self.want_window(window);
        if taken && !window && event as u32 & !0xFF == VALID as u32 {
            store(self.block, INTERRUPT, MASKING | PENDING | (event & 0xFF) << 32);
            store(self.block, INJECT, event & !VALID);
        } else {
            store(self.block, INJECT, event);
        }
    }

    /// Whether a virtual interrupt is not delivered yet.
    fn offers_interrupt(&self) -> bool {
        load(self.block, INTERRUPT) & IS_PENDING != 0 && load(self.block, EXCEPTIONS_MISC) & WINDOW == 0
    }

    /// The event to be injected, or else what an exit with this code has interrupted.
    fn injection(&self, event: u8) -> u64 {
        let inject = load(self.block, INJECT);
        if self.offers_interrupt() {
            return inject & !0xFFFF_FFFF | VALID | load(self.block, INTERRUPT) >> 32 & 0xFF;
        }
        let own = matches!(event, event::VCPU_SVM_INVALID | event::VCPU_RECALL);
        if own { inject } else { load(self.block, INTERRUPTED) }
    }

    /// Writes the groups of `mtd` into a message page, for a monitor that handles `event`; `now` reads the TSC. Vector
    /// registers are left to others.
    #[inline]
    pub fn save(&self, mtd: Mtd, event: u8, now: fn() -> u64, page: &Page) {
        let block = |index| load(self.block, index);
        store(page, 0, Header::STATE.word());
        store(page, word!(mtd), mtd.bits());
        store(page, word!(exit_reason), event.into());
        if mtd.intersects(Mtd::RIP_LEN) {
            store(page, word!(rip), block(RIP));
        }
        if mtd.intersects(Mtd::QUAL) {
            store(page, word!(qual), block(INFO_1));
            store(page, word!(qual) + 1, block(INFO_2));
        }
        if mtd.intersects(OFTEN) {
            self.frame.rax.set(block(RAX));
            // The block has the stack pointer.
            state::save_general(self.frame, mtd.difference(Mtd::RSP), page);
        }
        if mtd.intersects(RARE) {
            self.save_rare(mtd, event, now, page);
        }
    }

    #[inline(never)]
    fn save_rare(&self, mtd: Mtd, event: u8, now: fn() -> u64, page: &Page) {
        let block = |index| load(self.block, index);
        for (group, to, from) in PLAIN {
            if mtd.intersects(group) {
                store(page, to, block(from));
            }
        }
        for (group, to, from) in SEGMENTS {
            if mtd.intersects(group) {
                store(page, to, block(from));
                store(page, to + 1, block(from + 1));
            }
        }
        let words = [
            (Mtd::RSP, word!(rsp), block(RSP)),
            (Mtd::RFLAGS, word!(rflags), block(RFLAGS)),
            (Mtd::INJ, word!(inj_info), self.injection(event)),
            (Mtd::STA, word!(intr_state), block(SHADOW) & 1),
            (Mtd::TSC, word!(tsc_val), now()),
            (Mtd::TSC, word!(tsc_off), block(TSC_OFFSET)),
            (Mtd::EFER, word!(efer), block(EFER)),
            (Mtd::TSC_AUX, word!(tsc_aux), load(self.extra, extra::TSC_AUX)),
            (Mtd::XSAVE, word!(xcr0), load(self.extra, extra::XCR0)),
            (Mtd::XSAVE, word!(xss), 0),
        ];
        for (_, to, value) in words.into_iter().filter(|(group, ..)| mtd.intersects(*group)) {
            store(page, to, value);
        }
    }

    /// Changes the registers whose groups a message page names. `components` are the bits of XCR0 that the host manages.
    /// Returns the descriptor.
    #[inline]
    pub fn restore(&self, page: &Page, components: u64) -> Mtd {
        let mtd = state::descriptor(page);
        if mtd.intersects(Mtd::RIP_LEN) {
            store(self.block, RIP, load(page, word!(rip)));
        }
        if mtd.intersects(OFTEN) {
            state::restore_general(page, self.frame, mtd.difference(Mtd::RSP));
            if mtd.intersects(Mtd::ACDB) {
                store(self.block, RAX, self.frame.rax.get());
            }
        }
        if mtd.intersects(RARE) {
            self.restore_rare(mtd, page, components);
        }
        mtd
    }

    #[inline(never)]
    fn restore_rare(&self, mtd: Mtd, page: &Page, components: u64) {
        let (of, block) = (|index| load(page, index), |index, value| store(self.block, index, value));
        for (group, from, to) in PLAIN {
            if mtd.intersects(group) {
                block(to, of(from));
            }
        }
        for (group, from, to) in SEGMENTS {
            if mtd.intersects(group) {
                block(to, of(from) & !NO_ATTRIBUTE);
                block(to + 1, of(from + 1));
            }
        }
        if mtd.intersects(Mtd::CS_SS) {
            // The privilege level is the stack segment's.
            block(CPL, load(self.block, CPL) & !(0xFF << 24) | (load(self.block, SS) >> 21 & 3) << 24);
        }
        if mtd.intersects(Mtd::RSP) {
            block(RSP, of(word!(rsp)));
        }
        if mtd.intersects(Mtd::RFLAGS) {
            block(RFLAGS, of(word!(rflags)) | RFLAGS_ONE);
        }
        if mtd.intersects(Mtd::CTRL) {
            let wanted = of(word!(ctrl));
            let window = load(self.block, EXCEPTIONS_MISC) & WINDOW;
            block(EXCEPTIONS_MISC, wanted << 32 & !WINDOW | ALWAYS_FIRST | window);
            block(MISC, wanted >> 32 | ALWAYS_SECOND);
        }
        if mtd.intersects(Mtd::STA) {
            block(SHADOW, of(word!(intr_state)) & 1);
        }
        if mtd.intersects(Mtd::INJ) {
            self.inject(of(word!(inj_info)));
        }
        if mtd.intersects(Mtd::TSC) {
            block(TSC_OFFSET, load(self.block, TSC_OFFSET).wrapping_add(of(word!(tsc_off))));
        }
        if mtd.intersects(Mtd::EFER) {
            block(EFER, of(word!(efer)) | EFER_SVME);
        }
        if mtd.intersects(Mtd::TSC_AUX) {
            store(self.extra, extra::TSC_AUX, of(word!(tsc_aux)) & 0xFFFF_FFFF);
        }
        if mtd.intersects(Mtd::XSAVE) {
            store(self.extra, extra::XCR0, sane_xcr0(of(word!(xcr0)), components));
        }
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
