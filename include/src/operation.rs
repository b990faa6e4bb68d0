//! Sub-operations and flags: bits 7:4 of a hypercall's first register.
//!
//! Invariants: numbers that the classic interface leaves free decode to `None`, which means
//! [`crate::Status::BadParameter`]; they are room for extensions.
//! Concurrency: plain values.
//! Source: classic interface, "Hypercalls".

use bitflags::bitflags;

macro_rules! operations {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $number,)+
        }

        impl $name {
            /// The operation that the four flag bits name; `None` if they name none.
            #[must_use]
            pub const fn from_flags(flags: u8) -> Option<Self> {
                match flags {
                    $($number => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The four flag bits.
            #[must_use]
            pub const fn flags(self) -> u8 {
                self as u8
            }
        }
    };
}

operations! {
    /// Sub-operation of [`crate::Hypercall::Misc`].
    Misc {
        /// Find the mapping that contains a page, port or selector.
        Lookup = 0,
        /// Delegate the typed items of the caller's UTCB from one domain to another.
        Delegate = 1,
        /// Put the machine to sleep.
        Suspend = 2,
        /// Extension: read a counter of a core ([`crate::counter::Counter`]).
        Count = 3,
        /// Extension: what processors have noted of pages, and clear it: which were accessed, which are dirty.
        Evidence = 4,
        /// Extension: take memory back without waiting for other cores; a semaphore is upped when nobody uses it any more.
        RevokeLater = 5,
    }
}

operations! {
    /// Operation of [`crate::Hypercall::ControlContext`].
    ContextControl {
        /// Make the context enter its recall portal.
        Recall = 0,
        /// Go to the tail of the own priority's queue.
        Yield = 1,
        /// Run the context on the own scheduling context.
        Donate = 2,
        /// Enter the scheduler.
        Reschedule = 3,
        /// Move the context to another core.
        Migrate = 4,
        /// Read the context's run time.
        Time = 5,
        /// Read the state of a virtual CPU.
        GetState = 6,
        /// Write the state of a virtual CPU.
        SetState = 7,
        /// Access model-specific registers.
        AccessMsr = 8,
    }
}

operations! {
    /// Operation of [`crate::Hypercall::ControlScheduling`]; of the flags, the low two bits count.
    SchedulingControl {
        /// Run time of the scheduling context.
        Time = 0,
        /// Idle contexts of the kernel only: time of cross-core calls.
        CrossCpuTime = 1,
        /// Idle contexts of the kernel only: time of destroyed scheduling contexts.
        KilledTime = 2,
        /// Time of the scheduling context and of an execution context.
        BothTimes = 3,
    }
}

operations! {
    /// Operation of [`crate::Hypercall::ControlDomain`].
    DomainControl {
        /// Move quota to another domain.
        Transfer = 0,
        /// Read limit and usage.
        ReadQuota = 2,
    }
}

bitflags! {
    /// Flags of [`crate::Hypercall::Call`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct CallFlags: u8 {
        /// Return [`crate::Status::Timeout`] instead of waiting for a busy callee.
        const DO_NOT_BLOCK = 1 << 0;
        /// Defined and ignored by the classic interface.
        const NO_DONATION = 1 << 1;
        /// Defined and ignored by the classic interface.
        const NO_REPLY = 1 << 2;
    }

    /// Flags of [`crate::Hypercall::CreateContext`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct ContextFlags: u8 {
        /// The context gets a scheduling context of its own; otherwise it runs when called.
        const GLOBAL = 1 << 0;
    }

    /// Flags of [`crate::Hypercall::Revoke`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct RevokeFlags: u8 {
        /// The named mappings go too, not only what was derived from them.
        const SELF = 1 << 0;
        /// In the domain that the third argument names, not in the caller's.
        const REMOTE = 1 << 1;
        /// Only the named mapping goes; what was derived from it stays.
        const KEEP = 1 << 2;
        /// Extension: the third output register (RAX) says what processors had noted of the memory that went, as
        /// [`Noted`].
        const REPORT = 1 << 3;
    }

    /// What processors have noted of memory: the answer to [`RevokeFlags::REPORT`], for any page of what was revoked.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Noted: u64 {
        /// It was read, written or executed.
        const ACCESSED = 1 << 0;
        /// It was written.
        const DIRTY = 1 << 1;
    }

    /// Flags of [`crate::Hypercall::ControlSemaphore`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct SemaphoreFlags: u8 {
        /// Down; up without it.
        const DOWN = 1 << 0;
        /// With [`SemaphoreFlags::DOWN`]: take the whole count.
        const TO_ZERO = 1 << 1;
    }

    /// Flags of [`crate::Hypercall::AssignInterrupt`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct InterruptFlags: u8 {
        /// Active low; active high without it.
        const LOW = 1 << 0;
        /// Level-triggered; edge-triggered without it.
        const LEVEL = 1 << 1;
        /// Take polarity and trigger mode from the other two flags.
        const CONFIGURE = 1 << 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_numbers_stay_free() {
        for flags in 0..16 {
            assert_eq!(Misc::from_flags(flags).is_some(), flags <= 5);
            assert_eq!(ContextControl::from_flags(flags).is_some(), flags <= 8);
            assert_eq!(SchedulingControl::from_flags(flags).is_some(), flags <= 3);
            assert_eq!(DomainControl::from_flags(flags).is_some(), flags == 0 || flags == 2);
        }
    }

    #[test]
    fn an_operation_decodes_from_its_own_flags() {
        for flags in 0..16 {
            assert!(ContextControl::from_flags(flags).is_none_or(|operation| operation.flags() == flags));
            assert!(Misc::from_flags(flags).is_none_or(|operation| operation.flags() == flags));
        }
    }
}
