//! A gate: many are inside at a time, each on its own account, or one alone.
//!
//! Purpose: what is mostly changed in parts that have locks of their own, and now and then as a whole. Whoever goes in writes
//! only its own mark; whoever wants all of it closes the gate and waits until no mark is set.
//! Invariants: while a gate is closed nobody is inside. A mark is set by its owner only.
//! Concurrency: the mark is set before it is looked whether the gate is closed, and the gate is closed before it is looked
//! for marks, with a fence between each two: of two at least one sees the other.
//! Source: E. Dijkstra, "Cooperating sequential processes" (1965), publish and look; the big-reader lock.
use crate::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};
use crate::{Guard, Spin, relax};

/// Whether its owner, one core, is inside.
#[derive(Debug, Default)]
pub struct Mark(AtomicU32);

impl Mark {
    /// Whether it is.
    pub fn is_set(&self) -> bool {
        self.0.load(Acquire) != 0
    }
}

/// The gate.
pub struct Gate {
    closed: AtomicU32,
    closing: Spin<()>,
}

impl Gate {
    /// An open gate.
    #[cfg(not(any(loom, shuttle)))]
    pub const fn new() -> Self {
        Self { closed: AtomicU32::new(0), closing: Spin::new(()) }
    }

    /// An open gate.
    #[cfg(any(loom, shuttle))]
    pub fn new() -> Self {
        Self { closed: AtomicU32::new(0), closing: Spin::new(()) }
    }

    /// Goes in, with the caller's own mark, which is not set; `None` if the gate is closed.
    #[inline(always)]
    pub fn enter<'m>(&self, mark: &'m Mark) -> Option<Inside<'m>> {
        mark.0.store(1, Relaxed);
        let inside = Inside(mark);
        fence(SeqCst);
        // Acquire: what was done while it was closed is seen.
        (self.closed.load(Acquire) == 0).then_some(inside)
    }

    /// Whether it seems worth an attempt to go in.
    pub fn is_open(&self) -> bool {
        self.closed.load(Relaxed) == 0
    }

    /// Closes it and waits until nobody is inside, who all have one of `marks`; `waits` is called each time that somebody is.
    /// `None` if it is closed already.
    pub fn close<'m>(&self, marks: impl Iterator<Item = &'m Mark>, waits: impl Fn()) -> Option<Closed<'_>> {
        let closing = self.closing.try_lock()?;
        self.closed.store(1, Relaxed);
        fence(SeqCst);
        for mark in marks {
            while mark.is_set() {
                waits();
                relax();
            }
        }
        Some(Closed { gate: self, _closing: closing })
    }
}

/// A lock around nothing, whose holder keeps one word in mind: a part of what is behind a gate.
#[derive(Debug, Default)]
pub struct Latch(AtomicU32);

impl Latch {
    /// Takes it if it is free.
    #[inline(always)]
    pub fn take(&self) -> Option<Taken<'_>> {
        (self.0.swap(1, Acquire) == 0).then(|| Taken(self))
    }
}

/// It is taken.
#[must_use = "free again when it is dropped"]
pub struct Taken<'l>(&'l Latch);

impl Taken<'_> {
    /// Whether it is that latch.
    pub fn is_of(&self, latch: &Latch) -> bool {
        core::ptr::eq(self.0, latch)
    }
}

impl Drop for Taken<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.0.store(0, Release);
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// Its owner is inside.
#[must_use = "outside again when it is dropped"]
pub struct Inside<'m>(&'m Mark);

impl Drop for Inside<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.0.store(0, Release);
    }
}

/// Nobody else is inside.
#[must_use = "open again when it is dropped"]
pub struct Closed<'g> {
    gate: &'g Gate,
    // Dropped after the gate is open.
    _closing: Guard<'g, ()>,
}

impl Drop for Closed<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.gate.closed.store(0, Release);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_latch_is_taken_once() {
        let latch = Latch::default();
        let taken = latch.take();
        assert!(taken.is_some() && latch.take().is_none() && latch.take().is_none());
        drop(taken);
        assert!(latch.take().is_some());
    }

    #[test]
    fn who_closes_it_says_that_it_waits() {
        let (gate, marks, waits) = (Gate::new(), [Mark::default()], AtomicU32::new(0));
        let mut inside = Some(gate.enter(&marks[0]).expect("it is open"));
        std::thread::scope(|scope| {
            scope.spawn(|| drop(gate.close(marks.iter(), || _ = waits.fetch_add(1, Relaxed))));
            while waits.load(Relaxed) == 0 {
                relax();
            }
            inside = None;
        });
        assert!(inside.is_none() && gate.is_open());
    }

    #[test]
    fn nobody_goes_in_while_it_is_closed() {
        let (gate, marks) = (Gate::new(), [Mark::default(), Mark::default()]);
        let inside = gate.enter(&marks[0]).expect("it is open");
        assert!(marks[0].is_set() && !marks[1].is_set());
        drop(inside);
        let closed = gate.close(marks.iter(), || panic!("nobody is inside")).expect("nobody has closed it");
        assert!(!gate.is_open() && gate.enter(&marks[0]).is_none() && gate.close(marks.iter(), || ()).is_none());
        assert!(!marks[0].is_set(), "who is not let in leaves no mark");
        drop(closed);
        assert!(gate.is_open() && gate.enter(&marks[1]).is_some());
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// Two parts, each changed by one core, and both by a third.
    struct World {
        gate: Gate,
        marks: [Mark; 2],
        parts: [UnsafeCell<u32>; 2],
    }

    #[test]
    fn who_has_closed_it_is_alone_and_sees_what_was_done_inside() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let world = Arc::new(World {
                gate: Gate::new(),
                marks: Default::default(),
                parts: [UnsafeCell::new(0), UnsafeCell::new(0)],
            });
            let insiders: Vec<_> = (0..2)
                .map(|core| {
                    let world = world.clone();
                    thread::spawn(move || {
                        // A few times, or the model has no end.
                        for _ in 0..2 {
                            let Some(inside) = world.gate.enter(&world.marks[core]) else {
                                relax();
                                continue;
                            };
                            // loom: an access at the same time as another to this part is an error.
                            world.parts[core].with_mut(|_| ());
                            drop(inside);
                            break;
                        }
                    })
                })
                .collect();
            let closed = world.gate.close(world.marks.iter(), || ()).expect("nobody else closes it");
            world.parts.iter().for_each(|part| part.with_mut(|_| ()));
            drop(closed);
            insiders.into_iter().for_each(|insider| insider.join().expect("it ends"));
        });
    }
}
