//! Vector registers: whose state is in them, and when it moves.
//!
//! Purpose: no context sees another's state, and none that leaves vector registers alone pays for those that do not.
//! Invariants: registers are available to ring 3 (CR0.TS clear) only while they hold the current context's state. On a
//! processor that leaks what they hold they have the initial state while a context runs that has not claimed them. A
//! context's state is in its area unless the area is the core's [`Local::vectors`].
//! Concurrency: areas belong to contexts and these to cores: everything happens on the calling core.
//! Source: design plan §3 (vector state); `docs/src/decisions/0018-vector-state.md`.
use crate::log::info;
use crate::pool;
use abi::PhysAddr;
use arch::features::{Features, VectorState};
use arch::vector_state as registers;
use core::sync::atomic::Ordering::Relaxed;
use ipc::state::{self, ImageLimits};
use objects::{Context, Page, Store};
use percpu::Local;
use sync::Once;

/// What boot found out.
struct Setup {
    state: VectorState,
    limits: ImageLimits,
    /// An image of the initial state.
    initial: &'static Page,
}
static SETUP: Once<Setup> = Once::new();

/// Why a context ends that cannot get an area.
pub const NO_MEMORY: core::fmt::Arguments<'static> = format_args!("no kernel memory for its vector registers");

/// Makes an area with the initial state of an empty page: x87 control word and MXCSR, the rest is 0.
fn initial_area(page: PhysAddr) -> Option<&'static Page> {
    let area = arch::pool::words(page)?;
    area[0].store(0x37F, Relaxed);
    area[3].store(0x1F80, Relaxed);
    Some(area)
}

/// Finds out, on the boot core, what all cores have. `None` without memory.
#[must_use]
pub fn start(features: &Features) -> Option<()> {
    let state = features.vector_state;
    let initial = initial_area(pool::table().ok()?)?;
    // FXSAVE writes which bits MXCSR has.
    let legacy = VectorState { components: 0, ..state };
    // SAFETY: CPUID announced the components, CR4 is written; the image is the initial one, and still is when it has come
    // back with that.
    unsafe {
        registers::enable(&state);
        registers::load(&legacy, initial);
        registers::save(&legacy, initial);
    }
    // Bits that exist on a processor that does not say: all but denormals-are-zeros.
    let mxcsr = if initial[3].load(Relaxed) >> 32 == 0 { 0xFFBF } else { (initial[3].load(Relaxed) >> 32) as u32 };
    let limits = ImageLimits { size: state.size as usize, components: state.components, mxcsr };
    SETUP.call_once(|| Setup { state, limits, initial });
    let policy = if state.leaks { "cleared" } else { "kept" };
    info!("vector registers: {} bytes, XCR0={:#x}, {policy} when others run", state.size, state.components);
    Some(())
}

/// Makes the calling core's registers, and what the firmware has left there, nobody's.
pub fn start_core() {
    let (local, Some(setup)) = (&percpu::this().local, SETUP.get()) else { return };
    // SAFETY: as in `start`; cores are alike.
    unsafe { registers::enable(&setup.state) };
    local.vectors_available.set(true);
    abandon(local, setup);
}

fn set_available(local: &Local, available: bool) {
    if local.vectors_available.replace(available) != available {
        registers::set_available(available);
    }
}

/// The page at `address`, if it is one.
fn area(address: u64) -> Option<&'static Page> {
    arch::pool::words(PhysAddr::truncate(address)).filter(|_| address != 0)
}

/// Saves the registers into the area whose contents they are.
fn save(local: &Local, state: &VectorState) {
    if let Some(area) = area(local.vectors.get()) {
        set_available(local, true);
        // SAFETY: available; a page of the pool, from which they were loaded and which did not change since.
        unsafe { registers::save(state, area) };
    }
}

/// Makes the registers nobody's, without saving them.
fn abandon(local: &Local, setup: &Setup) {
    if setup.state.leaks {
        set_available(local, true);
        // SAFETY: available; the initial image.
        unsafe { registers::load(&setup.state, setup.initial) };
    }
    local.vectors.set(0);
    set_available(local, false);
}

/// Whoever's state is in the registers: he does not run.
fn withhold(local: &Local, setup: &Setup) {
    if setup.state.leaks {
        save(local, &setup.state);
        abandon(local, setup);
    } else {
        set_available(local, false);
    }
}

/// Before `next` becomes current while the registers hold somebody's state.
#[cold]
pub fn switch(next: &Context) {
    let (local, Some(setup)) = (&percpu::this().local, SETUP.get()) else { return };
    if local.vectors.get() == next.vectors.load(Relaxed) {
        set_available(local, true);
    } else {
        withhold(local, setup);
    }
}

/// Gives the registers to `context`, with its state in them. False if there is no memory for that.
#[cold]
#[must_use]
pub fn claim(store: &Store<'_>, context: &Context) -> bool {
    let (local, Some(setup)) = (&percpu::this().local, SETUP.get()) else { return false };
    let Some((address, own)) = own_area(store, context) else { return false };
    if local.vectors.get() != address {
        save(local, &setup.state);
        set_available(local, true);
        // SAFETY: available; areas hold what `save`, `initial_area` or `change` wrote.
        unsafe { registers::load(&setup.state, own) };
        local.vectors.set(address);
        local.guest_vectors.set(context.identity().guest && !setup.state.leaks);
        local.plain.set(0);
    }
    set_available(local, true);
    true
}

/// Loads the state of `vcpu`, which is about to run; as [`claim`]. CR0.TS keeps threads away from it: the guest has a CR0 of
/// its own meanwhile.
#[inline]
#[must_use]
pub fn load(store: &Store<'_>, vcpu: &Context) -> bool {
    let (local, area) = (&percpu::this().local, vcpu.vectors.load(Relaxed));
    if area == 0 || local.vectors.get() != area || local.vectors_available.get() {
        let claimed = claim(store, vcpu);
        set_available(local, false);
        return claimed;
    }
    true
}

/// The area of `context`, which gets one if it has none. `None` without memory.
fn own_area(store: &Store<'_>, context: &Context) -> Option<(u64, &'static Page)> {
    let address = context.vectors.load(Relaxed);
    if let Some(area) = area(address) {
        return Some((address, area));
    }
    let page = pool::page(&store.get(context.identity().domain).quota).ok()?;
    context.vectors.store(page.get(), Relaxed);
    Some((page.get(), initial_area(page)?))
}

/// Shows the vector registers of `context` in the message page of its fault handler.
#[cold]
pub fn show(store: &Store<'_>, context: &Context, message: &Page) {
    let (local, Some(setup)) = (&percpu::this().local, SETUP.get()) else { return };
    let mut image = setup.initial;
    if let Some(area) = area(context.vectors.load(Relaxed)).filter(|_| claim(store, context)) {
        // XSAVEOPT leaves old contents where a component has its initial state.
        save(local, &VectorState { optimised: false, ..setup.state });
        // It need not be current.
        withhold(local, setup);
        image = area;
    }
    state::save_vectors(image, &setup.limits, message);
}

/// Replaces the vector registers of `context` by what is in a message page. False if there is no memory for that.
#[cold]
#[must_use]
pub fn change(store: &Store<'_>, context: &Context, message: &Page) -> bool {
    let (local, Some(setup)) = (&percpu::this().local, SETUP.get()) else { return false };
    let Some((address, area)) = own_area(store, context) else { return false };
    if local.vectors.get() == address {
        abandon(local, setup);
    }
    state::restore_vectors(message, &setup.limits, area);
    true
}

/// Gives the vector registers of `from`, of this core, to `to`, which has none yet.
#[cold]
pub fn hand_over(from: &Context, to: &Context) {
    forget(from, true);
    to.vectors.store(from.vectors.swap(0, Relaxed), Relaxed);
}

/// Takes the state of `context`, of this core, out of the registers, if it is there, into its area if that `stays` in use.
#[cold]
pub fn forget(context: &Context, stays: bool) {
    let (local, Some(setup)) = (&percpu::this().local, SETUP.get()) else { return };
    let address = context.vectors.load(Relaxed);
    if address != 0 && local.vectors.get() == address {
        if stays {
            save(local, &VectorState { optimised: false, ..setup.state });
        }
        abandon(local, setup);
    }
}
