//! Who runs on a core, and for how long.
//!
//! Purpose: from ready scheduling contexts to the context that leaves the kernel; blocking, waking, time slices.
//! Invariants: the scheduling context on whose time the core runs is in no queue; one that waits is noted in the context
//! that blocked; the timer is set to the earlier of the end of the budget and the first deadline.
//! Concurrency: each core schedules its own; others reach it through its inbox, with an interrupt if it was empty.
//! Source: interface §5 ("create_sc", "sm_ctrl", "ec_ctrl") and §8; lecture E:789-863.
use crate::call::{self, Delivery};
use crate::{clock, cores, domain, reclaim, switch};
use abi::Status;
use abi::event::STARTUP;
use arch::{apic, cpu};
use objects::{Context, Continuation, Ref, Scheduling, Semaphore, Store};
use percpu::Hazard;
use schedule::{Elements, Id, InboxLinks, Pushed, ReadyLinks};
use timeouts::TimeoutLinks;

/// Queues of this module: what they name are scheduling contexts, and with deadlines contexts.
struct Queues<'s>(&'s Store<'s>);

impl Queues<'_> {
    fn scheduling(&self, id: Id) -> &Scheduling {
        // SAFETY: ready queue and inboxes hold scheduling contexts only, and objects are not destroyed yet.
        self.0.get(unsafe { self.0.named(id) })
    }
}

impl Elements<ReadyLinks> for Queues<'_> {
    fn links(&self, id: Id) -> &ReadyLinks {
        &self.scheduling(id).ready
    }
}

impl Elements<InboxLinks> for Queues<'_> {
    fn links(&self, id: Id) -> &InboxLinks {
        &self.scheduling(id).inbox
    }
}

impl timeouts::Elements for Queues<'_> {
    fn links(&self, id: Id) -> &TimeoutLinks {
        // SAFETY: the queue of deadlines holds contexts only, and objects are not destroyed yet.
        &self.0.get::<Context>(unsafe { self.0.named(id) }).timeout
    }
}

/// Makes a scheduling context ready, on whatever core it belongs to.
pub fn wake(store: &Store<'_>, scheduling: Ref<Scheduling>) {
    let (local, queues) = (&percpu::this().local, Queues(store));
    let target = store.get(scheduling);
    if target.core == local.id.get() {
        local.ready.enqueue_tail(&queues, scheduling.id(), target.priority);
        percpu::this().shared.raise(Hazard::Schedule);
        unpark(store);
    } else if let Some((shared, apic_id)) = cores::remote(target.core)
        && shared.inbox.push(&queues, scheduling.id()) == Pushed::First
    {
        shared.raise(Hazard::Schedule);
        apic::send_request(apic_id);
    }
}

/// Puts the current scheduling context back among the ready, in front if it has time left and does not yield, and
/// chooses anew.
pub fn reschedule(store: &Store<'_>, yields: bool) {
    let (local, queues) = (&percpu::this().local, Queues(store));
    if let Some(scheduling) = store.reference::<Scheduling>(local.scheduling.get()) {
        let target = store.get(scheduling);
        let (budget, place) = target.budget().charge(local.since.get(), cpu::time_stamp()).0.release(yields);
        target.set_budget(budget);
        local.ready.enqueue(&queues, scheduling.id(), target.priority, place);
    }
    choose(store);
}

/// Blocks the current context, whose continuation says for what; its scheduling context waits with it.
pub fn block(store: &Store<'_>) {
    charge(store);
    choose(store);
}

/// Charges the current scheduling context for the time since it was chosen; a spent budget is filled again.
fn charge(store: &Store<'_>) -> Option<Ref<Scheduling>> {
    let local = &percpu::this().local;
    let scheduling = store.reference::<Scheduling>(local.scheduling.get())?;
    let target = store.get(scheduling);
    let (budget, _) = target.budget().charge(local.since.get(), cpu::time_stamp()).0.release(false);
    target.set_budget(budget);
    Some(scheduling)
}

/// Lends the current scheduling context's time to `busy`, or whoever serves it; if it waits for something, so does the
/// scheduling context.
pub fn help(store: &Store<'_>, busy: Ref<Context>) {
    if run(store, busy) != Run::Runs {
        if let Some(scheduling) = charge(store) {
            park(store, scheduling);
        }
        choose(store);
    }
}

/// Puts a scheduling context aside whose context, or whoever serves it, waits for something.
fn park(store: &Store<'_>, scheduling: Ref<Scheduling>) {
    let priority = store.get(scheduling).priority;
    percpu::this().local.parked.enqueue_tail(&Queues(store), scheduling.id(), priority);
}

/// Makes everything that was put aside ready again: a context of this core can go on, and any of them may be behind it.
pub fn unpark(store: &Store<'_>) {
    let (local, queues) = (&percpu::this().local, Queues(store));
    while let Some((id, priority)) = local.parked.dequeue(&queues) {
        local.ready.enqueue_tail(&queues, id, priority);
        percpu::this().shared.raise(Hazard::Schedule);
    }
}

/// Makes the context of the highest ready scheduling context current; halts until there is one.
fn choose(store: &Store<'_>) {
    let (local, queues) = (&percpu::this().local, Queues(store));
    loop {
        receive(store);
        while let Some((id, _)) = local.ready.dequeue(&queues) {
            let target = queues.scheduling(id);
            // SAFETY: as in `scheduling`.
            let reference: Ref<Scheduling> = unsafe { store.named(id) };
            let now = cpu::time_stamp();
            local.scheduling.set(reference.to_word());
            local.since.set(now);
            set_timer(&queues, Some(target.budget().deadline(now)));
            match run(store, target.context) {
                Run::Runs => return,
                Run::Waits => park(store, reference),
                // It will never run again.
                Run::Dead => {}
            }
        }
        if percpu::this().shared.pending(Hazard::Schedule) {
            continue;
        }
        local.scheduling.set(0);
        local.current.set(0);
        if reclaim::is_due() {
            reclaim::collect(store, true);
            continue;
        }
        set_timer(&queues, None);
        cpu::wait();
        expire(store);
    }
}

/// Takes in what other cores made ready.
fn receive(store: &Store<'_>) {
    let (page, queues) = (percpu::this(), Queues(store));
    cores::flush_if_asked();
    page.shared.take(Hazard::Schedule);
    // One batch: others could go on for ever.
    if page.local.arrived.refill(&page.shared.inbox, &queues) {
        while let Some(id) = page.local.arrived.next(&queues) {
            page.local.ready.enqueue_tail(&queues, id, queues.scheduling(id).priority);
        }
        unpark(store);
    }
    if !page.shared.inbox.is_empty() {
        page.shared.raise(Hazard::Schedule);
    }
}

/// Whether a context can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// It is current.
    Runs,
    /// It, or whoever serves it, waits for something.
    Waits,
    /// Never.
    Dead,
}

/// Makes `context`, or whoever serves it, current.
fn run(store: &Store<'_>, context: Ref<Context>) -> Run {
    let mut next = context;
    loop {
        let at = store.get(next);
        match at.continuation() {
            Continuation::Run if switch::to(store, next) => return Run::Runs,
            Continuation::Run => {
                domain::bury(store, next, format_args!("no kernel memory for its domain's tables on this core"));
                return Run::Dead;
            }
            Continuation::AwaitReply | Continuation::AwaitHandler => match store.reference(at.partner()) {
                Some(partner) => next = partner,
                None => return Run::Dead,
            },
            Continuation::Start => match begin(store, next) {
                Delivery::Done => return Run::Runs,
                Delivery::Busy(handler) => next = handler,
                Delivery::Refused => {
                    domain::bury(store, next, format_args!("it has no startup portal"));
                    return Run::Dead;
                }
            },
            Continuation::AwaitCall | Continuation::AwaitSemaphore => return Run::Waits,
            Continuation::Dead => return Run::Dead,
        }
    }
}

/// Starts a context with the startup event.
fn begin(store: &Store<'_>, context: Ref<Context>) -> Delivery {
    if !switch::to(store, context) {
        return Delivery::Refused;
    }
    call::deliver(store, u64::from(STARTUP), [0, 0])
}

fn set_timer(queues: &Queues<'_>, budget: Option<u64>) {
    let first = percpu::this().local.timeouts.first(queues).map(|(_, deadline)| deadline);
    let next = [budget, first].into_iter().flatten().min();
    apic::arm(next.map_or(0, |next| next.max(1)));
}

/// Wakes the contexts whose deadline has passed, with status "timeout".
pub fn expire(store: &Store<'_>) {
    let (local, queues) = (&percpu::this().local, Queues(store));
    while let Some(id) = local.timeouts.expire(&queues, cpu::time_stamp()) {
        // SAFETY: as in `Queues`.
        let context: Ref<Context> = unsafe { store.named(id) };
        let waiter = store.get(context);
        let semaphore = store.reference::<Semaphore>(waiter.semaphore());
        if semaphore.is_some_and(|semaphore| store.get(semaphore).cancel(store, context)) {
            resume(store, context, Status::Timeout);
        }
    }
    percpu::this().shared.raise(Hazard::Schedule);
}

/// Makes a context that waited for a semaphore go on, with this status.
pub fn resume(store: &Store<'_>, context: Ref<Context>, status: Status) {
    let waiter = store.get(context);
    // Read first: once it may run, it may wait again with another.
    let scheduling = store.reference(waiter.scheduling());
    waiter.frame().rdi.set(u64::from(status.number()));
    waiter.set_continuation(Continuation::Run);
    if let Some(scheduling) = scheduling {
        wake(store, scheduling);
    }
}

/// Lets the current context wait for `semaphore`, at most until the TSC reaches `deadline` (0: for ever). True if it had
/// not to.
pub fn down(store: &Store<'_>, context: Ref<Context>, semaphore: Ref<Semaphore>, all: bool, deadline: u64) -> bool {
    let (local, waiter) = (&percpu::this().local, store.get(context));
    let taken = store.get(semaphore).down(store, context, all, || {
        waiter.set_continuation(Continuation::AwaitSemaphore);
        waiter.set_scheduling(local.scheduling.get());
        waiter.set_semaphore(semaphore.to_word());
        // A wake-up from another core may have left an old deadline behind.
        if deadline == 0 {
            local.timeouts.remove(&Queues(store), context.id());
        } else {
            local.timeouts.insert(&Queues(store), context.id(), deadline);
        }
    });
    if !taken {
        block(store);
    }
    taken
}

/// Starts scheduling on this core with `scheduling`, the first that is ready.
pub fn start(store: &Store<'_>, scheduling: Ref<Scheduling>) -> ! {
    wake(store, scheduling);
    enter(store)
}

/// Leaves the kernel for the first time on this core, as soon as something is ready.
pub fn enter(store: &Store<'_>) -> ! {
    choose(store);
    match switch::current(store) {
        // SAFETY: `choose` made it current.
        Some((_, context)) => unsafe { arch::entry::leave(context.frame()) },
        None => cpu::halt(),
    }
}

/// A quantum of the default length: 10 milliseconds.
pub fn default_budget() -> schedule::Budget {
    schedule::Budget::new(10_000, clock::khz())
}
