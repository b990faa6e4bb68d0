//! Random moves of capabilities between domains: handed on, taken back in part or whole, looked up.
//!
//! Three domains without contexts; 16 pages and 16 semaphores of the program go round. Nobody can say what is where in the
//! meantime; what the program itself has, it keeps.
//! Invariants: a move names only what is listed in [`Moves`].
//! Concurrency: any number of threads, each with its own way to delegate.
//! Source: interface §3 and §5.
use super::objects;
use crate::raw::{hypercall, up};
use abi::item::ItemFlags;
use abi::{Crd, Hypercall, Kind, TypedItem};

/// Domains.
pub const COUNT: u64 = 3;

/// What is moved between whom.
pub struct Moves<F> {
    /// Selector of the program's own domain.
    pub own: u64,
    /// The first of [`COUNT`] domains.
    pub domains: u64,
    /// The first of 16 semaphores, at a multiple of 16.
    pub objects: u64,
    /// The first of 16 pages, at a multiple of 16.
    pub pages: u64,
    /// Delegates an item from the first domain to the second, within a window.
    pub delegate: F,
}

impl<F: Fn([u64; 2], Crd, TypedItem)> Moves<F> {
    /// The range of this program that everything comes from, or the same units in another domain.
    fn range(&self, random: u64) -> Crd {
        let (order, rights) = (random & 3, if random & 4 == 0 { 0x1F } else { random >> 3 & 0x1F });
        let unit = (random >> 8 & 15) >> order << order;
        let (kind, base) = match random >> 12 & 1 {
            0 => (1, self.pages + unit),
            _ => (3, self.objects + unit),
        };
        Crd::from_word(base << 12 | order << 7 | rights << 2 | kind)
    }

    /// One move.
    pub fn step(&self, random: u64) {
        let domain = |random: u64| self.domains + random % COUNT;
        let range = self.range(random);
        let (one, other) = (domain(random >> 20), domain(random >> 24));
        match random >> 32 & 15 {
            0..8 => {
                let source = if random >> 40 & 3 == 0 { self.own } else { one };
                let shift = random >> 42 & 15;
                let window = match range.kind() {
                    Kind::Memory => Crd::from_word(31 << 7 | 0x1F << 2 | 1),
                    _ => objects(0, 31),
                };
                let item = TypedItem::delegate(range, ItemFlags::empty(), range.base() ^ shift);
                (self.delegate)([source, other], window, item);
            }
            8..11 => {
                let flags = 2 | (random >> 40 & 5) as u8;
                let _ = hypercall(Hypercall::Revoke, flags, 0, [range.word(), other, 0, 0]);
            }
            // From where it all comes: what others have loses rights, this program does not.
            11 => drop(hypercall(Hypercall::Revoke, 0, 0, [range.word(), 0, 0, 0])),
            12 => drop(up(self.objects + (random >> 40 & 15))),
            _ => drop(hypercall(Hypercall::Misc, 0, 0, [range.word(), 0, 0, 0])),
        }
    }
}
