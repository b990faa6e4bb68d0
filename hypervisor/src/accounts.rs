//! Accounts of time that no scheduling context is left for.
//!
//! Purpose: what each core idles, spends for others, and has spent for what is gone, where time queries find it.
//! Invariants: a core's accounts are in the scheduling context that stands for its idle time, and never run.
//! Concurrency: written by their core.
//! Source: interface §5 ("sc_ctrl") and §7.
use crate::create::publish_new;
use crate::{cores, lifetime, scheduler};
use abi::rights::SchedulingRights;
use abi::{Selector, Status};
use core::sync::atomic::Ordering::Relaxed;
use objects::{Context, Continuation, Domain, Identity, Ref, Scheduling, Store};

/// Accounts of a core, in the scheduling context that stands for its idle time: that time,
pub const IDLE: usize = 0;
/// time of calls from other cores,
pub const CROSS: usize = 1;
/// of scheduling contexts that are gone,
pub const KILLED: usize = 2;
/// and of contexts that are.
pub const KILLED_CONTEXTS: usize = 3;

/// Adds TSC ticks to an account of this core.
pub fn add(store: &Store<'_>, which: usize, ticks: u64) {
    let core = cores::running().get(percpu::this().local.id.get() as usize);
    let idle = core.and_then(|core| store.reference::<Scheduling>(core.idle.load(Relaxed)));
    if let Some(time) = idle.and_then(|idle| store.get(idle).times.get(which)) {
        time.add(ticks);
    }
}

/// Puts a scheduling context for the idle time of each core into the hypervisor's space.
///
/// # Errors
/// Its quota is exhausted.
pub fn claim(store: &Store<'_>, hypervisor: Ref<Domain>) -> Result<(), Status> {
    let message = store.get(hypervisor).views;
    let identity = Identity {
        domain: hypervisor,
        message,
        message_at: 0,
        core: 0,
        event_base: 0,
        global: true,
        proxy: true,
        guest: false,
    };
    let nobody = Context::new(identity, 0);
    nobody.set_continuation(Continuation::Dead);
    let nobody = lifetime::add(store, hypervisor, || nobody)?;
    for (id, core) in (0..).zip(cores::running()) {
        let idle = lifetime::add(store, hypervisor, || Scheduling::new(nobody, id, 0, scheduler::default_budget()))?;
        let rights = SchedulingRights::all().into();
        publish_new(store, hypervisor, Selector::new(id.into()), rights, idle)?;
        core.idle.store(idle.to_word(), Relaxed);
    }
    Ok(())
}
