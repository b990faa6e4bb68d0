//! Nodes of the mapping tree, as objects of the store.
//!
//! Purpose: the tree's crate knows nothing of storage; this makes its nodes storable.
//! Invariants: none beyond the tree's.
//! Concurrency: the tree's lock.
//! Source: `docs/src/decisions/0003-objects-and-sync.md`.
use crate::reference::{Object, Plain, kind};
use capability::tree::Node;

// SAFETY: the numbers of object types stand in `reference::kind`, each once.
unsafe impl Object for Node {
    const KIND: u32 = kind::NODE;
}

// SAFETY: all fields are atomic integers.
unsafe impl Plain for Node {}
