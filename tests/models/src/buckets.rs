//! Unordered lists of threads that wait.
//!
//! Purpose: what the designs with several lists have in common; an entry is added, removed and moved in O(1).
//! Invariants: `place` says where each waiting thread is. Every entry that is looked at is counted, and the one that
//! fills the gap of a removed one.
//! Concurrency: none.
//! Source: lecture E:824-832.

/// A thread that waits for a time, in the unit of the design.
#[derive(Clone, Copy)]
pub struct Entry {
    pub thread: usize,
    pub wakeup: u64,
}

/// Lists by number.
pub struct Buckets {
    lists: Vec<Vec<Entry>>,
    place: Vec<Option<(usize, usize)>>,
    pub touched: u64,
}

impl Buckets {
    pub fn new(lists: u64, threads: usize) -> Self {
        Self { lists: vec![Vec::new(); lists as usize], place: vec![None; threads], touched: 0 }
    }

    pub fn insert(&mut self, list: u64, entry: Entry) {
        self.touched += 1;
        let list = list as usize;
        self.place[entry.thread] = Some((list, self.lists[list].len()));
        self.lists[list].push(entry);
    }

    pub fn remove(&mut self, thread: usize) {
        if let Some((list, index)) = self.place[thread] {
            self.touched += 1;
            self.take(list, index);
        }
    }

    /// Looks at all entries of `list` and takes out those for which `wanted` holds.
    pub fn scan(&mut self, list: u64, wanted: impl Fn(Entry) -> bool) -> Vec<Entry> {
        let (list, mut index) = (list as usize, 0);
        let mut found = Vec::new();
        while let Some(entry) = self.lists[list].get(index).copied() {
            self.touched += 1;
            if wanted(entry) {
                found.push(entry);
                self.take(list, index);
                // Who fills the gap is looked at next, and counted then.
                self.touched -= u64::from(index < self.lists[list].len());
            } else {
                index += 1;
            }
        }
        found
    }

    fn take(&mut self, list: usize, index: usize) {
        let gone = self.lists[list].swap_remove(index);
        self.place[gone.thread] = None;
        if let Some(moved) = self.lists[list].get(index) {
            self.touched += 1;
            self.place[moved.thread] = Some((list, index));
        }
    }
}
