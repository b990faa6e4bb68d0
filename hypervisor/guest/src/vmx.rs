//! Intel's virtual machine control structure.
//!
//! Purpose: its fields; a new one; between it and a message, by transfer descriptor; what an exit means.
//! Invariants: as for [`crate::svm`]: what must be intercepted is, and controls that would have the processor use memory at
//! an address of the monitor's are never set. CR0.NE and CR4.VMXE are set whatever the guest or a message says, and look as
//! if they were what it said.
//! Concurrency: see the crate; a control structure is accessed while it is the core's current one.
//! Source: Intel SDM volume 3, chapters 24 to 28 and appendix B; interface §4 ("MTD bits", VMX) and §6.
use crate::registers::RFLAGS_ONE;
use crate::tags::Tag;
use crate::{Exit, Fields, Guest, Message, extra, load, store};
use abi::arch_state::{ArchState, STATE_OFFSET};
use abi::{Mtd, PhysAddr, event};
use core::mem::offset_of;
use objects::Page;
use objects::frame::Frame;
pub use x86::vmx::vmcs::host;
use x86::vmx::vmcs::{
    control::{
        EPTP_FULL as EPT, EXCEPTION_BITMAP as EXCEPTIONS, IO_BITMAP_A_ADDR_FULL, IO_BITMAP_B_ADDR_FULL,
        MSR_BITMAPS_ADDR_FULL as MSR_MAP, PINBASED_EXEC_CONTROLS as PIN, PRIMARY_PROCBASED_EXEC_CONTROLS as PRIMARY,
        SECONDARY_PROCBASED_EXEC_CONTROLS as SECONDARY, TSC_OFFSET_FULL as TSC_OFFSET, VMENTRY_CONTROLS as ENTRY,
        VMENTRY_EXCEPTION_ERR_CODE as INJECT_ERROR, VMENTRY_INSTRUCTION_LEN as INJECT_LENGTH,
        VMENTRY_INTERRUPTION_INFO_FIELD as INJECT, VMENTRY_MSR_LOAD_ADDR_FULL, VMENTRY_MSR_LOAD_COUNT,
        VMEXIT_CONTROLS as EXIT, VMEXIT_MSR_LOAD_ADDR_FULL, VMEXIT_MSR_LOAD_COUNT, VMEXIT_MSR_STORE_ADDR_FULL,
        VMEXIT_MSR_STORE_COUNT, VPID,
    },
    guest::{
        ACTIVITY_STATE as ACTIVITY, CR0, CR4, DR7, ES_ACCESS_RIGHTS as ATTRIBUTES, ES_BASE as BASES,
        ES_LIMIT as LIMITS, ES_SELECTOR as SELECTORS, IA32_EFER_FULL as EFER, IA32_PAT_FULL as PAT,
        INTERRUPTIBILITY_STATE as SHADOW, LINK_PTR_FULL as LINK, RFLAGS, RIP, RSP, VMX_PREEMPTION_TIMER_VALUE as TIMER,
    },
    ro::{
        EXIT_QUALIFICATION as QUALIFICATION, EXIT_REASON as REASON, GUEST_PHYSICAL_ADDR_FULL as GUEST_PHYSICAL,
        IDT_VECTORING_ERR_CODE as INTERRUPTED_ERROR, IDT_VECTORING_INFO as INTERRUPTED,
        VMEXIT_INSTRUCTION_LEN as LENGTH, VMEXIT_INTERRUPTION_ERR_CODE as EXIT_ERROR,
        VMEXIT_INTERRUPTION_INFO as EXIT_EVENT,
    },
};

/// Access to the fields of the current control structure.
pub trait Structure: Copy {
    /// Reads one.
    fn vmread(self, field: u32) -> u64;
    /// Writes one.
    fn vmwrite(self, field: u32, value: u64);
}

impl<S: Structure> Fields for S {
    type Limits = Limits;
    const RIP: u32 = RIP;
    const RFLAGS: u32 = RFLAGS;
    const DR7: u32 = DR7;
    const TSC_OFFSET: u32 = TSC_OFFSET;
    const LENGTHS: Option<[u32; 2]> = Some([LENGTH, INJECT_LENGTH]);
    const INFORMATION: [u32; 2] = [QUALIFICATION, GUEST_PHYSICAL];
    const DEBUG: (u32, u64) = (PRIMARY, MOV_DR);
    const TSC_AUX: usize = guest_msr(TSC_AUX);
    const GENERAL: Mtd = Mtd::GPR;
    const OWN: (u32, usize, Mtd, Mtd) = (RSP, offset_of!(Frame, rsp) / 8, Mtd::RSP, Mtd::RSP);
    const PLAIN: &'static [(Mtd, usize, u32)] = &PLAIN;

    #[inline]
    fn read(self, field: u32) -> u64 {
        self.vmread(field)
    }

    #[inline]
    fn write(self, field: u32, value: u64) {
        self.vmwrite(field, value);
    }

    fn save_others(guest: &Guest<'_, Self>, event: u8, message: &Message<'_>) {
        let read = |field| guest.read(field);
        for ((group, to), index) in SEGMENTS.into_iter().zip((0..).step_by(2)) {
            message.show(group, to, || {
                let system =
                    if index < 16 { read(SELECTORS + index) | packed(read(ATTRIBUTES + index)) << 16 } else { 0 };
                system | read(LIMITS + index) << 32
            });
            message.show(group, to + 1, || read(BASES + index));
        }
        let injected = matches!(event, event::VCPU_VMX_INVALID | event::VCPU_RECALL);
        let (info, error) = if injected { (INJECT, INJECT_ERROR) } else { (INTERRUPTED, INTERRUPTED_ERROR) };
        message.show(Mtd::INJ, word!(inj_info), || read(info) & 0xFFFF_FFFF | read(error) << 32);
        message.show(Mtd::STA, word!(intr_state), || read(SHADOW) | read(ACTIVITY) << 32);
        message.show(Mtd::CR, word!(cr0), || guest.control(CR0));
        message.show(Mtd::CR, word!(cr2), || load(guest.extra, extra::CR2));
        message.show(Mtd::CR, word!(cr4), || guest.control(CR4));
        for index in 0..=KERNEL_GS {
            message.show(Mtd::SYSCALL_SWAPGS, word!(star) + index, || load(guest.extra, guest_msr(index)));
        }
    }

    fn restore_others(guest: &Guest<'_, Self>, message: &Message<'_>, limits: &Limits) {
        let write = |field, value| guest.write(field, value);
        for ((group, from), index) in SEGMENTS.into_iter().zip((0..).step_by(2)) {
            message.change(group, from, |value| {
                write(LIMITS + index, value >> 32);
                if index < 16 {
                    write(SELECTORS + index, value & 0xFFFF);
                    write(ATTRIBUTES + index, unpacked(value >> 16));
                }
            });
            message.change(group, from + 1, |base| write(BASES + index, base));
        }
        message.change(Mtd::CR, word!(cr0), |value| guest.set_control(CR0, value));
        message.change(Mtd::CR, word!(cr4), |value| guest.set_control(CR4, value));
        message.change(Mtd::CR, word!(cr2), |value| store(guest.extra, extra::CR2, value));
        message.change(Mtd::EFER, word!(efer), |value| guest.set_efer(value));
        message.change(Mtd::CTRL, word!(ctrl), |wanted| {
            let kept = guest.read(PRIMARY) & (WINDOWS[0].0 | WINDOWS[1].0);
            write(PRIMARY, allowed(limits.primary, wanted & PRIMARY_ALLOWED | PRIMARY_ALWAYS | MOV_DR) | kept);
            write(SECONDARY, allowed(limits.secondary, wanted >> 32 & SECONDARY_ALLOWED | SECONDARY_ALWAYS));
        });
        message.change(Mtd::INJ, word!(inj_info), |event| {
            for (control, asked) in WINDOWS {
                guest.set(PRIMARY, control, event & asked != 0);
            }
            write(INJECT, event & 0xFFFF_FFFF & !(WINDOWS[0].1 | WINDOWS[1].1));
            write(INJECT_ERROR, event >> 32);
        });
        message.change(Mtd::STA, word!(intr_state), |state| {
            write(SHADOW, state & 0xFFFF_FFFF);
            write(ACTIVITY, state >> 32);
        });
        for index in 0..=KERNEL_GS {
            message.change(Mtd::SYSCALL_SWAPGS, word!(star) + index, |msr| store(guest.extra, guest_msr(index), msr));
        }
    }
}

/// Of CR0 and CR4: which bits exit when they change,
const fn mask(field: u32) -> u32 {
    0x6000 + (field - CR0) / 2
}
/// and what the guest reads there.
const fn shown(field: u32) -> u32 {
    0x6004 + (field - CR0) / 2
}

/// Registers that are copied as they are: group, word of the message, field.
const PLAIN: [(Mtd, usize, u32); 10] = [
    (Mtd::CR, word!(cr3), 0x6802),
    (Mtd::DR, word!(dr7), DR7),
    (Mtd::SYSENTER, word!(sysenter_cs), 0x482A),
    (Mtd::SYSENTER, word!(sysenter_rsp), 0x6824),
    (Mtd::SYSENTER, word!(sysenter_rip), 0x6826),
    (Mtd::PDPTE, word!(pdpte), 0x280A),
    (Mtd::PDPTE, word!(pdpte) + 1, 0x280C),
    (Mtd::PDPTE, word!(pdpte) + 2, 0x280E),
    (Mtd::PDPTE, word!(pdpte) + 3, 0x2810),
    (Mtd::EFER, word!(efer), EFER),
];
/// Segments in the order of their fields: base, limit, attributes, selector; the last two have the first two only.
const SEGMENTS: [(Mtd, usize); 10] = [
    (Mtd::DS_ES, word!(es)),
    (Mtd::CS_SS, word!(cs)),
    (Mtd::CS_SS, word!(ss)),
    (Mtd::DS_ES, word!(ds)),
    (Mtd::FS_GS, word!(fs)),
    (Mtd::FS_GS, word!(gs)),
    (Mtd::LDTR, word!(ldtr)),
    (Mtd::TR, word!(tr)),
    (Mtd::GDTR, word!(gdtr)),
    (Mtd::IDTR, word!(idtr)),
];

/// MSRs that processor and guest share, and are exchanged through the second page: STAR, LSTAR, CSTAR, FMASK, kernel GS
/// base, TSC_AUX, speculation control; not all processors have the last ones.
pub const MSRS: [u32; 7] = [0xC000_0081, 0xC000_0082, 0xC000_0083, 0xC000_0084, 0xC000_0102, 0xC000_0103, 0x48];
const KERNEL_GS: usize = 4;
/// Its index.
pub const TSC_AUX: usize = 5;
/// Words of the second page: the guest's values and the host's, each after its number.
const GUEST_MSRS: usize = 32;
const HOST_MSRS: usize = 64;
const fn guest_msr(index: usize) -> usize {
    GUEST_MSRS + 1 + 2 * index
}

const NE: u64 = 1 << 5;
const PG: u64 = 1 << 31;
const PAE: u64 = 1 << 5;
const VMXE: u64 = 1 << 13;
const LME: u64 = 1 << 8;
const LMA: u64 = 1 << 10;

/// External interrupts, NMI, the guest's own NMIs, the timer that ends an entry where emulators forget the first.
const PIN_ALWAYS: u64 = 1 << 0 | 1 << 3 | 1 << 5 | 1 << 6;
/// TSC offset, HLT, CR8 (the host's, otherwise), port and MSR maps, secondary controls.
const PRIMARY_ALWAYS: u64 = 1 << 3 | 1 << 7 | 3 << 19 | 1 << 25 | 1 << 28 | 1 << 31;
const MOV_DR: u64 = 1 << 23;
/// MWAIT, RDPMC, RDTSC, MONITOR, PAUSE.
const PRIMARY_ALLOWED: u64 = 1 << 10 | 1 << 11 | 1 << 12 | 1 << 29 | 1 << 30;
/// Windows for interrupts and NMIs: the same bits of the control, and of an event in a message.
const WINDOWS: [(u64, u64); 2] = [(1 << 2, 1 << 12), (1 << 22, 1 << 13)];
/// Nested tables, tags, real mode; RDTSCP and INVPCID, which are there without a control on other processors.
const SECONDARY_ALWAYS: u64 = 1 << 1 | 1 << 3 | 1 << 5 | 1 << 7 | 1 << 12;
/// Descriptor tables, WBINVD, PAUSE loops, RDRAND, RDSEED.
const SECONDARY_ALLOWED: u64 = 1 << 2 | 1 << 6 | 1 << 10 | 1 << 11 | 1 << 16;
/// Debug controls, 64-bit host, PAT and EFER of both sides.
const EXIT_CONTROLS: u64 = 1 << 2 | 1 << 9 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 21;
const ENTRY_CONTROLS: u64 = 1 << 2 | 1 << 14 | 1 << 15;
const LONG_MODE: u64 = 1 << 9;
/// #DB and #AC as in [`crate::svm`], #MC.
const INTERCEPTED: u64 = 1 << 1 | 1 << 17 | 1 << 18;

const VALID: u64 = 1 << 31;
/// Type and vector of an NMI; the guest is in the handler of one.
const NMI: u64 = 2 << 8 | 2;
const BEHIND_NMI: u64 = 1 << 3;

/// Fields that are 0 at first, or for ever: page faults that exit, values of CR3, the first event and the offset of time;
/// the guest's debug control, pending traps and state; the host's selectors but for CS, SS and TR, its SYSENTER, FS and GS.
const NOTHING: [u32; 18] = [
    0x4006, 0x4008, 0x400A, INJECT, TSC_OFFSET, 0x2802, 0x6822, SHADOW, ACTIVITY, 0xC00, 0xC06, 0xC08, 0xC0A, 0x4C00,
    0x6C06, 0x6C08, 0x6C10, 0x6C12,
];

/// What the processor allows: for each set of controls a word of bits that must be set (low half) and that may.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Interrupts.
    pub pin: u64,
    /// Instructions.
    pub primary: u64,
    /// More of them.
    pub secondary: u64,
    /// What an exit does.
    pub exit: u64,
    /// What an entry does.
    pub entry: u64,
    /// How many of [`MSRS`] there are.
    pub msrs: u64,
    /// The timer that ends an entry counts when this bit of the TSC changes.
    pub timer_shift: u64,
}

const fn allowed(limits: u64, wanted: u64) -> u64 {
    (wanted | limits & 0xFFFF_FFFF) & limits >> 32
}

impl Limits {
    /// Whether virtual CPUs can run: what cannot be done without is there.
    pub fn suffice(&self) -> bool {
        let has = |limits: u64, bits: u64| limits >> 32 & bits == bits;
        has(self.pin, 1 << 0 | 1 << 3 | 1 << 5)
            && has(self.primary, PRIMARY_ALWAYS | MOV_DR)
            && has(self.secondary, 1 << 1 | 1 << 5)
            && has(self.exit, EXIT_CONTROLS)
            && has(self.entry, ENTRY_CONTROLS | LONG_MODE)
    }
}

/// Makes a control structure of a cleared one. `at` is the physical address of the second page, `msr_map` of the map of
/// MSRs that do not exit (one page), `nested` of the nested table. An entry lasts for at most `longest` ticks of the TSC.
pub fn initialise(
    fields: impl Structure,
    extra: &Page,
    limits: &Limits,
    longest: u64,
    [at, msr_map, nested]: [PhysAddr; 3],
) {
    let words = [
        (PIN, allowed(limits.pin, PIN_ALWAYS)),
        (PRIMARY, allowed(limits.primary, PRIMARY_ALWAYS | MOV_DR)),
        (SECONDARY, allowed(limits.secondary, SECONDARY_ALWAYS)),
        (EXIT, allowed(limits.exit, EXIT_CONTROLS)),
        (ENTRY, allowed(limits.entry, ENTRY_CONTROLS)),
        (EXCEPTIONS, INTERCEPTED),
        (TIMER, longest >> limits.timer_shift),
        (MSR_MAP, msr_map.get()),
        // Write-back, four levels.
        (EPT, nested.get() | 6 | 3 << 3),
        (LINK, u64::MAX),
        (PAT, 0x0007_0406_0007_0406),
        (DR7, 0x400),
        (RFLAGS, RFLAGS_ONE),
        (CR0, NE),
        (mask(CR0), NE),
        (CR4, VMXE),
        (mask(CR4), VMXE),
    ];
    NOTHING.into_iter().map(|field| (field, 0)).chain(words).for_each(|(field, value)| fields.vmwrite(field, value));
    for (area, field, count) in [
        (GUEST_MSRS, VMEXIT_MSR_STORE_ADDR_FULL, VMEXIT_MSR_STORE_COUNT),
        (GUEST_MSRS, VMENTRY_MSR_LOAD_ADDR_FULL, VMENTRY_MSR_LOAD_COUNT),
        (HOST_MSRS, VMEXIT_MSR_LOAD_ADDR_FULL, VMEXIT_MSR_LOAD_COUNT),
    ] {
        fields.vmwrite(field, at.get() + area as u64 * 8);
        fields.vmwrite(count, limits.msrs);
    }
    for (index, number) in MSRS.into_iter().enumerate() {
        [GUEST_MSRS, HOST_MSRS].into_iter().for_each(|area| store(extra, area + 2 * index, number.into()));
    }
    store(extra, extra::XCR0, 1);
}

/// Notes the host's value of one of [`MSRS`].
pub fn set_host_msr(extra: &Page, index: usize, value: u64) {
    store(extra, HOST_MSRS + 1 + 2 * index, value);
}

impl<S: Structure> Guest<'_, S> {
    /// Before an entry: tag and map of ports that do not exit (two pages).
    #[inline]
    pub fn prepare(&self, tag: Tag, io_map: PhysAddr) {
        self.write(VPID, tag.number);
        for (field, offset) in [(IO_BITMAP_A_ADDR_FULL, 0), (IO_BITMAP_B_ADDR_FULL, 4096)] {
            self.write(field, io_map.get() + offset);
        }
    }

    /// After an exit, or an entry that `failed`: what it means, and its event, also if it was one that nobody is told of.
    pub fn exit(&self, failed: bool) -> (Exit, u8) {
        let reason = if failed { event::VCPU_VMX_INVALID.into() } else { self.read(REASON) };
        if failed || self.entry_failed() {
            return (Exit::Event(reason as u8), reason as u8);
        }
        self.again();
        let exit = match reason as u16 {
            0 => self.exception(),
            1 | 52 => Exit::Interrupt,
            7 | 8 => {
                self.set(PRIMARY, WINDOWS[usize::from(reason as u16 == 8)].0, false);
                Exit::Event(reason as u8)
            }
            28 if self.control_register() => Exit::Again,
            29 => Exit::Debug,
            other => Exit::Event(other as u8),
        };
        (exit, reason as u8)
    }

    /// Whether the last entry failed because of the guest's state.
    pub fn entry_failed(&self) -> bool {
        self.read(REASON) & VALID != 0
    }

    /// An exception or NMI: the host's, or one that goes back to the guest, which has left its instruction at least.
    fn exception(&self) -> Exit {
        let event = self.read(EXIT_EVENT);
        match event as u8 {
            vector @ (2 | 18) => Exit::Host(vector),
            vector => {
                self.write(INJECT, event & !(1 << 12));
                self.write(INJECT_ERROR, self.read(EXIT_ERROR));
                if vector == 1 { Exit::Trap(self.read(QUALIFICATION)) } else { Exit::Again }
            }
        }
    }

    /// Injects again what an exit has interrupted.
    fn again(&self) {
        let event = self.read(INTERRUPTED);
        if event & VALID != 0 {
            self.write(INJECT, event & !(1 << 12));
            self.write(INJECT_ERROR, self.read(INTERRUPTED_ERROR));
            self.write(INJECT_LENGTH, self.read(LENGTH));
            // An NMI on its way is not behind itself.
            if event & 0x7FF == NMI {
                self.set(SHADOW, BEHIND_NMI, false);
            }
        }
    }

    /// A write of CR0 or CR4 that changes a bit which the kernel keeps. False if it is the monitor's: paging with entries
    /// that have to be loaded from the guest's memory.
    fn control_register(&self) -> bool {
        let (about, efer) = (self.read(QUALIFICATION), self.read(EFER));
        let field = match about & 0x3F {
            0 => CR0,
            4 => CR4,
            _ => return false,
        };
        let frame = self.frame;
        let registers =
            [&frame.rax, &frame.rcx, &frame.rdx, &frame.rbx, &frame.rsp, &frame.rbp, &frame.rsi, &frame.rdi];
        let more = [&frame.r8, &frame.r9, &frame.r10, &frame.r11, &frame.r12, &frame.r13, &frame.r14, &frame.r15];
        self.frame.rsp.set(self.read(RSP));
        let register = about as usize >> 8 & 15;
        let value = registers.into_iter().chain(more).nth(register).map_or(0, |register| register.get());
        let paging = |cr0: u64, cr4: u64| cr0 & PG != 0 && cr4 & PAE != 0 && efer & LME == 0;
        let (cr0, cr4) = (self.read(CR0), self.read(CR4));
        if if field == CR0 { paging(value, cr4) } else { paging(cr0, value) } {
            return false;
        }
        self.set_control(field, value);
        if field == CR0 && efer & LME != 0 {
            self.set_efer(if value & PG != 0 { efer | LMA } else { efer & !LMA });
        }
        self.write(RIP, self.read(RIP) + self.read(LENGTH));
        self.write(SHADOW, self.read(SHADOW) & !3);
        true
    }

    fn set_control(&self, field: u32, value: u64) {
        self.write(field, value | if field == CR0 { NE } else { VMXE });
        self.write(shown(field), value);
    }

    fn control(&self, field: u32) -> u64 {
        let kept = if field == CR0 { NE } else { VMXE };
        self.read(field) & !kept | self.read(shown(field)) & kept
    }

    fn set_efer(&self, value: u64) {
        self.write(EFER, value);
        self.set(ENTRY, LONG_MODE, value & LMA != 0);
    }
}

/// Attributes of a segment as a message has them: 12 bits in a row, and that it is unusable.
const fn packed(attributes: u64) -> u64 {
    attributes & 0xFF | (attributes >> 12 & 0x1F) << 8
}

/// The same as the control structure has them.
const fn unpacked(attributes: u64) -> u64 {
    attributes & 0xFF | (attributes >> 8 & 0x1F) << 12
}

#[cfg(test)]
mod tests;
