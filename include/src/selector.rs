//! Capability selectors: indices into the object space of a protection domain.
//!
//! Invariants: a selector in a register has 56 bits, in a range descriptor 52; the space has 2^26 slots, and looking up
//! uses the number modulo that size (the classic interface checks no range there).
//! Concurrency: plain values.
//! Source: classic interface, "Capabilities" and "Boot, root task".

use core::fmt;

/// log2 of [`Selector::COUNT`].
pub const SELECTOR_BITS: u32 = 26;

/// Number of a slot in a capability space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[repr(transparent)]
pub struct Selector(u64);

impl Selector {
    /// Slots of a capability space.
    pub const COUNT: u64 = 1 << SELECTOR_BITS;
    /// Slots for exceptions at the start of a protection domain's space; also [`Selector::ROOT_DOMAIN`].
    pub const EXCEPTIONS: u64 = 32;
    /// The root protection domain in its own space, all permissions.
    pub const ROOT_DOMAIN: Self = Self(Self::EXCEPTIONS);
    /// The first execution context of the root domain.
    pub const ROOT_CONTEXT: Self = Self(Self::EXCEPTIONS + 1);
    /// The scheduling context of [`Selector::ROOT_CONTEXT`].
    pub const ROOT_SCHEDULING: Self = Self(Self::EXCEPTIONS + 2);
    /// The semaphore whose capability permits to suspend the machine.
    pub const ROOT_SUSPEND: Self = Self(Self::EXCEPTIONS + 3);
    /// The semaphore whose capability permits to access model-specific registers.
    pub const ROOT_MSR: Self = Self(Self::EXCEPTIONS + 4);

    /// The selector with this number; bits above 55 do not fit into a register beside number and flags and are cut off.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number & (u64::MAX >> 8))
    }

    /// The full number, 56 bits: what the mapping tree works with.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The slot that a look-up uses: the number modulo 2^26.
    #[must_use]
    pub const fn slot(self) -> u32 {
        (self.0 & (Self::COUNT - 1)) as u32
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_wraps_at_the_size_of_the_space() {
        assert_eq!(Selector::new(Selector::COUNT + 5).slot(), 5);
        assert_eq!(Selector::new(Selector::COUNT + 5).number(), 0x400_0005);
    }

    #[test]
    fn a_selector_has_56_bits() {
        assert_eq!(Selector::new(u64::MAX).number(), (1 << 56) - 1);
    }

    #[test]
    fn root_finds_itself_where_the_classic_interface_puts_it() {
        let initial = [
            Selector::ROOT_DOMAIN,
            Selector::ROOT_CONTEXT,
            Selector::ROOT_SCHEDULING,
            Selector::ROOT_SUSPEND,
            Selector::ROOT_MSR,
        ];
        assert_eq!(initial.map(Selector::number), [32, 33, 34, 35, 36]);
    }
}
