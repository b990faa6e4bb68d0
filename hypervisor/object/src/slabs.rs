//! What a domain pays for: a slab per type of object.
//!
//! Purpose: from a type to the slab of a domain that holds objects of it.
//! Invariants: the pages of a slab are charged to its domain, whoever uses the objects.
//! Concurrency: behind the domain's lock.
//! Source: design plan §3 (kernel memory); `docs/src/decisions/0019-lifetimes.md`.
use crate::{Context, Domain, Object, Portal, Scheduling, Semaphore, Slab};
use capability::tree::Node;

/// An object that domains pay for.
pub trait Charged: Object {
    /// The slab for objects of this type.
    fn slab(slabs: &mut Slabs) -> &mut Slab<Self>;
}

/// Makes [`Slabs`], of which object types.
macro_rules! slabs {
    ($($object:ident in $field:ident),+) => {
        /// The slabs of a domain.
        #[derive(Default)]
        pub struct Slabs { $($field: Slab<$object>),+ }

        $(
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
