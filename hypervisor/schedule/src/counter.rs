//! Counters that contexts wait for: the state of a semaphore.
//!
//! Purpose: up, down with or without waiting, first come first served; and signals, which count for themselves and are
//! raised on a counter: each is queued there once, however often it is raised before somebody takes it.
//! Invariants: while somebody waits the count is 0; at most `count` signals are queued, so that each of them is taken by a
//! down; a waiter is in at most one queue, a signal only in that of the counter that it belongs to. After
//! [`Counter::close`] nobody waits any more, and after [`Counter::withdraw`] the signal is not queued again.
//! Concurrency: everything is behind the counter's lock, which any core takes for a constant number of steps.
//! Source: interface §5 ("create_sm", "sm_ctrl").
use sync::atomic::{AtomicU64, Ordering::Relaxed};
use sync::{Elements, Guard, Id, Link, Spin};

/// The part of an element that belongs to a queue; 16 bytes. `KIND` tells the queues that an element may be in apart.
#[derive(Debug, Default)]
pub struct Links<const KIND: u32> {
    next: Link,
    previous: Link,
    /// How often a signal was raised since it was taken the last time, or [`WITHDRAWN`].
    count: AtomicU64,
}

/// The part of a context that belongs to the counter that it waits for.
pub type WaitLinks = Links<1>;
/// The part of a signal that belongs to the counter that it is raised on.
pub type SignalLinks = Links<2>;

/// Count of a signal that has ended.
const WITHDRAWN: u64 = u64::MAX;

/// Elements first come, first served.
#[derive(Debug, Default)]
struct Queue<const KIND: u32> {
    first: Option<Id>,
    last: Option<Id>,
}

impl<const KIND: u32> Queue<KIND> {
    #[inline]
    fn push(&mut self, elements: &impl Elements<Links<KIND>>, id: Id) {
        elements.links(id).previous.set(self.last);
        match self.last.replace(id) {
            Some(last) => elements.links(last).next.set(Some(id)),
            None => self.first = Some(id),
        }
    }

    fn contains(&self, elements: &impl Elements<Links<KIND>>, id: Id) -> bool {
        self.first == Some(id) || elements.links(id).previous.get().is_some()
    }

    /// Takes `id`, which is in no other queue, out of this one; false if it is not in it.
    fn remove(&mut self, elements: &impl Elements<Links<KIND>>, id: Id) -> bool {
        let found = self.contains(elements, id);
        if found {
            let links = elements.links(id);
            let (next, previous) = (links.next.get(), links.previous.get());
            match previous {
                Some(previous) => elements.links(previous).next.set(next),
                None => self.first = next,
            }
            match next {
                Some(next) => elements.links(next).previous.set(previous),
                None => self.last = previous,
            }
            links.next.set(None);
            links.previous.set(None);
        }
        found
    }

    #[inline]
    fn pop(&mut self, elements: &impl Elements<Links<KIND>>) -> Option<Id> {
        let first = self.first?;
        let links = elements.links(first);
        self.first = links.next.get();
        match self.first {
            Some(next) => {
                elements.links(next).previous.set(None);
                links.next.set(None);
            }
            None => self.last = None,
        }
        Some(first)
    }
}

#[derive(Debug, Default)]
struct State {
    count: u64,
    /// Number of signals in the queue.
    queued: u64,
    closed: bool,
    waiters: Queue<1>,
    signals: Queue<2>,
}

/// What came of a down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// There was something: a signal, raised so many times, if one was queued.
    Taken(Option<(Id, u64)>),
    /// There was nothing: who asked waits.
    Waits,
    /// The counter has ended.
    Closed,
}

/// What came of a try.
pub enum Tried<'c> {
    /// There was one.
    Taken,
    /// There is none, until this is given up.
    Empty(Empty<'c>),
    /// Nothing was done.
    Refused,
}

/// A counter that is 0, locked.
pub struct Empty<'c>(Guard<'c, State>);

impl Empty<'_> {
    /// Lets `waiter` wait, which is ready to be woken.
    #[inline(always)]
    pub fn wait(mut self, elements: &impl Elements<WaitLinks>, waiter: Id) {
        self.0.waiters.push(elements, waiter);
    }
}

/// A counter.
pub struct Counter(Spin<State>);

impl Counter {
    /// A counter with this count; nobody waits.
    pub fn new(count: u64) -> Self {
        Self(Spin::new(State { count, ..State::default() }))
    }

    /// Adds one, or gives it to who waited longest. `None`, with nothing done, if that has to wait for others.
    #[inline(always)]
    pub fn try_up(&self, elements: &impl Elements<WaitLinks>) -> Option<Option<Id>> {
        let mut state = self.0.try_lock()?;
        let woken = state.waiters.pop(elements);
        if woken.is_none() {
            // In one that has ended nobody finds it.
            state.count = state.count.checked_add(1)?;
        }
        Some(woken)
    }

    /// Takes one if there is one, and no signal comes with it.
    #[inline(always)]
    pub fn try_down(&self) -> Tried<'_> {
        match self.0.try_lock() {
            Some(state) if state.count == 0 && !state.closed => Tried::Empty(Empty(state)),
            Some(mut state) if state.queued == 0 && !state.closed => {
                state.count -= 1;
                Tried::Taken
            }
            _ => Tried::Refused,
        }
    }

    /// Adds `by`. If somebody waits, who waited longest has one of them, is returned, and the rest is not added.
    #[inline]
    pub fn up(&self, elements: &impl Elements<WaitLinks>, by: u64) -> Option<Id> {
        let mut state = self.0.lock();
        let woken = state.waiters.pop(elements);
        if woken.is_none() && !state.closed {
            state.count = state.count.saturating_add(by);
        }
        woken
    }

    /// Raises `signal` so many times. Who waited longest, if anybody, has it then: the answer says who, and how often it
    /// was raised.
    pub fn raise<E>(&self, elements: &E, signal: Id, by: u64) -> Option<(Id, u64)>
    where
        E: Elements<WaitLinks> + Elements<SignalLinks>,
    {
        let mut state = self.0.lock();
        let links: &SignalLinks = elements.links(signal);
        let count = links.count.load(Relaxed);
        if count == WITHDRAWN {
            return None;
        }
        let count = count.saturating_add(by).min(WITHDRAWN - 1);
        if let Some(waiter) = state.waiters.pop(elements) {
            // It was not queued, or nobody would have waited: the count was 0.
            return Some((waiter, count));
        }
        links.count.store(count, Relaxed);
        if !state.signals.contains(elements, signal) {
            state.signals.push(elements, signal);
            state.queued += 1;
            state.count = state.count.saturating_add(1);
        }
        None
    }

    /// Takes one, or all of them, and with it the signal that is queued first. If there is none, `waiter` waits; `prepare`
    /// is called then, before anybody can wake it. Signals that stay in the queue stay counted.
    pub fn down<E>(&self, elements: &E, waiter: Id, all: bool, prepare: impl FnOnce()) -> Down
    where
        E: Elements<WaitLinks> + Elements<SignalLinks>,
    {
        let mut state = self.0.lock();
        if state.closed {
            return Down::Closed;
        }
        if state.count == 0 {
            prepare();
            state.waiters.push(elements, waiter);
            return Down::Waits;
        }
        let signal = state.signals.pop(elements);
        state.queued -= u64::from(signal.is_some());
        state.count = if all { state.queued } else { state.count - 1 };
        Down::Taken(signal.map(|signal| {
            let links: &SignalLinks = elements.links(signal);
            (signal, links.count.swap(0, Relaxed))
        }))
    }

    /// Takes all of a counter that has no signals.
    pub fn take(&self) -> u64 {
        core::mem::take(&mut self.0.lock().count)
    }

    /// Takes `waiter`, which waits for no other counter, out of the queue; false if it is not in it (any more).
    pub fn cancel(&self, elements: &impl Elements<WaitLinks>, waiter: Id) -> bool {
        self.0.lock().waiters.remove(elements, waiter)
    }

    /// Ends `signal`, which belongs to this counter: what it was raised and nobody has taken is gone.
    pub fn withdraw(&self, elements: &impl Elements<SignalLinks>, signal: Id) {
        let mut state = self.0.lock();
        elements.links(signal).count.store(WITHDRAWN, Relaxed);
        if state.signals.remove(elements, signal) {
            state.queued -= 1;
            state.count -= 1;
        }
    }

    /// Ends the counter. Returns one of those who wait, who is not in the queue any more; with `None` nobody is.
    pub fn close(&self, elements: &impl Elements<WaitLinks>) -> Option<Id> {
        let mut state = self.0.lock();
        state.closed = true;
        state.waiters.pop(elements)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
