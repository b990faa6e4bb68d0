//! What is lent and taken in a row of the matrix.
//!
//! Invariants: a row lends at a slot of its own, from a chunk that no other row lends at that time.
//! Concurrency: plain values.
//! Source: the acceptance matrix.
use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;

use super::{DOMAINS, LARGE, give, take, take_later, take_telling};
use crate::servers::SELF;

/// How the page is mapped that is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// By an entry of 4 KiB.
    Small,
    /// By one of 2 MiB, which is taken as a whole.
    Large,
    /// By one of 2 MiB, which the revocation divides.
    Split,
    /// By one of 4 KiB in a leaf of 2 MiB that has been divided before.
    Divided,
}

/// A form, and who uses the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Case {
    /// How it is mapped.
    pub form: Form,
    /// Whether the grandchild uses it, so that it is taken from two domains besides the one that takes it.
    pub grandchild: bool,
}

/// Page of a slot that is probed and taken, but for forms where it is the first or all.
const PAGE: u64 = 5;
/// Another one.
const NEIGHBOUR: u64 = 7;

impl Case {
    /// All of them, by number.
    pub const ALL: [Self; 8] = [
        Self { form: Form::Small, grandchild: false },
        Self { form: Form::Large, grandchild: false },
        Self { form: Form::Split, grandchild: false },
        Self { form: Form::Divided, grandchild: false },
        Self { form: Form::Small, grandchild: true },
        Self { form: Form::Large, grandchild: true },
        Self { form: Form::Split, grandchild: true },
        Self { form: Form::Divided, grandchild: true },
    ];

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.form as u64 + if self.grandchild { 4 } else { 0 }
    }

    /// The one with that number.
    #[must_use]
    pub const fn numbered(number: u64) -> Self {
        Self::ALL[number as usize % Self::ALL.len()]
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match (self.form, self.grandchild) {
            (Form::Small, false) => "4 KiB, two domains",
            (Form::Large, false) => "2 MiB, two domains",
            (Form::Split, false) => "part of 2 MiB, two domains",
            (Form::Divided, false) => "divided 2 MiB, two domains",
            (Form::Small, true) => "4 KiB, three domains",
            (Form::Large, true) => "2 MiB, three domains",
            (Form::Split, true) => "part of 2 MiB, three domains",
            (Form::Divided, true) => "divided 2 MiB, three domains",
        }
    }

    /// The domain that uses it.
    pub(super) const fn user(self) -> u64 {
        self.grandchild as u64
    }

    /// log2 of the pages that are lent.
    const fn lent(self) -> u32 {
        if matches!(self.form, Form::Small) { 0 } else { 9 }
    }

    /// Where in a slot or chunk the taken page is.
    pub(super) const fn offset(self) -> u64 {
        match self.form {
            Form::Small | Form::Large => 0,
            Form::Split | Form::Divided => PAGE << 12,
        }
    }

    /// Where another page is, which [`Self::lend_neighbour`] lends.
    pub(super) const fn neighbour() -> u64 {
        NEIGHBOUR << 12
    }

    /// Whether a core that has used a neighbour uses something that is taken.
    pub(super) const fn is_one_leaf(self) -> bool {
        matches!(self.form, Form::Large | Form::Split)
    }

    /// Full flushes and pages flushed on a core that is told.
    pub(super) const fn flushes(self) -> [u64; 2] {
        if self.is_one_leaf() { [1, 0] } else { [0, 1] }
    }

    /// Lends 2^`order` pages at `from` of this domain on, to where the user is.
    fn pass(self, page: u64, from: u64, order: u32, to: u64) -> u64 {
        let flags = ItemFlags::empty();
        let mut status = give(page, (SELF, from), order, (DOMAINS, to), flags);
        if self.grandchild {
            status |= give(page, (DOMAINS, to), order, (DOMAINS + 1, to), flags);
        }
        status
    }

    /// Lends a chunk, or its first page, at `slot`, with the message page at `page`. Statuses together.
    pub(super) fn lend_with(self, page: u64, chunk: u64, slot: u64) -> u64 {
        let mut status = self.pass(page, chunk, self.lent(), slot);
        if self.form == Form::Divided {
            status |= take(chunk, 0);
        }
        status
    }

    /// The same for the main thread.
    pub(super) fn lend(self, chunk: u64, slot: u64) -> u64 {
        self.lend_with(ROOT_UTCB_ADDRESS, chunk, slot)
    }

    /// Lends the neighbour too, where it is not lent yet.
    pub(super) fn lend_neighbour(self, chunk: u64, slot: u64) -> u64 {
        let at = Self::neighbour();
        if self.lent() == 0 { self.pass(ROOT_UTCB_ADDRESS, chunk + at, 0, slot + at) } else { 0 }
    }

    /// Lends something more, where the user has a neighbour already: the page that is probed, or another large one.
    pub(super) fn lend_more(self, chunk: u64, slot: u64) -> u64 {
        match self.form {
            Form::Large => self.pass(ROOT_UTCB_ADDRESS, chunk + LARGE, 9, slot + LARGE),
            _ => self.pass(ROOT_UTCB_ADDRESS, chunk + self.offset(), 0, slot + self.offset()),
        }
    }

    /// Lends the page that is probed, with its leaf if that is the form, once more, to raise its rights.
    pub(super) fn raise(self, chunk: u64, slot: u64) -> u64 {
        let (from, to) = (chunk + self.offset(), slot + self.offset());
        let order = if self.form == Form::Large { 9 } else { 0 };
        let mut status = give(ROOT_UTCB_ADDRESS, (SELF, from), order, (DOMAINS, to), ItemFlags::RAISE);
        if self.grandchild {
            status |= give(ROOT_UTCB_ADDRESS, (DOMAINS, to), order, (DOMAINS + 1, to), ItemFlags::RAISE);
        }
        status
    }

    /// Takes the page that is probed, with its leaf if that is the form.
    pub(super) fn take(self, chunk: u64) -> u64 {
        let order = if self.form == Form::Large { 9 } else { 0 };
        take(chunk + self.offset(), order)
    }

    /// As [`Self::take`], without waiting; `semaphore` is upped when nobody uses it any more.
    pub(super) fn take_later(self, chunk: u64, semaphore: u64) -> u64 {
        let order = if self.form == Form::Large { 9 } else { 0 };
        take_later(chunk + self.offset(), order, semaphore)
    }

    /// As [`Self::take`]; above the status, what was noted of it.
    pub(super) fn take_telling(self, chunk: u64) -> u64 {
        let order = if self.form == Form::Large { 9 } else { 0 };
        take_telling(chunk + self.offset(), order)
    }

    /// Takes all of a chunk.
    pub(super) fn take_all(chunk: u64) -> u64 {
        take(chunk, 9)
    }
}
