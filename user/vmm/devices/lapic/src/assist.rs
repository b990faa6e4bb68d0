//! Ends of interrupts without an exit: a word of the guest's memory says that the guest may end the interrupt it handles by
//! clearing a bit there.
//!
//! The bit is set while exactly one interrupt is in service, that is no level, and none is requested: then nothing has to
//! happen when it ends, and it is enough to find out later.
//! Invariants: what the guest writes there can only end an interrupt that it could have ended by a write to the register.
//! Concurrency: the word is read and written while the processor does not run.
//! Source: Linux, Documentation/virt/kvm/x86/msr.rst, MSR_KVM_PV_EOI_EN.

use crate::msr::Unknown;
use crate::{Lapic, Shared};

/// The model-specific register with the word's address; bit 0 switches it on.
pub const END_ASSIST: u32 = 0x4B56_4D04;
const ENABLED: u64 = 1;

/// Where the word is, and whether its bit is set.
#[derive(Default, Debug)]
pub struct Assist {
    register: u64,
    offered: bool,
}

impl Assist {
    pub(crate) const fn register(&self) -> u64 {
        self.register
    }

    pub(crate) const fn set_register(&mut self, value: u64) -> Result<(), Unknown> {
        // The word is aligned to 4 bytes.
        if value & 2 != 0 {
            return Err(Unknown);
        }
        *self = Self { register: value, offered: false };
        Ok(())
    }

    const fn address(&self) -> Option<u64> {
        if self.register & ENABLED != 0 { Some(self.register & !3) } else { None }
    }
}

impl Lapic {
    /// Address of the word, if its bit was set when the processor ran last.
    #[must_use]
    pub const fn offered(&self) -> Option<u64> {
        if self.assist.offered { self.assist.address() } else { None }
    }

    /// The word at [`Lapic::offered`] was found to be this.
    pub fn found(&mut self, shared: &Shared, word: u32) {
        if word & 1 == 0 && self.assist.offered {
            self.assist.offered = false;
            // It is no level: nobody has to be told.
            let _ = self.end_of_interrupt(shared);
        }
    }

    /// What the word must be when the processor runs next, and its address, if that has changed.
    #[must_use]
    pub fn offer(&mut self, shared: &Shared) -> Option<(u64, u32)> {
        let address = self.assist.address()?;
        let wanted = self.is_alone(shared);
        if wanted == self.assist.offered {
            return None;
        }
        self.assist.offered = wanted;
        Some((address, wanted.into()))
    }

    /// The word is not there: interrupts are ended by the register.
    pub fn withdraw(&mut self) {
        self.assist = Assist::default();
    }

    /// Whether one interrupt is in service that is no level, and none waits.
    fn is_alone(&self, shared: &Shared) -> bool {
        let mut served = self.in_service.iter().enumerate().filter(|(_, bits)| **bits != 0);
        let (Some((word, bits)), None) = (served.next(), served.next()) else { return false };
        let vector = (word as u32 * 32 + bits.trailing_zeros()) as u8;
        bits.is_power_of_two() && !shared.is_level(vector) && shared.highest_request().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: u64 = 0x1000;

    fn started() -> (Lapic, Shared) {
        let (mut lapic, shared) = (Lapic::new(true), Shared::new(0));
        lapic.write(&shared, crate::register::SVR, 0x1FF, 0);
        assert!(lapic.write_msr(&shared, END_ASSIST, ADDRESS | ENABLED, 0).is_ok());
        (lapic, shared)
    }

    fn deliver(lapic: &mut Lapic, shared: &Shared, vector: u8) {
        shared.request(vector, false);
        assert_eq!(lapic.pending(shared), Some(vector));
        lapic.accept(shared, vector);
    }

    #[test]
    fn the_only_interrupt_is_ended_by_the_guests_word() {
        let (mut lapic, shared) = started();
        assert_eq!(lapic.offer(&shared), None);
        deliver(&mut lapic, &shared, 0x41);
        assert_eq!((lapic.offer(&shared), lapic.offered()), (Some((ADDRESS, 1)), Some(ADDRESS)));
        lapic.found(&shared, 1);
        shared.request(0x31, false);
        assert_eq!(lapic.pending(&shared), None);
        // It has to leave the guest now: another one waits for the end.
        assert_eq!(lapic.offer(&shared), Some((ADDRESS, 0)));
        lapic.write(&shared, crate::register::EOI, 0, 0);
        assert_eq!(lapic.pending(&shared), Some(0x31));
        lapic.accept(&shared, 0x31);
        assert_eq!(lapic.offer(&shared), Some((ADDRESS, 1)));
        lapic.found(&shared, 0);
        assert_eq!((lapic.offer(&shared), lapic.is_alone(&shared)), (None, false));
        shared.request(0x31, false);
        assert_eq!(lapic.pending(&shared), Some(0x31));
    }

    #[test]
    fn levels_and_nested_interrupts_are_ended_by_the_register() {
        let (mut lapic, shared) = started();
        shared.request(0x51, true);
        lapic.accept(&shared, 0x51);
        assert_eq!(lapic.offer(&shared), None);
        deliver(&mut lapic, &shared, 0x61);
        assert_eq!(lapic.offer(&shared), None);
    }

    #[test]
    fn the_word_is_aligned_and_can_be_switched_off() {
        let (mut lapic, shared) = started();
        assert_eq!(lapic.write_msr(&shared, END_ASSIST, ADDRESS | 3, 0), Err(Unknown));
        assert_eq!(lapic.read_msr(&shared, END_ASSIST, 0), Ok(ADDRESS | 1));
        deliver(&mut lapic, &shared, 0x41);
        lapic.withdraw();
        assert_eq!((lapic.offer(&shared), lapic.read_msr(&shared, END_ASSIST, 0)), (None, Ok(0)));
    }
}
