//! Who runs on a core, and for how long.
//!
//! Purpose: from ready scheduling contexts to the context that leaves the kernel; blocking, waking, time slices.
//! Invariants: a scheduling context is where its place says; the one on whose time the core runs is in no queue; one
//! that waits is noted in the context that blocked; the timer is set to the earlier of the end of the budget and the
//! first deadline.
//! Concurrency: each core schedules its own; others reach it through its inbox, with an interrupt if it was empty. What
//! makes the choice anew is the last thing that an entry of the kernel does: nothing is borrowed across it.
//! Source: interface §5 ("create_sc", "sm_ctrl", "ec_ctrl") and §8; lecture E:789-863.
use crate::call::{self, Delivery, LONGEST};
use crate::lifetime::Counted;
use crate::switch::{self, Tables};
use crate::{accounts, clock, contexts, cores, later, reclaim, remote, translations};
use abi::Status;
use abi::counter::Counter;
use arch::{apic, cpu};
use objects::{Context, Continuation, Place, Ref, Scheduling, Semaphore, Store, Take};
use percpu::Hazard;
use schedule::{Down, Elements, Id, InboxLinks, Pushed, ReadyLinks};
use timeouts::TimeoutLinks;

/// Queues of this module: what they name are scheduling contexts, in inboxes contexts too, and with deadlines contexts.
struct Queues<'s>(&'s Store<'s>);

impl Queues<'_> {
    fn scheduling(&self, id: Id) -> &Scheduling {
        // SAFETY: ready queues hold scheduling contexts only, which leave them before they end.
        self.0.get(unsafe { self.0.named(id) })
    }

    fn context(&self, id: Id) -> &Context {
        // SAFETY: an inbox holds scheduling contexts and contexts only, the queue of deadlines contexts; they leave them
        // before they end.
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
        match self.0.reference::<Scheduling>(id.get().into()) {
            Some(scheduling) => &self.0.get(scheduling).inbox,
            None => &self.context(id).inbox,
        }
    }
}

impl Elements<TimeoutLinks> for Queues<'_> {
    fn links(&self, id: Id) -> &TimeoutLinks {
        &self.context(id).timeout
    }
}

/// What other cores want of a scheduling context: that it is made ready,
const WAKE: u32 = 1;
/// or that it ends.
const END: u32 = 2;

/// Whether `core` is the one that runs this.
pub fn is_own(core: u32) -> bool {
    core == percpu::this().local.id.get()
}

/// Makes `core` look at an object of its own, a context or scheduling context, before it chooses what to run.
pub fn tell(store: &Store<'_>, core: u32, id: Id) {
    if let Some((shared, apic_id)) = cores::remote(core)
        && shared.inbox.push(&Queues(store), id) == Pushed::First
    {
        shared.raise(Hazard::Schedule);
        apic::send_request(apic_id);
    }
}

/// Makes a scheduling context that was away ready, on whatever core it belongs to.
#[inline]
pub fn wake(store: &Store<'_>, scheduling: Ref<Scheduling>) {
    if is_own(store.get(scheduling).core) {
        arrive(store, scheduling);
        unpark(store);
    } else {
        ask(store, scheduling, WAKE);
    }
}

/// As [`wake`], on its own core, without making others ready that may depend on it.
#[inline]
fn arrive(store: &Store<'_>, scheduling: Ref<Scheduling>) {
    let target = store.get(scheduling);
    if target.place() == Place::Away {
        target.set_place(Place::Ready);
        percpu::this().local.ready.enqueue_tail(&Queues(store), scheduling.id(), target.priority());
        preempt(store, target.priority());
    }
}

/// Has this core choose anew if one that has just become ready is more urgent than the one that runs.
#[inline]
fn preempt(store: &Store<'_>, priority: u8) {
    // SAFETY: as in `release`.
    let running = unsafe { store.trusted::<Scheduling>(percpu::this().local.scheduling.get()) };
    if running.is_none_or(|running| store.get(running).priority() < priority) {
        let shared = &percpu::this().shared;
        shared.raise(Hazard::Schedule);
        shared.count(Counter::Preemptions, running.is_some().into());
    }
}

/// Ends a scheduling context: it leaves its queue, or the context with which it waits.
pub fn end(store: &Store<'_>, scheduling: Ref<Scheduling>) {
    reclaim::note_end(store.get(scheduling).core);
    ask(store, scheduling, END);
}

/// Ends a scheduling context that was made and never woken, after [`end`].
pub fn discard(store: &Store<'_>, scheduling: Ref<Scheduling>) {
    ask(store, scheduling, WAKE);
}

/// Has a scheduling context's core do what `request` says.
fn ask(store: &Store<'_>, scheduling: Ref<Scheduling>, request: u32) {
    let target = store.get(scheduling);
    target.requests.add(request);
    if is_own(target.core) { attend(store, scheduling) } else { tell(store, target.core, scheduling.id()) }
}

/// Does what other cores want of a scheduling context of this core.
fn attend(store: &Store<'_>, scheduling: Ref<Scheduling>) {
    let target = store.get(scheduling);
    let requests = target.requests.take();
    if requests & END == 0 {
        return arrive(store, scheduling);
    }
    let context = store.get(target.context);
    if context.has_moved() {
        return context.scheduling.set(scheduling.to_word());
    }
    // On its way here from another core it cannot be stopped: it ends when it has come.
    let waits = || store.reference::<Context>(target.with.get()).map(|context| store.get(context));
    let away = target.place() == Place::Away && requests & WAKE == 0;
    if away && !waits().is_some_and(|context| context.scheduling.take_if(scheduling.to_word())) {
        return target.requests.add(END);
    }
    retire(store, scheduling);
    // Whoever wakes it may have asked for that already, and say so only after this.
    target.set_place(Place::Nowhere);
    accounts::add(store, accounts::KILLED, target.times[0].get());
    Counted::Scheduling(scheduling).put_aside(store);
}

/// Takes a scheduling context out of whatever queue of this core it is in. One that is away stays so.
pub fn retire(store: &Store<'_>, scheduling: Ref<Scheduling>) {
    let (local, target) = (&percpu::this().local, store.get(scheduling));
    match target.place() {
        Place::Ready => drop(local.ready.remove(&Queues(store), scheduling.id())),
        Place::Parked => drop(local.parked.remove(&Queues(store), scheduling.id())),
        Place::Runs => {
            release(store, false);
            percpu::this().shared.raise(Hazard::Schedule);
        }
        Place::Away | Place::Nowhere => return,
    }
    target.set_place(Place::Nowhere);
}

/// Puts the current scheduling context, unless it has gone elsewhere, back among the ready, in front if it has time left
/// and does not yield; and chooses anew.
pub fn reschedule(store: &Store<'_>, yields: bool) {
    if let Some((scheduling, place)) = release(store, yields)
        && store.get(scheduling).place() == Place::Runs
    {
        put_back(store, scheduling, place);
    }
    choose(store);
}

/// After [`leave`]: chooses anew.
pub fn depart(store: &Store<'_>) {
    release(store, false);
    choose(store);
}

#[inline(never)]
fn put_back(store: &Store<'_>, scheduling: Ref<Scheduling>, place: schedule::Place) {
    let target = store.get(scheduling);
    target.set_place(Place::Ready);
    percpu::this().local.ready.enqueue(&Queues(store), scheduling.id(), target.priority(), place);
}

/// Charges the current scheduling context, and context, for the time since it was chosen; a spent budget is filled
/// again. The core runs on nobody's time then; what follows is charged to who is chosen.
#[inline]
fn release(store: &Store<'_>, yields: bool) -> Option<(Ref<Scheduling>, schedule::Place)> {
    let local = &percpu::this().local;
    // SAFETY: `choose` sets the word, from a reference; one that ends is released before.
    let scheduling = unsafe { store.trusted::<Scheduling>(local.scheduling.replace(0)) }?;
    let (target, now) = (store.get(scheduling), cpu::time_stamp());
    let (left, used) = target.budget().charge(local.since.replace(now), now);
    let (budget, place) = left.release(yields);
    target.left.set(budget.left);
    target.times[0].add(used);
    if let Some((_, context)) = switch::current(store) {
        context.time.add(used);
    }
    Some((scheduling, place))
}

/// Lends the current scheduling context's time to `busy`, or whoever serves it; if it waits for something, so does the
/// scheduling context.
pub fn help(store: &Store<'_>, busy: Ref<Context>) {
    match run(store, busy) {
        Run::Runs => return,
        Run::Waits => park(store),
        Run::Dead => {}
    }
    reschedule(store, false);
}

/// Puts the current scheduling context aside, whose context, or whoever serves it, waits for something.
fn park(store: &Store<'_>) {
    if let Some((scheduling, _)) = release(store, false)
        && store.get(scheduling).place() == Place::Runs
    {
        let target = store.get(scheduling);
        target.set_place(Place::Parked);
        percpu::this().local.parked.enqueue_tail(&Queues(store), scheduling.id(), target.priority());
    }
}

/// Makes everything that was put aside ready again: a context of this core can go on, and any of them may be behind it.
#[inline]
pub fn unpark(store: &Store<'_>) {
    if !percpu::this().local.parked.is_empty() {
        unpark_all(store);
    }
}

#[cold]
fn unpark_all(store: &Store<'_>) {
    let (local, queues) = (&percpu::this().local, Queues(store));
    while let Some((id, priority)) = local.parked.dequeue(&queues) {
        queues.scheduling(id).set_place(Place::Ready);
        local.ready.enqueue_tail(&queues, id, priority);
        preempt(store, priority);
    }
}

/// Makes the context of the highest ready scheduling context current; halts until there is one.
#[inline]
fn choose(store: &Store<'_>) {
    if !choose_simply(store) {
        choose_slowly(store);
    }
}

/// As [`choose`], if nothing else is to be done, and the context can simply go on. Otherwise false, with nothing done.
#[inline(always)]
fn choose_simply(store: &Store<'_>) -> bool {
    let queues = Queues(store);
    // Whoever puts something into the inbox says so.
    let highest = if percpu::this().shared.any() { None } else { percpu::this().local.ready.highest() };
    let Some((id, priority)) = highest else { return false };
    let context_ref = queues.scheduling(id).context;
    let context = store.get(context_ref);
    let tables = switch::tables(context);
    if !context.is(Continuation::Run) || tables == Tables::Unknown {
        return false;
    }
    percpu::this().local.ready.take(&queues, (id, priority));
    match tables {
        Tables::Loaded => switch::to_plain(context_ref, context),
        // It has tables.
        _ => _ = switch::to(store, context_ref),
    }
    charge(store, id, context_ref);
    true
}

/// Makes the scheduling context `id`, of this context, which is out of the queue, the one on whose time the core runs.
#[inline(always)]
fn charge(store: &Store<'_>, id: Id, context: Ref<Context>) {
    let (local, queues) = (&percpu::this().local, Queues(store));
    let target = queues.scheduling(id);
    target.set_place(Place::Runs);
    local.scheduling.set(id.get().into());
    local.payer.set(if local.parked.is_empty() { context.to_word() } else { u64::MAX });
    set_timer(&queues, target.budget().deadline(local.since.get()));
}

/// As [`choose`], whatever it takes.
#[cold]
fn choose_slowly(store: &Store<'_>) {
    let (local, queues) = (&percpu::this().local, Queues(store));
    loop {
        if percpu::this().shared.any() {
            receive(store);
        }
        while let Some((id, _)) = local.ready.dequeue(&queues) {
            let context = queues.scheduling(id).context;
            charge(store, id, context);
            match run(store, context) {
                Run::Runs => return,
                Run::Waits => park(store),
                // SAFETY: as in `scheduling`.
                Run::Dead => retire(store, unsafe { store.named(id) }),
            }
        }
        if !percpu::this().shared.pending(Hazard::Schedule) {
            idle(store);
        }
    }
}

/// Nothing is ready: gives objects back, or halts until an interrupt.
fn idle(store: &Store<'_>) {
    let local = &percpu::this().local;
    local.current.set(0);
    if percpu::this().shared.take(Hazard::Landed) {
        return later::look(store);
    }
    if reclaim::is_due() {
        return reclaim::collect(store, true, u32::MAX);
    }
    set_timer(&Queues(store), u64::MAX);
    let since = cpu::time_stamp();
    cpu::wait();
    local.since.set(cpu::time_stamp());
    accounts::add(store, accounts::IDLE, local.since.get().saturating_sub(since));
    expire(store);
}

/// Takes in what other cores want of this one.
#[cold]
fn receive(store: &Store<'_>) {
    let (page, queues) = (percpu::this(), Queues(store));
    translations::serve();
    if page.shared.pending(Hazard::Schedule) {
        page.shared.take(Hazard::Schedule);
    }
    // One batch: others could go on for ever.
    if page.local.arrived.refill(&page.shared.inbox, &queues) {
        while let Some(id) = page.local.arrived.next(&queues) {
            match store.reference::<Scheduling>(id.get().into()) {
                Some(scheduling) => attend(store, scheduling),
                // SAFETY: as in `Queues`.
                None => contexts::attend(store, unsafe { store.named(id) }),
            }
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
    // A longer chain, or one that closes because two are to handle each other's faults, waits until anything changes.
    for _ in 0..LONGEST {
        let at = store.get(next);
        let delivery = match at.continuation() {
            Continuation::Run if !at.is_recalled() => {
                if switch::to(store, next) {
                    return Run::Runs;
                }
                contexts::bury(store, next, format_args!("no kernel memory for its domain's tables on this core"));
                Delivery::Busy(context)
            }
            Continuation::Run => take(store, next, at.identity().recall(), [0, 0]),
            Continuation::Event => take(store, next, at.event(), at.qualification()),
            Continuation::CallPortal => remote::perform(store, next),
            Continuation::ReplyAgain => match call::reply_again(store, next) {
                // Now whoever runs on this time goes on.
                Delivery::Refused => Delivery::Busy(context),
                waits => waits,
            },
            served if served.is_served() => Delivery::Busy(store.reference(at.partner.get()).unwrap_or(next)),
            Continuation::Idle | Continuation::Dead if next == context => return Run::Dead,
            // It has ended just now, and who waited for it goes on.
            Continuation::Dead => Delivery::Busy(context),
            _ => return Run::Waits,
        };
        next = match delivery {
            Delivery::Done(handler) | Delivery::Busy(handler) => handler,
            Delivery::Refused => {
                contexts::bury(store, next, format_args!("it has no portal for startup or recall, or no tables"));
                context
            }
        };
    }
    Run::Waits
}

/// Lets a context take an event.
fn take(store: &Store<'_>, context: Ref<Context>, event: u64, qualification: [u64; 2]) -> Delivery {
    if !switch::to(store, context) {
        return Delivery::Refused;
    }
    call::deliver(store, context, event, qualification)
}

/// Has the timer fire at the end of a budget, and at the first deadline.
#[inline]
fn set_timer(queues: &Queues<'_>, budget: u64) {
    let local = &percpu::this().local;
    let next = local.timeouts.first(queues).map_or(budget, |(_, deadline)| deadline.min(budget)).max(1);
    // A timer that fires too early is set again then.
    if next < local.armed.get() {
        local.armed.set(next);
        apic::arm(next);
    }
}

/// The timer has fired.
pub fn tick(store: &Store<'_>) {
    percpu::this().local.armed.set(u64::MAX);
    expire(store);
}

/// Wakes the contexts whose deadline has passed, with status "timeout".
pub fn expire(store: &Store<'_>) {
    let (local, queues) = (&percpu::this().local, Queues(store));
    while let Some(id) = local.timeouts.expire(&queues, cpu::time_stamp()) {
        // SAFETY: as in `Queues`.
        let context: Ref<Context> = unsafe { store.named(id) };
        if leave_queue(store, context) {
            resume(store, context, Status::Timeout);
        }
    }
    percpu::this().shared.raise(Hazard::Schedule);
}

/// Takes a context of this core out of the queue of the semaphore that it waits for, if it is in one.
fn leave_queue(store: &Store<'_>, context: Ref<Context>) -> bool {
    let waiter = store.get(context);
    // The semaphore exists while somebody waits for it, and longer by a grace period.
    let semaphore = waiter.continuation().woken().and_then(|_| store.reference::<Semaphore>(waiter.semaphore.get()));
    semaphore.is_some_and(|semaphore| store.get(semaphore).cancel(store, context))
}

/// Lets a context of this core that waits for a semaphore, or for another core, wait no longer; it does `next` then.
pub fn stop_waiting(store: &Store<'_>, context: Ref<Context>, next: Continuation) {
    let waiter = store.get(context);
    percpu::this().local.timeouts.remove(&Queues(store), context.id());
    let left = waiter.continuation() == Continuation::AwaitRemote || leave_queue(store, context);
    waiter.proceed(next);
    // If another core was faster, it makes the scheduling context ready.
    if left && let Some(scheduling) = store.reference(waiter.scheduling.take()) {
        wake(store, scheduling);
    }
}

/// Makes a context that waited for a semaphore go on, with this status.
pub fn resume(store: &Store<'_>, context: Ref<Context>, status: Status) {
    let waiter = store.get(context);
    let own = is_own(waiter.identity().core);
    // Once it may run, it may wait again with another scheduling context.
    let word = if own && waiter.is(Continuation::AwaitSemaphore) {
        // It is out of the queue, and so nobody but its core changes it.
        waiter.frame().rdi.set(u64::from(status.number()));
        waiter.set_continuation(Continuation::Run);
        let word = waiter.scheduling.get();
        waiter.scheduling.set(0);
        word
    } else {
        let word = waiter.scheduling.take();
        if waiter.continuation() == Continuation::AwaitSemaphore {
            waiter.frame().rdi.set(u64::from(status.number()));
        }
        waiter.advance(Continuation::woken);
        word
    };
    // SAFETY: the word is that of a scheduling context, which takes itself out of there before it ends.
    match unsafe { store.trusted(word) } {
        Some(scheduling) if own => {
            arrive(store, scheduling);
            unpark(store);
        }
        Some(scheduling) => ask(store, scheduling, WAKE),
        // Those that were put aside because of it may go on.
        None => contexts::post(store, context, 0),
    }
}

/// Lets the current context wait for `semaphore`, at most until the TSC reaches `deadline` (0: for ever). The status if
/// it had not to.
pub fn down(
    store: &Store<'_>,
    context: Ref<Context>,
    semaphore: Ref<Semaphore>,
    take: Take,
    deadline: u64,
) -> Option<Status> {
    match wait(store, context, semaphore, (take, deadline), Continuation::AwaitSemaphore) {
        Down::Taken(_) => Some(Status::Success),
        Down::Closed => Some(Status::BadCapability),
        Down::Waits => {
            reschedule(store, false);
            None
        }
    }
}

/// Lets a context of this core that could go on wait for `semaphore`; nothing else of it changes. True if it has not to.
pub fn hold(store: &Store<'_>, context: Ref<Context>, semaphore: Ref<Semaphore>) -> bool {
    let waits = match store.get(context).continuation() {
        Continuation::CallPortal => Continuation::AwaitRetry,
        Continuation::ReplyAgain => Continuation::AwaitReplyAgain,
        _ => Continuation::AwaitResume,
    };
    wait(store, context, semaphore, (Take::Quietly, 0), waits) != Down::Waits
}

fn wait(
    store: &Store<'_>,
    context: Ref<Context>,
    semaphore: Ref<Semaphore>,
    (take, deadline): (Take, u64),
    waits: Continuation,
) -> Down {
    store.get(semaphore).down(store, context, take, || {
        let (timeouts, waiter) = (&percpu::this().local.timeouts, store.get(context));
        waiter.proceed(waits);
        waiter.semaphore.set(semaphore.to_word());
        leave_with(store, context);
        // A wake-up from another core may have left an old deadline behind.
        if deadline == 0 {
            timeouts.remove(&Queues(store), context.id());
        } else {
            timeouts.insert(&Queues(store), context.id(), deadline);
        }
    })
}

/// As the current context, which runs on its own time, does in [`wait`] before it waits for a semaphore without deadline.
/// False, with nothing done, if it is not so simple.
#[inline(always)]
pub fn leave(store: &Store<'_>, context: Ref<Context>, semaphore: u64) -> bool {
    let (local, waiter) = (&percpu::this().local, store.get(context));
    let deadline = waiter.frame().rsi.get() as u32 | waiter.frame().rdx.get() as u32;
    if local.payer.get() != context.to_word() || deadline != 0 || waiter.timeout.is_pending() {
        return false;
    }
    let word = local.scheduling.get();
    // SAFETY: as in `release`; who pays has one.
    let scheduling = unsafe { store.at::<Scheduling>(word) };
    waiter.set_continuation(Continuation::AwaitSemaphore);
    waiter.semaphore.set(semaphore);
    waiter.scheduling.set(word);
    scheduling.with.set(context.to_word());
    scheduling.set_place(Place::Away);
    true
}

/// The current scheduling context waits with `context`, if that runs on it, from the next [`reschedule`] on.
pub fn leave_with(store: &Store<'_>, context: Ref<Context>) {
    let word = percpu::this().local.scheduling.get();
    // SAFETY: as in `release`.
    let scheduling = unsafe { store.trusted::<Scheduling>(word) }.filter(|_| call::pays_for(store, context));
    if let Some(scheduling) = scheduling {
        store.get(scheduling).with.set(context.to_word());
        store.get(scheduling).set_place(Place::Away);
    }
    store.get(context).scheduling.set(scheduling.map_or(0, Ref::to_word));
}

/// Leaves the kernel for the first time on this core, as soon as something is ready.
pub fn enter(store: &Store<'_>) -> ! {
    percpu::this().local.armed.set(u64::MAX);
    percpu::this().local.since.set(cpu::time_stamp());
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
