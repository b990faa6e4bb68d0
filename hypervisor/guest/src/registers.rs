//! The registers of a virtual CPU, whatever the processor.
//!
//! Purpose: between the fields of a control block or structure and a message, by transfer descriptor; breakpoints.
//! Invariants: what differs between processors is in [`Fields`]: mostly where something is, and what is special about it.
//! Concurrency: see the crate.
//! Source: interface §4 ("MTD bits", SVM and VMX).
use crate::{extra, load, sane_xcr0, store};
use abi::Mtd;
use abi::arch_state::{ArchState, STATE_OFFSET};
use abi::utcb::Header;
use core::mem::offset_of;
use ipc::state;
use objects::Page;
use objects::frame::Frame;

/// RFLAGS: the bit that is always 1.
pub(crate) const RFLAGS_ONE: u64 = 1 << 1;

/// A control block or structure: access to its fields, and what there is about them.
pub trait Fields: Copy {
    /// What the processor allows, besides components of XCR0.
    type Limits;
    /// The instruction pointer.
    const RIP: u32;
    /// The flags.
    const RFLAGS: u32;
    /// The debug control register.
    const DR7: u32;
    /// What is added to the time-stamp counter.
    const TSC_OFFSET: u32;
    /// Lengths, if there are any: of the instruction that has exited, and of the one that raises what is injected.
    const LENGTHS: Option<[u32; 2]>;
    /// Details of the last exit.
    const INFORMATION: [u32; 2];
    /// The bits of a field with which all accesses to debug registers exit.
    const DEBUG: (u32, u64);
    /// Word of the second page that has IA32_TSC_AUX.
    const TSC_AUX: usize;
    /// Groups of general registers that are in the frame.
    const GENERAL: Mtd;
    /// The general register that is in a field too, and its word in the frame; the groups for which it is fetched from there,
    /// and with which it changes.
    const OWN: (u32, usize, Mtd, Mtd);
    /// Registers that are copied as they are: group, word of the message, field.
    const PLAIN: &'static [(Mtd, usize, u32)];

    /// Reads a field.
    fn read(self, field: u32) -> u64;
    /// Writes a field.
    fn write(self, field: u32, value: u64);
    /// Shows the rest of the registers to a monitor that handles `event`.
    fn save_others(guest: &Guest<'_, Self>, event: u8, message: &Message<'_>);
    /// Changes the rest of them.
    fn restore_others(guest: &Guest<'_, Self>, message: &Message<'_>, limits: &Self::Limits);
}

/// A message page, and the groups of registers that it is about.
pub struct Message<'p> {
    /// The groups.
    pub mtd: Mtd,
    /// The page.
    pub page: &'p Page,
}

impl Message<'_> {
    /// Writes a word if it is about `group`.
    pub fn show(&self, group: Mtd, to: usize, value: impl FnOnce() -> u64) {
        if self.mtd.intersects(group) {
            store(self.page, to, value());
        }
    }

    /// Does something with a word if it is about `group`.
    pub fn change(&self, group: Mtd, from: usize, change: impl FnOnce(u64)) {
        if self.mtd.intersects(group) {
            change(load(self.page, from));
        }
    }
}

/// A virtual CPU.
#[derive(Clone, Copy)]
pub struct Guest<'p, F> {
    /// Its registers, but for what the fields have.
    pub frame: &'p Frame,
    /// Its second page.
    pub extra: &'p Page,
    /// Its control block or structure.
    pub fields: F,
}

impl<F: Fields> Guest<'_, F> {
    /// Groups that most portals do without.
    const RARE: Mtd = Mtd::all().difference(F::GENERAL.union(Mtd::RIP_LEN).union(Mtd::QUAL).union(Mtd::FPU));

    pub(crate) fn read(&self, field: u32) -> u64 {
        self.fields.read(field)
    }

    pub(crate) fn write(&self, field: u32, value: u64) {
        self.fields.write(field, value);
    }

    pub(crate) fn set(&self, field: u32, bits: u64, set: bool) {
        let rest = self.read(field) & !bits;
        self.write(field, if set { rest | bits } else { rest });
    }

    /// Details of the last exit; of a nested fault the guest-physical address, and SVM's error code.
    #[inline]
    pub fn information(&self) -> [u64; 2] {
        F::INFORMATION.map(|field| self.read(field))
    }

    /// Whether accesses to debug registers exit.
    #[inline]
    pub fn lacks_breakpoints(&self) -> bool {
        self.read(F::DEBUG.0) & F::DEBUG.1 != 0
    }

    /// Whether the guest has enabled breakpoints.
    #[inline]
    pub fn uses_breakpoints(&self) -> bool {
        self.read(F::DR7) & 0xFF != 0
    }

    /// Makes accesses to debug registers exit, or not.
    pub fn withhold_breakpoints(&self, withheld: bool) {
        self.set(F::DEBUG.0, F::DEBUG.1, withheld);
    }

    /// Writes the groups of `mtd` into a message page, for a monitor that handles `event`; `now` reads the TSC. Vector
    /// registers are left to others.
    #[inline(always)]
    pub fn save(&self, mtd: Mtd, event: u8, now: fn() -> u64, page: &Page) {
        store(page, 0, Header::STATE.word());
        store(page, word!(mtd), mtd.bits());
        store(page, word!(exit_reason), event.into());
        if mtd.intersects(Mtd::RIP_LEN) {
            store(page, word!(rip), self.read(F::RIP));
            if let Some([length, _]) = F::LENGTHS {
                store(page, word!(instruction_length), self.read(length));
            }
        }
        if mtd.intersects(Mtd::QUAL) {
            (word!(qual)..).zip(self.information()).for_each(|(to, value)| store(page, to, value));
        }
        if mtd.intersects(F::GENERAL) {
            let (field, word, shown, _) = F::OWN;
            if mtd.intersects(shown) {
                self.frame.words()[word].set(self.read(field));
            }
            state::save_general(self.frame, mtd.intersection(F::GENERAL), page);
        }
        if mtd.intersects(Self::RARE) {
            self.save_rare(&Message { mtd, page }, event, now);
        }
    }

    #[inline(never)]
    fn save_rare(&self, message: &Message<'_>, event: u8, now: fn() -> u64) {
        F::PLAIN.iter().for_each(|&(group, to, field)| message.show(group, to, || self.read(field)));
        message.show(Mtd::RFLAGS, word!(rflags), || self.read(F::RFLAGS));
        message.show(Mtd::TSC, word!(tsc_val), now);
        message.show(Mtd::TSC, word!(tsc_off), || self.read(F::TSC_OFFSET));
        message.show(Mtd::TSC_AUX, word!(tsc_aux), || load(self.extra, F::TSC_AUX));
        message.show(Mtd::XSAVE, word!(xcr0), || load(self.extra, extra::XCR0));
        message.show(Mtd::XSAVE, word!(xss), || 0);
        F::save_others(self, event, message);
    }

    /// Changes the registers whose groups a message page names. `components` are the bits of XCR0 that the host manages.
    /// Returns the descriptor.
    #[inline(always)]
    pub fn restore(&self, page: &Page, components: u64, limits: &F::Limits) -> Mtd {
        let mtd = state::descriptor(page);
        if mtd.intersects(Mtd::RIP_LEN) {
            self.write(F::RIP, load(page, word!(rip)));
            if let Some([_, length]) = F::LENGTHS {
                self.write(length, load(page, word!(instruction_length)) & 15);
            }
        }
        if mtd.intersects(F::GENERAL) {
            state::restore_general(page, self.frame, mtd.intersection(F::GENERAL));
            let (field, word, _, changed) = F::OWN;
            if mtd.intersects(changed) {
                self.write(field, self.frame.words()[word].get());
            }
        }
        if mtd.intersects(Self::RARE) {
            self.restore_rare(&Message { mtd, page }, components, limits);
        }
        mtd
    }

    #[inline(never)]
    fn restore_rare(&self, message: &Message<'_>, components: u64, limits: &F::Limits) {
        F::PLAIN.iter().for_each(|&(group, from, field)| message.change(group, from, |value| self.write(field, value)));
        message.change(Mtd::RFLAGS, word!(rflags), |flags| self.write(F::RFLAGS, flags | RFLAGS_ONE));
        message.change(Mtd::TSC, word!(tsc_off), |more| {
            self.write(F::TSC_OFFSET, self.read(F::TSC_OFFSET).wrapping_add(more));
        });
        message.change(Mtd::TSC_AUX, word!(tsc_aux), |aux| store(self.extra, F::TSC_AUX, aux & 0xFFFF_FFFF));
        message.change(Mtd::XSAVE, word!(xcr0), |xcr0| store(self.extra, extra::XCR0, sane_xcr0(xcr0, components)));
        F::restore_others(self, message, limits);
    }
}
