//! A capability: one word.
//!
//! Purpose: what a slot of an object space holds.
//! Invariants: bits 4:0 rights, 7:5 type, 39:8 reference; a word without rights or type is null, and null is 0.
//! Concurrency: a slot is read and written as one atomic word.
//! Source: interface §2; `docs/src/decisions/0003-objects-and-sync.md`.
use abi::Rights;

/// Type of a kernel object, with its number in capability words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Protection domain.
    Domain = 1,
    /// Execution context.
    Context = 2,
    /// Scheduling context.
    Scheduling = 3,
    /// Portal.
    Portal = 4,
    /// Semaphore.
    Semaphore = 5,
    /// Node of the mapping tree, to which there are no capabilities.
    Node = 6,
}

/// A capability, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capability(u64);

impl Capability {
    /// No capability.
    pub const NULL: Self = Self(0);

    /// The capability with `rights` to the object of `kind` that `reference`, a reference's word below 2^32, names.
    pub const fn new(kind: Kind, rights: Rights, reference: u64) -> Self {
        if rights.is_none() {
            return Self::NULL;
        }
        Self((reference & 0xFFFF_FFFF) << 8 | (kind as u64) << 5 | rights.bits() as u64)
    }

    /// What a slot holds.
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// As a slot holds it.
    pub const fn word(self) -> u64 {
        self.0
    }

    /// The object as a unit that the mapping tree can name: type and reference.
    pub const fn origin(self) -> u64 {
        self.0 >> 5
    }

    /// The capability with `rights` to the object that [`Self::origin`] named.
    pub const fn from_origin(origin: u64, rights: Rights) -> Self {
        if rights.is_none() { Self::NULL } else { Self(origin << 5 | rights.bits() as u64) }
    }

    /// The rights.
    pub const fn rights(self) -> Rights {
        Rights::new((self.0 & 0x1F) as u8)
    }

    /// The reference's word, if the capability is to an object of `kind` and carries all of `needed`.
    pub const fn object(self, kind: Kind, needed: Rights) -> Option<u64> {
        let needed = (kind as u64) << 5 | needed.bits() as u64;
        if self.0 & (7 << 5 | needed) == needed { Some(self.0 >> 8) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [Kind; 5] = [Kind::Domain, Kind::Context, Kind::Scheduling, Kind::Portal, Kind::Semaphore];

    proptest! {
        #[test]
        fn a_capability_gives_its_object_for_its_kind_and_rights_only(
            kind in 0usize..5, asked in 0usize..5, rights in 0u8..32, needed in 0u8..32, reference in 1u64..1 << 32,
        ) {
            let capability = Capability::new(KINDS[kind], Rights::new(rights), reference);
            let found = capability.object(KINDS[asked], Rights::new(needed));
            let allowed = kind == asked && rights != 0 && rights & needed == needed;
            prop_assert_eq!(found, allowed.then_some(reference));
            prop_assert_eq!(Capability::from_word(capability.word()), capability);
            if rights != 0 {
                let again = Capability::from_origin(capability.origin(), capability.rights());
                prop_assert_eq!(again, capability);
            }
        }
    }

    #[test]
    fn null_is_no_object_of_any_kind() {
        for kind in KINDS {
            assert_eq!(Capability::NULL.object(kind, Rights::NONE), None);
        }
    }
}
