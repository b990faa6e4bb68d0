//! The state of a virtual processor in a message: what an exit brought, and what the reply writes back.
//!
//! Invariants: a value that is set is part of the reply, because setting it names its group; a group is set only by who
//! got it with the exit, or sets all of it.
//! Concurrency: plain value of one exit.
//! Source: classic interface, "UTCB" and "MTD bits".

use core::mem::offset_of;

use abi::Mtd;
use abi::arch_state::{ArchState, Segment};
use rt::message::Words;

/// Bit of [`State::injection`]: there is an event.
pub const VALID: u32 = 1 << 31;
/// Bit of what is injected: exit when the guest takes interrupts.
pub const WINDOW: u32 = 1 << 12;
/// The same for non-maskable ones, on VMX.
pub const NMI_WINDOW: u32 = 1 << 13;
/// Both.
pub const WINDOWS: u32 = WINDOW | NMI_WINDOW;
/// Bit of [`State::injection`]: the event has an error code.
const HAS_CODE: u32 = 1 << 11;
const NMI: u32 = 2 << 8;
const EXCEPTION: u32 = 3 << 8;

/// Interrupt flag of RFLAGS.
pub const INTERRUPTS_ON: u64 = 1 << 9;

/// The state behind the words of a message.
#[derive(Debug)]
pub struct State<'a, W> {
    words: &'a mut W,
    reply: Mtd,
}

const fn word(offset: usize) -> usize {
    offset / 8
}

macro_rules! registers {
    ($($(#[$doc:meta])* $get:ident, $set:ident: $field:ident, $group:ident;)+) => {
        impl<W: Words> State<'_, W> {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $get(&self) -> u64 {
                    self.get(offset_of!(ArchState, $field))
                }

                /// Sets it.
                pub fn $set(&mut self, value: u64) {
                    self.set(offset_of!(ArchState, $field), value);
                    self.reply |= Mtd::$group;
                }
            )+
        }
    };
}
registers! {
    /// The register.
    rip, set_rip: rip, RIP_LEN;
    /// The register.
    rflags, set_rflags: rflags, RFLAGS;
    /// The register.
    rax, set_rax: rax, ACDB;
    /// The register.
    rbx, set_rbx: rbx, ACDB;
    /// The register.
    rcx, set_rcx: rcx, ACDB;
    /// The register.
    rdx, set_rdx: rdx, ACDB;
    /// The register.
    rsp, set_rsp: rsp, RSP;
    /// The register.
    rbp, set_rbp: rbp, BSD;
    /// The register.
    rsi, set_rsi: rsi, BSD;
    /// The register.
    rdi, set_rdi: rdi, BSD;
    /// The register.
    cr0, set_cr0: cr0, CR;
    /// The register.
    cr2, set_cr2: cr2, CR;
    /// The register.
    cr3, set_cr3: cr3, CR;
    /// The register.
    cr4, set_cr4: cr4, CR;
    /// The register.
    efer, set_efer: efer, EFER;
    /// The register.
    star, set_star: star, SYSCALL_SWAPGS;
    /// The register.
    lstar, set_lstar: lstar, SYSCALL_SWAPGS;
    /// The register.
    cstar, set_cstar: cstar, SYSCALL_SWAPGS;
    /// The register.
    sfmask, set_sfmask: sfmask, SYSCALL_SWAPGS;
    /// The register.
    kernel_gs_base, set_kernel_gs_base: kernel_gs_base, SYSCALL_SWAPGS;
    /// The register.
    sysenter_cs, set_sysenter_cs: sysenter_cs, SYSENTER;
    /// The register.
    sysenter_rsp, set_sysenter_rsp: sysenter_rsp, SYSENTER;
    /// The register.
    sysenter_rip, set_sysenter_rip: sysenter_rip, SYSENTER;
    /// The register.
    tsc_aux, set_tsc_aux: tsc_aux, TSC_AUX;
    /// The register.
    xcr0, set_xcr0: xcr0, XSAVE;
}

impl<'a, W: Words> State<'a, W> {
    /// The state in `words`; nothing is written back so far.
    pub fn new(words: &'a mut W) -> Self {
        Self { words, reply: Mtd::empty() }
    }

    fn get(&self, offset: usize) -> u64 {
        self.words.get(word(offset)).unwrap_or(0)
    }

    fn set(&mut self, offset: usize, value: u64) {
        self.words.set(word(offset), value);
    }

    /// The groups that the exit brought.
    #[must_use]
    pub fn brought(&self) -> Mtd {
        Mtd::from_word(self.get(offset_of!(ArchState, mtd)))
    }

    /// The groups that the reply writes so far.
    #[must_use]
    pub const fn reply(&self) -> Mtd {
        self.reply
    }

    /// Writes the reply's groups into the message.
    pub fn finish(&mut self) {
        self.set(offset_of!(ArchState, mtd), self.reply.word());
    }

    /// Writes a whole state; `groups` of it count.
    pub fn load(&mut self, state: &ArchState, groups: Mtd) {
        let segment = |s: &Segment| {
            let low = u64::from(s.selector) | u64::from(s.attributes) << 16 | u64::from(s.limit) << 32;
            [low, s.base]
        };
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        macro_rules! put {
            ($($field:ident),+) => { $(self.set(offset_of!(ArchState, $field), state.$field);)+ };
        }
        put!(
            rip, rflags, rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, cr0, cr2, cr3, cr4, xcr0, xss, efer, star, lstar,
            cstar
        );
        put!(
            sfmask,
            kernel_gs_base,
            dr7,
            sysenter_cs,
            sysenter_rsp,
            sysenter_rip,
            tsc_off,
            tsc_aux,
            instruction_length
        );
        for (index, value) in state.r8_r15.iter().enumerate() {
            self.set(offset_of!(ArchState, r8_r15) + 8 * index, *value);
        }
        self.set(offset_of!(ArchState, intr_state), pair(state.intr_state, state.actv_state));
        self.set(offset_of!(ArchState, inj_info), pair(state.inj_info, state.inj_error));
        self.set(offset_of!(ArchState, ctrl), pair(state.ctrl[0], state.ctrl[1]));
        macro_rules! segments {
            ($($field:ident),+) => {
                $(for (index, value) in segment(&state.$field).into_iter().enumerate() {
                    self.set(offset_of!(ArchState, $field) + 8 * index, value);
                })+
            };
        }
        segments!(es, cs, ss, ds, fs, gs, ldtr, tr, gdtr, idtr);
        self.reply |= groups;
    }

    /// General register `number` in the order of the instruction encoding.
    #[must_use]
    pub fn register(&self, number: usize) -> u64 {
        register_offset(number).map_or(0, |(offset, _)| self.get(offset))
    }

    /// Sets that register.
    pub fn set_register(&mut self, number: usize, value: u64) {
        if let Some((offset, group)) = register_offset(number) {
            self.set(offset, value);
            self.reply |= group;
        }
    }

    /// Base and attributes of the segment register: 0 es, 1 cs, 2 ss, 3 ds, 4 fs, 5 gs.
    #[must_use]
    pub fn segment(&self, number: usize) -> Segment {
        let offset = offset_of!(ArchState, es) + 16 * number.min(5);
        let low = self.get(offset);
        Segment {
            selector: low as u16,
            attributes: (low >> 16) as u16,
            limit: (low >> 32) as u32,
            base: self.get(offset + 8),
        }
    }

    /// The privilege level, 0 to 3.
    #[must_use]
    pub fn level(&self) -> u16 {
        self.segment(2).attributes >> 5 & 3
    }

    /// The two words that say why.
    #[must_use]
    pub fn qualification(&self) -> [u64; 2] {
        [0, 8].map(|more| self.get(offset_of!(ArchState, qual) + more))
    }

    /// Length of the instruction that exited; 0 where the processor does not tell.
    #[must_use]
    pub fn instruction_length(&self) -> u64 {
        self.get(offset_of!(ArchState, instruction_length))
    }

    /// Goes on behind an instruction of `length` bytes.
    pub fn skip(&mut self, length: u64) {
        let rip = self.rip().wrapping_add(length);
        self.set_rip(rip);
        // On VMX the length is that of an event to be injected from now on; there is none.
        self.set(offset_of!(ArchState, instruction_length), 0);
        self.end_shadow();
    }

    /// An instruction has passed, and with it the shadow of STI or MOV SS before it.
    fn end_shadow(&mut self) {
        if self.brought().contains(Mtd::STA) && self.get(offset_of!(ArchState, intr_state)) as u32 & 3 != 0 {
            let word = self.get(offset_of!(ArchState, intr_state)) & !3;
            self.set(offset_of!(ArchState, intr_state), word);
            self.reply |= Mtd::STA;
        }
    }

    /// Whether the guest takes an interrupt now.
    #[must_use]
    pub fn takes_interrupts(&self) -> bool {
        self.rflags() & INTERRUPTS_ON != 0 && self.get(offset_of!(ArchState, intr_state)) as u32 & 3 == 0
    }

    /// Whether the guest takes a non-maskable interrupt now: it does not behind STI or MOV SS, and, where the processor tells,
    /// in the handler of another.
    #[must_use]
    pub fn takes_nmi(&self) -> bool {
        self.get(offset_of!(ArchState, intr_state)) as u32 & 0b1011 == 0
    }

    /// The event to be injected, or that was being delivered at the exit.
    #[must_use]
    pub fn injection(&self) -> u32 {
        let known = (self.brought() | self.reply).contains(Mtd::INJ);
        if known { self.get(offset_of!(ArchState, inj_info)) as u32 } else { 0 }
    }

    /// Whether the instruction at the instruction pointer raises the event by itself, so that it must not be injected.
    #[must_use]
    pub fn is_raised_again(&self) -> bool {
        const SOFTWARE: u32 = 4 << 8;
        let info = self.injection();
        match info & 0x700 {
            SOFTWARE => true,
            EXCEPTION => matches!(info & 0xFF, 3 | 4),
            _ => false,
        }
    }

    /// Injects; the error code stays.
    pub fn set_injection(&mut self, info: u32) {
        let word = self.get(offset_of!(ArchState, inj_info)) & !0xFFFF_FFFF | u64::from(info);
        self.set(offset_of!(ArchState, inj_info), word);
        self.reply |= Mtd::INJ;
    }

    /// Injects the interrupt `vector`.
    pub fn inject_interrupt(&mut self, vector: u8) {
        self.set_injection(VALID | u32::from(vector));
    }

    /// Injects a non-maskable interrupt.
    pub fn inject_nmi(&mut self) {
        self.set_injection(VALID | NMI | 2);
    }

    /// Injects the exception `vector`, with its error code if it has one.
    pub fn inject_exception(&mut self, vector: u8, code: Option<u32>) {
        let info = VALID | EXCEPTION | u32::from(vector) | if code.is_some() { HAS_CODE } else { 0 };
        let word = u64::from(info) | u64::from(code.unwrap_or(0)) << 32;
        self.set(offset_of!(ArchState, inj_info), word);
        self.reply |= Mtd::INJ;
    }
}

fn register_offset(number: usize) -> Option<(usize, Mtd)> {
    Some(match number {
        0 => (offset_of!(ArchState, rax), Mtd::ACDB),
        1 => (offset_of!(ArchState, rcx), Mtd::ACDB),
        2 => (offset_of!(ArchState, rdx), Mtd::ACDB),
        3 => (offset_of!(ArchState, rbx), Mtd::ACDB),
        4 => (offset_of!(ArchState, rsp), Mtd::RSP),
        5 => (offset_of!(ArchState, rbp), Mtd::BSD),
        6 => (offset_of!(ArchState, rsi), Mtd::BSD),
        7 => (offset_of!(ArchState, rdi), Mtd::BSD),
        8..16 => (offset_of!(ArchState, r8_r15) + 8 * (number - 8), Mtd::R8_R15),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_in_the_reply_and_nothing_else() {
        let mut words = [0_u64; 508];
        let mut state = State::new(&mut words);
        state.set_rip(0x1000);
        state.skip(2);
        state.set_register(9, 7);
        assert_eq!((state.rip(), state.register(9)), (0x1002, 7));
        assert_eq!(state.reply(), Mtd::RIP_LEN | Mtd::R8_R15);
        state.finish();
        assert_eq!(words[0], (Mtd::RIP_LEN | Mtd::R8_R15).word());
    }

    #[test]
    fn a_loaded_state_reads_back() {
        let mut words = [0_u64; 508];
        let mut state = State::new(&mut words);
        let cs = Segment { selector: 0x10, attributes: 0xA9B, limit: u32::MAX, base: 0x1234 };
        let all = ArchState { cs, rip: 5, inj_info: VALID | 3, inj_error: 9, rflags: 2, ..ArchState::default() };
        state.load(&all, Mtd::CS_SS | Mtd::INJ);
        assert_eq!((state.segment(1), state.rip(), state.injection()), (cs, 5, VALID | 3));
        assert!(!state.takes_interrupts());
    }
}
