//! Semaphores: plain ones, signals, and interrupts.
//!
//! Purpose: what a semaphore counts for. A plain one has a counter that contexts wait for; a signal counts for itself and is
//! raised on the plain one it is chained to; an interrupt has a counter of its own, and can pass on what arrives.
//! Invariants: a signal's semaphore is plain and never changes, an interrupt's target is plain or a signal; whoever is
//! woken by a signal, or finds one, gets its value and how often it was raised in RSI and RDX. While an interrupt has a
//! target nobody comes to wait for it.
//! Concurrency: behind the counters' locks (see [`Counter`]), before which an interrupt takes that of its target.
//! Source: interface §5 ("create_sm", "sm_ctrl", "assign_gsi").
use crate::context::{Context, Continuation};
use crate::reference::Ref;
use crate::store::Store;
use schedule::{Counter, Down, Elements, Empty, Id, SignalLinks, Tried, WaitLinks};
use sync::{Count, Spin};

/// A semaphore.
pub struct Semaphore {
    counter: Counter,
    /// Capabilities, together one, signals chained to it, and interrupts.
    pub references: Count,
    role: Role,
    links: SignalLinks,
}

enum Role {
    Plain,
    Signal(u64, Ref<Semaphore>),
    Interrupt(u8, Spin<Option<Ref<Semaphore>>>),
}

/// What a down takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// One.
    One,
    /// All there are.
    All,
    /// One, for a context that goes on with the registers that it has, signal or not; its continuation says so as well.
    Quietly,
}

/// Those who wait, and signals, in the store.
struct Parties<'s>(&'s Store<'s>);

impl Elements<WaitLinks> for Parties<'_> {
    fn links(&self, id: Id) -> &WaitLinks {
        // SAFETY: waiters are named in this file only, as contexts; they leave the queue before they end.
        &self.0.get(unsafe { self.0.named::<Context>(id) }).wait
    }
}

impl Elements<SignalLinks> for Parties<'_> {
    fn links(&self, id: Id) -> &SignalLinks {
        // SAFETY: signals are named in this file only, as semaphores; they leave the queue before they end.
        &self.0.get(unsafe { self.0.named::<Semaphore>(id) }).links
    }
}

impl Parties<'_> {
    fn context(&self, id: Id) -> Ref<Context> {
        // SAFETY: as above.
        unsafe { self.0.named(id) }
    }

    /// Tells `context` which signal it got, and how often that was raised.
    fn tell(&self, context: Ref<Context>, value: u64, count: u64) {
        let frame = self.0.get(context).frame();
        frame.rsi.set(value);
        frame.rdx.set(count);
    }
}

impl Semaphore {
    fn make(count: u64, role: Role) -> Self {
        Self { counter: Counter::new(count), references: Count::default(), role, links: SignalLinks::default() }
    }

    /// A plain semaphore with this count, nobody waiting.
    pub fn new(count: u64) -> Self {
        Self::make(count, Role::Plain)
    }

    /// A signal with this value, chained to a plain semaphore, which it has a reference to.
    pub fn signal(value: u64, chained: Ref<Self>) -> Self {
        Self::make(0, Role::Signal(value, chained))
    }

    /// The semaphore of the interrupt with this number.
    pub fn interrupt(number: u8) -> Self {
        Self::make(0, Role::Interrupt(number, Spin::new(None)))
    }

    /// Whether it is neither a signal nor an interrupt.
    pub const fn is_plain(&self) -> bool {
        matches!(self.role, Role::Plain)
    }

    /// The semaphore that it, a signal, is chained to.
    pub const fn chained(&self) -> Option<Ref<Self>> {
        if let Role::Signal(_, chained) = self.role { Some(chained) } else { None }
    }

    /// Number of the interrupt that it stands for.
    pub const fn number(&self) -> Option<u8> {
        if let Role::Interrupt(number, _) = self.role { Some(number) } else { None }
    }

    /// As [`Self::up`]; `None`, with nothing done, if it is not plain, or others are at it.
    #[inline(always)]
    pub fn try_up(&self, store: &Store<'_>) -> Option<Option<Ref<Context>>> {
        let parties = Parties(store);
        let woken = if self.is_plain() { self.counter.try_up(&parties) } else { None };
        woken.map(|woken| woken.map(|waiter| parties.context(waiter)))
    }

    /// Takes one if it is plain, there is one, and no signal is queued.
    #[inline(always)]
    pub fn try_down(&self) -> Tried<'_> {
        if self.is_plain() { self.counter.try_down() } else { Tried::Refused }
    }

    /// Lets `context` wait for one that [`Self::try_down`] has found empty. It is ready to be woken.
    #[inline(always)]
    pub fn wait(empty: Empty<'_>, store: &Store<'_>, context: Ref<Context>) {
        empty.wait(&Parties(store), context.id());
    }

    /// Adds one. Returns the context that waited longest, which has it then.
    pub fn up(store: &Store<'_>, semaphore: Ref<Self>) -> Option<Ref<Context>> {
        if let Role::Interrupt(_, target) = &store.get(semaphore).role {
            // The lock is kept: whoever changes the target finds this either counted here, or passed on.
            let target = target.lock();
            return Self::add(store, target.unwrap_or(semaphore), 1);
        }
        Self::add(store, semaphore, 1)
    }

    /// Adds `by` to a semaphore that passes nothing on; but one only, if somebody waits who gets it and it is no signal.
    fn add(store: &Store<'_>, semaphore: Ref<Self>, by: u64) -> Option<Ref<Context>> {
        let (parties, it) = (Parties(store), store.get(semaphore));
        let Role::Signal(value, chained) = it.role else {
            return it.counter.up(&parties, by).map(|waiter| parties.context(waiter));
        };
        let (waiter, count) = store.get(chained).counter.raise(&parties, semaphore.id(), by)?;
        let waiter = parties.context(waiter);
        if store.get(waiter).continuation() == Continuation::AwaitSemaphore {
            parties.tell(waiter, value, count);
        }
        Some(waiter)
    }

    /// Takes what there is, as `take` says. If there is nothing, `context` waits; `prepare` is called then, before anybody
    /// can wake it. [`Down::Closed`] if it has ended, or is a signal, which nobody can wait for.
    pub fn down(&self, store: &Store<'_>, context: Ref<Context>, take: Take, prepare: impl FnOnce()) -> Down {
        let parties = Parties(store);
        let target = match &self.role {
            Role::Plain => None,
            Role::Signal(..) => return Down::Closed,
            Role::Interrupt(_, target) => Some(target.lock()),
        };
        if target.as_ref().is_some_and(|target| target.is_some()) {
            return Down::Taken(None);
        }
        let down = self.counter.down(&parties, context.id(), take == Take::All, prepare);
        if let Down::Taken(Some((signal, count))) = down
            && take != Take::Quietly
        {
            // SAFETY: as above; it was in the queue, and ends after this borrow of the store at the earliest.
            if let Role::Signal(value, _) = store.get(unsafe { store.named::<Self>(signal) }).role {
                parties.tell(context, value, count);
            }
        }
        down
    }

    /// Takes `context`, which waits for this semaphore or has waited for it, out of the queue; false if it is not in there
    /// any more.
    pub fn cancel(&self, store: &Store<'_>, context: Ref<Context>) -> bool {
        self.counter.cancel(&Parties(store), context.id())
    }

    /// Ends a semaphore. Returns one of those who wait; with `None` nobody does (any more).
    pub fn close(store: &Store<'_>, semaphore: Ref<Self>) -> Option<Ref<Context>> {
        let (parties, it) = (Parties(store), store.get(semaphore));
        if let Some(chained) = it.chained() {
            store.get(chained).counter.withdraw(&parties, semaphore.id());
        }
        it.counter.close(&parties).map(|waiter| parties.context(waiter))
    }

    /// Has an interrupt passed on to `target`, plain or a signal, which its caller has a reference to, or with `None` counted.
    /// Returns the target before, with its reference. [`Self::replay`] is to follow.
    pub fn chain(&self, target: Option<Ref<Self>>) -> Option<Ref<Self>> {
        match &self.role {
            Role::Interrupt(_, now) => core::mem::replace(&mut *now.lock(), target),
            _ => target,
        }
    }

    /// Passes what an interrupt has counted on to its target. Returns one of those whom it wakes; with `None` all is done.
    pub fn replay(&self, store: &Store<'_>) -> Option<Ref<Context>> {
        let Role::Interrupt(_, target) = &self.role else { return None };
        let guard = target.lock();
        let target = (*guard)?;
        let pending = Some(self.counter.take()).filter(|&pending| pending != 0)?;
        let woken = Self::add(store, target, pending)?;
        if store.get(target).is_plain() {
            // It took one; nobody waits here, because there was something to take.
            self.counter.up(&Parties(store), pending - 1);
        }
        Some(woken)
    }
}

#[cfg(test)]
mod tests;
