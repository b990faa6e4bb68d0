//! What a domain pays for: a slab per type of object.
//!
//! Purpose: from a type to the slab of a domain that holds objects of it.
//! Invariants: the pages of a slab are charged to its domain, whoever uses the objects.
//! Concurrency: behind the domain's lock.
//! Source: design plan §3 (kernel memory); `docs/src/decisions/0019-lifetimes.md`.
use crate::{Context, Domain, Object, Portal, Scheduling, Semaphore, Slab};
use capability::tree::Node;

/// The slabs of a domain.
#[derive(Default)]
pub struct Slabs {
    domains: Slab<Domain>,
    contexts: Slab<Context>,
    schedulings: Slab<Scheduling>,
    portals: Slab<Portal>,
    semaphores: Slab<Semaphore>,
    nodes: Slab<Node>,
}

/// An object that domains pay for.
pub trait Charged: Object {
    /// The slab for objects of this type.
    fn slab(slabs: &mut Slabs) -> &mut Slab<Self>;
}

macro_rules! charged {
    ($($object:ident in $field:ident),+) => { $(
        impl Charged for $object {
            fn slab(slabs: &mut Slabs) -> &mut Slab<Self> {
                &mut slabs.$field
            }
        }
    )+ };
}
charged!(
    Domain in domains, Context in contexts, Scheduling in schedulings, Portal in portals, Semaphore in semaphores,
    Node in nodes
);
