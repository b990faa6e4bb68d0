//! The mapping tree's nodes, in the store.
//!
//! Purpose: the tree names nodes by their places in the pool, and domains by numbers that count its granules.
//! Invariants: an owner in the tree is a domain that stays while it has nodes.
//! Concurrency: the regions of the domains in question (`lock.rs`), or all; storage has the locks of its slabs.
//! Source: `docs/src/decisions/0003-objects-and-sync.md`.
use crate::lifetime;
use abi::Kind;
use capability::tree::{Full, Node, NodeId, Nodes, Space, SpaceIndex};
use objects::{Domain, GRANULE, Ref, Store};

/// Word of the reference to a node, which is its name.
fn word(id: NodeId) -> u64 {
    id.number().into()
}

/// The tree's number of a domain.
pub const fn number(domain: Ref<Domain>) -> u32 {
    domain.id().get() / GRANULE as u32
}

/// As [`number`], where the domain is looked at too: the number's place is seen to be the same.
pub const fn exact_number(domain: Ref<Domain>) -> u32 {
    // SAFETY: objects start at granules.
    unsafe { core::hint::assert_unchecked(domain.id().get().is_multiple_of(GRANULE as u32)) };
    number(domain)
}

/// The tree's nodes and indices, in the store.
pub struct Stored<'s>(pub &'s Store<'s>);

impl Stored<'_> {
    #[inline]
    pub fn domain(&self, owner: u32) -> &Domain {
        // SAFETY: owners in the tree are made by `number` from domains; a domain stays while it has nodes.
        unsafe { self.0.at(u64::from(owner) * GRANULE as u64) }
    }
}

impl Nodes for Stored<'_> {
    #[inline]
    fn node(&self, id: NodeId) -> &Node {
        // SAFETY: names of nodes are made by `allocate` only.
        unsafe { self.0.at(word(id)) }
    }

    fn index(&self, space: Space) -> &SpaceIndex {
        let [memory, ports, objects] = &self.domain(space.owner).spaces;
        match space.kind {
            Kind::Ports => ports,
            Kind::Objects => objects,
            _ => memory,
        }
    }

    #[inline(always)]
    fn release(&self, _owner: u32, id: NodeId) {
        // SAFETY: the tree names a node only while it is allocated, and nobody looks at a node without its
        // domain's region, its parent's, or all.
        unsafe { lifetime::remove(self.0, self.0.certain::<Node>(word(id)), None) };
    }

    #[inline(always)]
    fn allocate_run(&self, owner: u32, most: u64) -> Option<(NodeId, u64)> {
        const { assert!(size_of::<Node>() == GRANULE && NodeId::STEP as usize == GRANULE) };
        // SAFETY: as in `domain`.
        let payer = unsafe { self.0.certain(u64::from(owner) * GRANULE as u64) };
        let (first, count) = lifetime::slots(self.0, payer, most)?;
        Some((NodeId::new(self.0.adopt::<Node>(first).id()), count))
    }

    #[inline(always)]
    fn release_run(&self, _owner: u32, first: NodeId, count: u64) {
        // SAFETY: as in `release`; names follow each other in one page only, which starts with a header.
        unsafe { lifetime::remove_run(self.0, self.0.certain::<Node>(word(first)), count as u32) };
    }

    fn recharge(&self, _from: u32, _to: u32) -> Result<(), Full> {
        Ok(())
    }
}
