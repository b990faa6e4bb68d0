//! How many refer to an object, and its place among those that nobody refers to.
//!
//! Purpose: an object lives while something refers to it: its capabilities (together one reference), and objects that
//! need it. Who holds only a borrow (see the objects' store) may try to get a reference, and fails if the last one is gone.
//! Invariants: a count that has reached 0 stays 0; exactly one release brings it there, and that one puts the object
//! into a [`Chain`]. An object is in at most one chain.
//! Concurrency: counts are changed by all cores; a chain belongs to one core.
//! Source: `docs/src/decisions/0019-lifetimes.md`.
use crate::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use core::cell::Cell;

/// The references to an object.
#[derive(Debug)]
pub struct Count {
    references: AtomicU32,
    next: AtomicU64,
}

impl Default for Count {
    /// One reference: its maker's.
    fn default() -> Self {
        Self { references: AtomicU32::new(1), next: AtomicU64::new(0) }
    }
}

impl Count {
    /// One more reference; false if there is none left to join.
    #[must_use = "without a reference the object may go"]
    pub fn acquire(&self) -> bool {
        self.references.fetch_update(AcqRel, Acquire, |count| (count != 0).then(|| count + 1)).is_ok()
    }

    /// One reference less; true if it was the last.
    #[must_use = "the last one has to end the object"]
    pub fn release(&self) -> bool {
        self.references.fetch_sub(1, AcqRel) == 1
    }
}

/// Objects one after the other, each named by a word other than 0.
#[derive(Debug, Default)]
pub struct Chain {
    first: Cell<u64>,
    length: Cell<u32>,
}

impl Chain {
    /// Puts the object `word`, whose count this is, in front.
    pub fn push(&self, word: u64, count: &Count) {
        count.next.store(self.first.replace(word), Relaxed);
        self.length.set(self.length.get() + 1);
    }

    /// Takes the first out; `count` finds its count.
    pub fn pop<'s>(&self, count: impl FnOnce(u64) -> Option<&'s Count>) -> Option<u64> {
        let word = self.first.get();
        let next = if word == 0 { None } else { count(word) }?;
        self.first.set(next.next.load(Relaxed));
        self.length.set(self.length.get() - 1);
        Some(word)
    }

    /// Number of objects.
    pub fn length(&self) -> u32 {
        self.length.get()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn the_last_release_is_told_and_nobody_joins_after_it() {
        let count = Count::default();
        assert!(count.acquire());
        assert!(!count.release());
        assert!(count.release());
        assert!(!count.acquire(), "a count of 0 stays 0");
    }

    #[test]
    fn a_chain_hands_out_each_object_once() {
        let counts = [Count::default(), Count::default(), Count::default()];
        let chain = Chain::default();
        for (index, count) in counts.iter().enumerate() {
            chain.push(index as u64 + 1, count);
        }
        let mut taken: Vec<_> = core::iter::from_fn(|| chain.pop(|word| counts.get(word as usize - 1))).collect();
        taken.sort_unstable();
        assert_eq!((taken, chain.length()), (vec![1, 2, 3], 0));
    }

    #[test]
    fn of_many_threads_exactly_one_has_the_last_reference() {
        let count = Count::default();
        let last = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| count.acquire() && count.release()).count()))
                .collect();
            let own = usize::from(count.release());
            threads.into_iter().map(|thread| thread.join().unwrap_or(99)).sum::<usize>() + own
        });
        assert_eq!(last, 1);
    }
}

/// Two cores, in all interleavings; the model counts the outcomes that it has met.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    /// An object, and a field that whoever ends it writes last.
    struct Object {
        count: Count,
        field: UnsafeCell<u32>,
    }

    #[test]
    fn an_object_that_is_called_while_its_last_name_goes_ends_once_and_after_its_last_use() {
        let met = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
        let outcomes = met.clone();
        loom::model(move || {
            let object = Arc::new(Object { count: Count::default(), field: UnsafeCell::new(0) });
            // One core calls through it, another takes its capability away; whoever is last ends it.
            let release = |object: &Object| {
                object.field.with(|_| ());
                let last = object.count.release();
                if last {
                    object.field.with_mut(|_| ());
                }
                last
            };
            let other = object.clone();
            let caller = thread::spawn(move || other.count.acquire().then(|| release(&other)));
            let outcome = match (release(&object), caller.join().expect("the thread ends")) {
                (true, None) => "came too late",
                (true, Some(false)) => "used before",
                (false, Some(true)) => "used after",
                other => panic!("{other:?}"),
            };
            met.lock().expect("not poisoned").insert(outcome);
        });
        let expected = ["came too late", "used before", "used after"];
        assert_eq!(*outcomes.lock().expect("not poisoned"), expected.into_iter().collect());
    }
}
