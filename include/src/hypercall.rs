//! Hypercall numbers and the first register of a hypercall.
//!
//! Layout of the word: bits 3:0 number, bits 7:4 flags or sub-operation, bits 63:8 first selector.
//! Invariants: all sixteen numbers are taken, so every word decodes; encoding what was decoded gives the same word.
//! Concurrency: plain values.
//! Source: classic interface, "Entry and register convention" and "Hypercalls".

use crate::selector::Selector;

/// Number of a hypercall.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Hypercall {
    /// Call through a portal.
    Call = 0,
    /// Reply to the caller and wait for the next one.
    Reply = 1,
    /// Create a protection domain (PD).
    CreateDomain = 2,
    /// Create an execution context (EC): a thread or a virtual CPU.
    CreateContext = 3,
    /// Create a scheduling context (SC).
    CreateScheduling = 4,
    /// Create a portal (PT).
    CreatePortal = 5,
    /// Create a semaphore (SM) or a signal.
    CreateSemaphore = 6,
    /// Take capabilities back.
    Revoke = 7,
    /// Look up, delegate, suspend: see [`crate::operation::Misc`].
    Misc = 8,
    /// Control an execution context: see [`crate::operation::ContextControl`].
    ControlContext = 9,
    /// Read the times of a scheduling context: see [`crate::operation::SchedulingControl`].
    ControlScheduling = 10,
    /// Set a portal's identity.
    ControlPortal = 11,
    /// Up or down a semaphore: see [`crate::operation::SemaphoreFlags`].
    ControlSemaphore = 12,
    /// Assign a PCI device to a domain.
    AssignPci = 13,
    /// Route an interrupt: see [`crate::operation::InterruptFlags`].
    AssignInterrupt = 14,
    /// Move quota between domains or read it: see [`crate::operation::DomainControl`].
    ControlDomain = 15,
}

impl Hypercall {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 16] = [
        Self::Call,
        Self::Reply,
        Self::CreateDomain,
        Self::CreateContext,
        Self::CreateScheduling,
        Self::CreatePortal,
        Self::CreateSemaphore,
        Self::Revoke,
        Self::Misc,
        Self::ControlContext,
        Self::ControlScheduling,
        Self::ControlPortal,
        Self::ControlSemaphore,
        Self::AssignPci,
        Self::AssignInterrupt,
        Self::ControlDomain,
    ];

    /// The hypercall that bits 3:0 of `word` name.
    #[must_use]
    pub const fn from_low_bits(word: u64) -> Self {
        Self::ALL[(word & 0xF) as usize]
    }

    /// The number, 0 to 15.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// What the first register of a hypercall says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Which hypercall.
    pub hypercall: Hypercall,
    /// Flags or sub-operation, 0 to 15.
    pub flags: u8,
    /// The selector whose meaning depends on the hypercall.
    pub selector: Selector,
}

impl Request {
    /// Puts the three together; of `flags` the low four bits count.
    #[must_use]
    pub const fn new(hypercall: Hypercall, flags: u8, selector: Selector) -> Self {
        Self { hypercall, flags: flags & 0xF, selector }
    }

    /// Reads the word in the first register; every word has a meaning.
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self {
            hypercall: Hypercall::from_low_bits(word),
            flags: (word >> 4 & 0xF) as u8,
            selector: Selector::new(word >> 8),
        }
    }

    /// The word for the first register.
    #[must_use]
    pub const fn word(self) -> u64 {
        self.hypercall.number() as u64 | ((self.flags & 0xF) as u64) << 4 | self.selector.number() << 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_those_of_the_classic_interface() {
        for (number, hypercall) in Hypercall::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(hypercall.number()), number);
        }
        assert_eq!([Hypercall::Revoke, Hypercall::Misc, Hypercall::AssignInterrupt].map(Hypercall::number), [7, 8, 14]);
    }

    #[test]
    fn delegation_to_the_root_domain_is_this_word() {
        assert_eq!(Request::new(Hypercall::Misc, 1, Selector::ROOT_DOMAIN).word(), 0x2018);
    }

    proptest! {
        #[test]
        fn every_word_decodes_and_encodes_to_itself(word: u64) {
            prop_assert_eq!(Request::from_word(word).word(), word);
        }

        #[test]
        fn every_request_encodes_and_decodes_to_itself(number in 0..16_u64, flags in 0..16_u8, selector in 0..1_u64 << 56) {
            let request = Request::new(Hypercall::from_low_bits(number), flags, Selector::new(selector));
            prop_assert_eq!(Request::from_word(request.word()), request);
        }
    }
}
