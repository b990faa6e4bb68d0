//! Nodes of the mapping tree, as objects of the store.
//!
//! Purpose: the tree's crate knows nothing of storage; this makes its nodes storable.
//! Invariants: none beyond the tree's.
//! Concurrency: the tree's lock.
//! Source: `docs/src/decisions/0003-objects-and-sync.md`.
use crate::reference::{Kind, Object, Plain};
use capability::tree::Node;

// SAFETY: each kind is one type's.
unsafe impl Object for Node {
    const KIND: Kind = Kind::Node;
}

// SAFETY: all fields are atomic integers.
unsafe impl Plain for Node {}
