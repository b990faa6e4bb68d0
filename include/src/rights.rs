//! Rights of mappings and permissions of capabilities: five bits, whose meaning depends on the type.
//!
//! Invariants: delegation only ever intersects them ([`Rights::and`]), so rights only shrink.
//! Concurrency: plain values.
//! Source: classic interface, "Capabilities and permission bits" and "CRD".

use bitflags::bitflags;

/// The five bits as they stand in a range descriptor, before a type gives them a meaning.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
#[repr(transparent)]
pub struct Rights(u8);

impl Rights {
    /// None: a mapping with these does not exist.
    pub const NONE: Self = Self(0);
    /// All five bits.
    pub const ALL: Self = Self(0x1F);

    /// The low five bits of `bits`.
    #[must_use]
    pub const fn new(bits: u8) -> Self {
        Self(bits & 0x1F)
    }

    /// The five bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Rights that both have: what a delegation hands on.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Rights of `self` that `other` does not name: what a revocation leaves.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no right is left.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether all bits of `other` are there.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

bitflags! {
    /// Rights of a memory mapping. Any of them makes a page readable in the page tables.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct MemoryRights: u8 {
        /// Read.
        const READ = 1 << 0;
        /// Write.
        const WRITE = 1 << 1;
        /// Execute.
        const EXECUTE = 1 << 2;
    }

    /// Permissions of a capability to a protection domain: what may be created in it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct DomainRights: u8 {
        /// Create protection domains from its quota.
        const CREATE_DOMAIN = 1 << 0;
        /// Create execution contexts.
        const CREATE_CONTEXT = 1 << 1;
        /// Create scheduling contexts.
        const CREATE_SCHEDULING = 1 << 2;
        /// Create portals.
        const CREATE_PORTAL = 1 << 3;
        /// Create semaphores.
        const CREATE_SEMAPHORE = 1 << 4;
    }

    /// Permissions of a capability to an execution context.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct ContextRights: u8 {
        /// Recall it, read and write the state of a virtual CPU.
        const CONTROL = 1 << 0;
        /// Bind a scheduling context to it.
        const BIND_SCHEDULING = 1 << 2;
        /// Bind a portal to it.
        const BIND_PORTAL = 1 << 3;
    }

    /// Permissions of a capability to a scheduling context.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct SchedulingRights: u8 {
        /// Read its times.
        const CONTROL = 1 << 0;
    }

    /// Permissions of a capability to a portal.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct PortalRights: u8 {
        /// Set its identity.
        const CONTROL = 1 << 0;
        /// Call through it.
        const CALL = 1 << 1;
        /// Call through it from another core.
        const CALL_CROSS_CPU = 1 << 4;
    }

    /// Permissions of a capability to a semaphore.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct SemaphoreRights: u8 {
        /// Up; also needed where a revocation is to notify it.
        const UP = 1 << 0;
        /// Down; also needed where a reply blocks the caller on it.
        const DOWN = 1 << 1;
    }
}

macro_rules! typed_rights {
    ($($type:ident = $full:literal),+) => { $(
        // The full set is what a fresh capability carries.
        const _: () = assert!($type::all().bits() == $full);

        impl From<$type> for Rights {
            fn from(rights: $type) -> Self {
                Self::new(rights.bits())
            }
        }

        impl From<Rights> for $type {
            /// Bits without a meaning for this type are dropped.
            fn from(rights: Rights) -> Self {
                Self::from_bits_truncate(rights.bits())
            }
        }
    )+ };
}
typed_rights!(
    MemoryRights = 0x07,
    DomainRights = 0x1F,
    ContextRights = 0x0D,
    SchedulingRights = 0x01,
    PortalRights = 0x13,
    SemaphoreRights = 0x03
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn delegation_and_revocation_only_shrink_rights(a: u8, b: u8) {
            let (a, b) = (Rights::new(a), Rights::new(b));
            prop_assert!(a.contains(a.and(b)) && b.contains(a.and(b)));
            prop_assert!(a.contains(a.without(b)));
            prop_assert!(a.without(b).and(b).is_none());
        }

        #[test]
        fn rights_have_five_bits_and_types_drop_what_they_do_not_know(bits: u8) {
            let rights = Rights::new(bits);
            prop_assert_eq!(rights.bits(), bits & 0x1F);
            prop_assert_eq!(Rights::from(PortalRights::from(rights)).bits(), bits & 0x13);
            prop_assert_eq!(Rights::from(MemoryRights::from(rights)).bits(), bits & 0x07);
        }
    }
}
