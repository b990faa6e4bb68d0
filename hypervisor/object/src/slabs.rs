//! The types of objects, and what a domain pays for: a slab for each.
//!
//! Purpose: from a type to its kind, and to the slab of a domain that holds objects of it.
//! Invariants: each kind is one type's. The pages of a slab are charged to its domain, whoever uses the objects.
//! Concurrency: behind the domain's lock.
//! Source: design plan §3 (kernel memory); `docs/src/decisions/0019-lifetimes.md`.
use crate::reference::Kind;
use crate::{Context, Domain, Object, Plain, Portal, Scheduling, Semaphore, Slab};
use capability::tree::Node;

/// An object that domains pay for.
pub trait Charged: Object {
    /// The slab for objects of this type.
    fn slab(slabs: &mut Slabs) -> &mut Slab<Self>;
}

/// Makes the kinds of objects, and [`Slabs`] of them.
macro_rules! slabs {
    ($($object:ident in $field:ident),+) => {
        /// The slabs of a domain.
        #[derive(Default)]
        pub struct Slabs { $($field: Slab<$object>),+ }

        $(
            // SAFETY: the kinds have the names of the types, which are listed once.
            unsafe impl Object for $object {
                const KIND: Kind = Kind::$object;
            }

            impl Charged for $object {
                fn slab(slabs: &mut Slabs) -> &mut Slab<Self> {
                    &mut slabs.$field
                }
            }
        )+
    };
}
slabs!(
    Domain in domains, Context in contexts, Scheduling in schedulings, Portal in portals, Semaphore in semaphores,
    Node in nodes
);

// SAFETY: all fields are atomic integers.
unsafe impl Plain for Node {}
