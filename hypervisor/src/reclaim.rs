//! Giving back what has ended.
//!
//! Purpose: objects that nobody refers to are prepared (waiters are woken, a domain's spaces emptied), and given back when
//! no core can still have a borrow of them.
//! Invariants: an object is given back once, after a grace period: since it was put aside each core has come by [`pass`],
//! where it has no borrow of any object. After one, no core has the tables of a domain loaded that nobody uses.
//! Concurrency: each core deals with what it has put aside, while it leaves the kernel or has nothing to do. Who waits for
//! a grace period passes himself, so that two can wait for each other. Work that is long stops for whatever is to run
//! meanwhile, and goes on with the next timer tick.
//! Source: P. McKenney, J. Slingwine, "Read-copy update" (1998); interface §8; `docs/src/decisions/0019-lifetimes.md`.
use crate::lifetime::{self, Counted};
use crate::tables::HARDWARE;
use crate::{contexts, cores, mapping, pool, scheduler, switch, tidy, translations, views};
use abi::{PhysAddr, Status};
use arch::cpu;
use core::sync::atomic::Ordering;
use memory::frames::Unshown;
use memory::quota;
use memory::shootdown::Acknowledged;
use objects::{Domain, Portal, Ref, Semaphore, Store};
use percpu::Hazard;

/// Objects that are put aside before a core asks the others whether they are done with them.
const BATCH: u32 = 64;
/// Waiters of a semaphore, or tables of a domain, that are dealt with before looking whether something else has to run.
const SLICE: usize = 16;
/// Objects that are dealt with before a context runs that has just been chosen.
pub const FEW: u32 = 4;

/// First entry of a domain's directory that is one of capabilities.
const CAPABILITIES_FROM: usize = 256;

/// Whether there is anything to give back on this core.
pub fn is_due() -> bool {
    let local = &percpu::this().local;
    local.ended.length() + local.unseen.length() != 0 || !local.emptied.is_empty()
}

/// Has everything given back before this core leaves the kernel. False if there is nothing.
pub fn hurry() -> bool {
    let page = percpu::this();
    page.local.tidy.set(true);
    page.shared.raise(Hazard::Ended);
    is_due()
}

/// Notes that something of `core` is about to end: [`settle`] waits until it has.
pub fn note_end(core: u32) {
    if !scheduler::is_own(core) {
        percpu::this().local.ends.set(true);
    }
}

/// Waits until what was told to end on other cores does not run any more: each has been in the kernel since, and does not
/// leave it before it has looked. False if there is nothing. The caller has no borrow of any object but the current context.
pub fn settle() -> bool {
    let ends = percpu::this().local.ends.take();
    if ends {
        grace();
    }
    ends
}

/// As [`lifetime::unnamed`], before this core, which has no borrow of any object, leaves the kernel. If there is no other,
/// what ends is given back now.
#[inline(always)]
pub fn unnamed(store: &Store<'_>, unit: u64) {
    match Counted::from_word(store, unit) {
        Some(Counted::Portal(portal)) if cores::is_alone() => {
            if store.get(portal).count.release() {
                free_portal(store, portal);
            }
        }
        Some(Counted::Semaphore(semaphore)) if cores::is_alone() && store.get(semaphore).is_plain() => {
            let counted = Counted::Semaphore(semaphore);
            if counted.count(store).release() {
                match close(store, semaphore) {
                    true => free_semaphore(store, semaphore),
                    false => counted.put_aside(store),
                }
            }
        }
        _ => end(store, unit),
    }
}

fn end(store: &Store<'_>, unit: u64) {
    lifetime::unnamed_alone(store, unit);
    let shared = &percpu::this().shared;
    if cores::is_alone() && shared.hazard.raised() == Hazard::Ended as u32 {
        shared.take(Hazard::Ended);
        collect(store, false, u32::MAX);
    }
}

/// Gives a portal back, which nobody can see.
#[inline]
fn free_portal(store: &Store<'_>, portal: Ref<Portal>) {
    let context = store.get(portal).context;
    // SAFETY: a grace period has passed since the last reference went.
    unsafe { lifetime::remove(store, portal, Some(Counted::Context(context))) };
}

/// Gives a semaphore back, which nobody can see.
#[inline]
fn free_semaphore(store: &Store<'_>, semaphore: Ref<Semaphore>) {
    let chained = store.get(semaphore).chained();
    // SAFETY: a grace period has passed since the last reference went.
    unsafe { lifetime::remove(store, semaphore, chained.map(Counted::Semaphore)) };
}

/// Deals with what was put aside on this core, which has no borrow of any object. What other cores may still see is left
/// until there is enough of it, or, after [`hurry`] or with `idle`, waited for. At most so many are given back.
pub fn collect(store: &Store<'_>, idle: bool, most: u32) {
    let local = &percpu::this().local;
    let alone = cores::is_alone();
    let limited = most <= FEW;
    let all = !limited && (local.tidy.take() || idle) || alone;
    let next = |chain: &sync::Chain| {
        let mut found = None;
        chain.pop(|word| {
            found = Counted::from_word(store, word);
            found.map(|ended| ended.count(store))
        });
        found
    };
    if !limited {
        tidy::give_back();
    }
    let mut left = most;
    let mut is_enough = || {
        left -= 1;
        left == 0 || waits()
    };
    loop {
        while let Some(ended) = next(&local.ended) {
            let prepared = prepare(store, ended);
            // If there is no other core, nobody has a borrow.
            if !(prepared && alone && finish(store, ended)) {
                let chain = if prepared { &local.unseen } else { &local.ended };
                chain.push(ended.word(), ended.count(store));
            }
            if is_enough() {
                return;
            }
        }
        let many = local.unseen.length();
        // Others are not waited for before a context runs that has just been chosen.
        if many == 0 || !all && (limited || many < BATCH) {
            return;
        }
        grace();
        let mut progress = false;
        for ended in (0..many).map_while(|_| next(&local.unseen)) {
            let done = finish(store, ended);
            progress |= done || matches!(ended, Counted::Domain(_));
            if !done {
                local.ended.push(ended.word(), ended.count(store));
            }
            if is_enough() {
                return;
            }
        }
        if !progress {
            // What is left waits in a queue of this very core, which it empties on its way out of the kernel.
            return;
        }
    }
}

/// Lets interrupts in, and says whether something is to run, or the current context has ended just now.
fn waits() -> bool {
    cpu::breathe();
    percpu::this().shared.pending(Hazard::Schedule)
}

/// Waits until every other core has no borrow of an object from before, nor walks a domain's tables since then.
pub fn grace() {
    forget_space();
    cores::ask_others(|| {
        translations::serve();
        pass();
    });
}

/// This core has no borrow of any object: whoever waits for that may go on.
pub fn pass() {
    if percpu::this().shared.pending(Hazard::Grace) {
        forget_space();
        percpu::this().shared.take(Hazard::Grace);
    }
}

/// Loads the core's own tables unless those of the current context's domain are loaded, which is in use.
fn forget_space() {
    let (local, core) = (&percpu::this().local, &percpu::this().shared.core);
    // SAFETY: in the kernel, interrupts off; a context lives while it is current.
    let store = unsafe { arch::pool::store() };
    let loaded = cpu::root();
    let is_used = switch::current(&store).is_some_and(|(_, context)| context.root.get() == HARDWARE.place(loaded));
    if !is_used && loaded.get() != local.root.get() {
        local.plain.set(0);
        #[cfg(feature = "shadow")]
        crate::shadow::note(memory::shadow::Shadow::departs);
        // SAFETY: the core's own tables, which map the kernel as all do.
        unsafe { cpu::load_root(local.root.get()) };
        core.leave();
    }
}

/// Wakes those who wait for a semaphore. False if there are more.
#[inline(always)]
fn close(store: &Store<'_>, semaphore: Ref<Semaphore>) -> bool {
    (0..SLICE).any(|_| match Semaphore::close(store, semaphore) {
        Some(waiter) => {
            scheduler::resume(store, waiter, Status::BadCapability);
            false
        }
        None => true,
    })
}

/// What can be done while others may still look at the object. False if there is more to do.
#[inline]
fn prepare(store: &Store<'_>, ended: Counted) -> bool {
    match ended {
        Counted::Semaphore(semaphore) => close(store, semaphore),
        Counted::Domain(domain) => mapping::clear(store, domain),
        _ => true,
    }
}

/// Gives the object back, which nobody can see. False if there is more to do, or its name is still in a queue.
fn finish(store: &Store<'_>, ended: Counted) -> bool {
    match ended {
        Counted::Domain(domain) => {
            forget_space();
            // Who had found it before may have given it something since.
            if !mapping::clear(store, domain) {
                return false;
            }
            let acknowledged = translations::ended(store.get(domain));
            if !acknowledged.is_some_and(|acknowledged| release_tables(store.get(domain), &acknowledged)) {
                return false;
            }
            Counted::Record(domain).release(store);
        }
        Counted::Record(reference) => {
            let domain = store.get(reference);
            let Some(donor) = domain.donor else { return true };
            let quota = &store.get(donor).quota;
            for page in [domain.directory, arch::pool::phys_of(domain.views)] {
                // SAFETY: empty, and nobody uses them; a core never loads the directory itself.
                unsafe { pool::release_clean(page, quota, Unshown) };
            }
            quota::give_all(&domain.quota, quota);
            // SAFETY: a grace period has passed since the last reference went.
            unsafe { lifetime::remove(store, reference, Some(Counted::Record(donor))) };
        }
        Counted::Context(reference) => {
            let (context, domain) = (store.get(reference), store.get(reference).identity().domain);
            if context.inbox.is_pending() {
                return false;
            }
            contexts::release_parts(store, reference);
            let page = arch::pool::phys_of(context.identity().message);
            if context.owns_page() {
                // SAFETY: its mapping went with the last capability, or with the domain's tables.
                unsafe { pool::release(page, &store.get(domain).quota, &translations::earlier()) };
            }
            let vectors = context.vectors.load(Ordering::Relaxed);
            if vectors != 0 {
                // SAFETY: its own core has forgotten them when it ended.
                unsafe { pool::release(PhysAddr::truncate(vectors), &store.get(domain).quota, Unshown) };
            }
            // SAFETY: as for domains.
            unsafe { lifetime::remove(store, reference, Some(Counted::Domain(domain))) };
        }
        Counted::Scheduling(reference) => {
            let scheduling = store.get(reference);
            if scheduling.inbox.is_pending() {
                return false;
            }
            // SAFETY: as for domains.
            unsafe { lifetime::remove(store, reference, Some(Counted::Context(scheduling.context))) };
        }
        Counted::Portal(portal) => free_portal(store, portal),
        Counted::Semaphore(semaphore) => free_semaphore(store, semaphore),
    }
    true
}

/// Takes what was copied of entry `index` of `table`, one of the domain's, from the views.
pub fn forget(domain: &Domain, table: PhysAddr, index: usize) {
    if table == domain.directory && index >= CAPABILITIES_FROM {
        views::forget_capabilities(domain, index);
    }
    views::forget_leaves(domain, table, index);
}

/// Gives back the tables of a domain that nobody uses, all but the two pages that its donor paid for. False if there are
/// more.
fn release_tables(domain: &Domain, acknowledged: &Acknowledged) -> bool {
    views::keep(domain);
    let forget = |table, index| forget(domain, table, index);
    // SAFETY: tables and pages of capabilities of the domain; nothing is mapped in them, and there are no capabilities.
    let done = unsafe { pool::release_tables(domain.directory, (&domain.quota, acknowledged), SLICE, forget) };
    if done {
        views::release(domain, acknowledged);
        let blocks = domain.ports.iter().chain([&domain.nested]).map(|place| place.swap(0, Ordering::Relaxed));
        for block in blocks.filter(|&block| block != 0) {
            // SAFETY: no view shows it any more, nor does a guest use it; the nested table is empty.
            unsafe { pool::release(PhysAddr::truncate(block), &domain.quota, acknowledged) };
        }
    }
    done
}
