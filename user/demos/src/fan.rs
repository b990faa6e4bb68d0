//! One page that is delegated to many addresses, and each of these mappings once more, within the root domain: what takes
//! long to revoke.
//!
//! Purpose: making it, and how much of it is left.
//! Invariants: mapping `n` is at page [`MAPPINGS`] + n, what is made of it at [`CHILDREN`] + n; all show the page [`own`].
//! Concurrency: one thread makes it; any may look.
//! Source: design plan §6 (revocation of 100 000 nodes).
use core::sync::atomic::AtomicU64;

use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, TypedItem};

use crate::raw::{answer, give, hypercall};
use crate::servers::SELF;

/// Page numbers: the mappings, and what is made of each.
pub const MAPPINGS: u64 = 0x400_0000;
/// See [`MAPPINGS`].
pub const CHILDREN: u64 = 0x500_0000;
/// Pages that are looked at, of a range.
pub const SAMPLES: u64 = 32;

#[repr(align(4096))]
struct Page(AtomicU64);
static PAGE: Page = Page(AtomicU64::new(CONTENT));
/// What the page holds.
pub const CONTENT: u64 = 7;

/// 2^`order` pages from page `number` on.
#[must_use]
pub fn pages(number: u64, order: u32) -> Crd {
    Crd::memory(number, order, MemoryRights::READ).unwrap_or(Crd::NULL)
}

/// Number of the page that all of them show.
#[must_use]
pub fn own() -> u64 {
    (&raw const PAGE.0).addr() as u64 / 4096
}

/// Makes so many mappings, with a child each; the sum of the statuses. By the root domain's first thread.
#[must_use]
pub fn make(nodes: u64) -> u64 {
    let all = Crd::memory(0, abi::crd::MAX_ORDER, MemoryRights::all()).unwrap_or(Crd::NULL);
    let give = |from, to| {
        let item = TypedItem::delegate(pages(from, 0), ItemFlags::empty(), to);
        give(ROOT_UTCB_ADDRESS, SELF, item, (SELF, all))
    };
    (0..nodes).map(|at| give(own(), MAPPINGS + at) + give(MAPPINGS + at, CHILDREN + at)).sum()
}

/// Whether page `number` is there.
#[must_use]
pub fn has(number: u64) -> bool {
    let [status, found, _] = answer(Hypercall::Misc, 0, SELF, [pages(number, 0).word(), 0, 0, 0]);
    status & 0xFF == 0 && !Crd::from_word(found).is_null()
}

/// Numbers of the samples of so many pages from page `base` on.
pub fn samples(base: u64, nodes: u64) -> impl Iterator<Item = u64> {
    (0..SAMPLES).map(move |sample| base + sample * (nodes / SAMPLES))
}

/// How many of them are still there.
#[must_use]
pub fn left(base: u64, nodes: u64) -> u64 {
    samples(base, nodes).filter(|&page| has(page)).count() as u64
}

/// Takes from everybody what was made of `range`; the status.
#[must_use]
pub fn revoke(range: Crd) -> u64 {
    hypercall(Hypercall::Revoke, 0, 0, [range.word(), 0, 0, 0]) & 0xFF
}
