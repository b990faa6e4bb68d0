//! The cores: starting them, and what each does first.
//!
//! Purpose: every core that the firmware lists and that answers gets a number, its own page tables and its timer.
//! Invariants: numbers are dense, in the order in which cores came up, the boot core is 0; a core that does not answer
//! is reported and left out, and can do no harm later (see `arch::application`); waiting cores halt.
//! Concurrency: one core is started at a time; it takes its number and tables from [`START`], then announces itself in
//! the registry, whose entries are atomics.
//! Source: Intel SDM volume 3, §9.4.4; design plan §3; issue "a multicore machine comes up".
use crate::log::{debug, error, info, warning};
use crate::stop::give_up;
use crate::tables::{CoreTables, MachineTables, WINDOW_PAGES, core_pages};
use crate::{clock, pool, scheduler, translations, vcpu, vectors, views};
use abi::PhysAddr;
use arch::application::Trampoline;
use arch::features::Features;
use arch::{apic, control, cpu, descriptors, entry, window};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use firmware::acpi_tables::Core;
use percpu::{Hazard, Shared};
use sync::Spin;

/// A core that runs.
#[derive(Debug)]
pub struct RunningCore {
    apic_id: AtomicU32,
    acpi_id: AtomicU32,
    online: AtomicU32,
    ticks: AtomicU32,
    page: AtomicU64,
    /// Word of the scheduling context that stands for the time in which the core has nothing to do; 0 before there is one.
    pub idle: AtomicU64,
}

/// Cores that can be used: a domain's page of views has as many entries.
pub const MOST: u32 = 512;
static RUNNING: [RunningCore; MOST as usize] = [const { RunningCore::new() }; MOST as usize];
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Number and tables that the core being started takes over; whoever runs on other tables parks.
static START: Spin<Option<(u32, CoreTables)>> = Spin::new(None);

/// How long a reset core gets before its start-up interrupt, in microseconds (Intel SDM).
const AFTER_RESET: u64 = 10_000;
/// How long a core gets to answer its first start-up interrupt, in microseconds, before it gets a second.
const FIRST_ANSWER: u64 = 50_000;
/// How long it gets after that; emulators on a busy host take tens of milliseconds.
const LAST_ANSWER: u64 = 2_000_000;
/// How long all cores together may keep silent; a table that lists thousands of cores that do not exist ends here.
const ALL_SILENCE: u64 = 10_000_000;
/// How long a core's timer gets to fire once, in microseconds.
const TICK: u64 = 20_000_000;

impl RunningCore {
    const fn new() -> Self {
        let [apic_id, acpi_id, online, ticks] = [const { AtomicU32::new(0) }; 4];
        Self { apic_id, acpi_id, online, ticks, page: AtomicU64::new(0), idle: AtomicU64::new(0) }
    }

    /// Its number in the firmware's tables.
    pub fn acpi_id(&self) -> u32 {
        self.acpi_id.load(Ordering::Relaxed)
    }

    /// The id of its interrupt controller.
    #[inline]
    pub fn apic_id(&self) -> u32 {
        self.apic_id.load(Ordering::Relaxed)
    }

    /// What other cores may touch of it.
    #[inline]
    pub fn shared(&self) -> &'static Shared {
        // SAFETY: `announce` noted the address of the page before the core was one of those that run.
        unsafe { percpu::shared_of(self.page.load(Ordering::Relaxed)) }
    }
}

/// The cores that run, by number.
#[inline]
pub fn running() -> &'static [RunningCore] {
    &RUNNING[..COUNT.load(Ordering::Acquire).min(MOST) as usize]
}

/// Counts a timer interrupt of the calling core.
pub fn tick() {
    if let Some(core) = running_slot(percpu::this().local.id.get()) {
        core.ticks.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether there is one core only.
#[inline]
pub fn is_alone() -> bool {
    COUNT.load(Ordering::Relaxed) == 1
}

fn running_slot(id: u32) -> Option<&'static RunningCore> {
    RUNNING.get(id as usize)
}

/// Puts the calling core into its final state, after it runs on its own tables.
fn settle(features: &Features) {
    if translations::has_tags() {
        // SAFETY: boot has found that; the core's own tables are loaded, which have none.
        unsafe { arch::control::enable_tags() };
    }
    apic::enable();
    entry::enable_syscall();
    vectors::start_core();
    vcpu::start_core();
    let local = &percpu::this().local;
    local.apic_id.set(apic::id());
    if features.tsc_aux {
        // SAFETY: the register exists, and ring 3 reads the core's number from it.
        unsafe { arch::control::set_tsc_aux(local.id.get()) };
    }
}

/// Prepares the boot core's interrupt controller, and the registry for `listed` cores. `None` without memory.
#[must_use]
pub fn start_boot_core(features: &Features, listed: &[Core]) -> Option<()> {
    vectors::start(features)?;
    vcpu::start(features)?;
    settle(features);
    let [_, _, page] = arch::boot::boot_core_pages();
    announce(0, listed.first()?, page.get().wrapping_add(memory::layout::IMAGE_OFFSET));
    Some(())
}

fn announce(id: u32, listed: &Core, page: u64) {
    if let Some(core) = running_slot(id) {
        core.apic_id.store(listed.apic_id, Ordering::Relaxed);
        core.acpi_id.store(listed.acpi_id, Ordering::Relaxed);
        core.page.store(page, Ordering::Relaxed);
        core.online.store(1, Ordering::Release);
    }
    COUNT.fetch_add(1, Ordering::Release);
    info!("core {id}: up, APIC id {}", listed.apic_id);
}

/// Starts all cores of `listed` but the first, with the trampoline at `page`.
pub fn start_others(listed: &[Core], machine: &MachineTables, page: PhysAddr) {
    let Some(others) = listed.get(1..).filter(|others| !others.is_empty()) else { return };
    // SAFETY: the plan found the page free, and it is given to nobody.
    let Some(trampoline) = (unsafe { Trampoline::install(page) }) else {
        return error!("the trampoline does not fit at {page}; using the boot core only");
    };
    for core in others {
        // SAFETY: the core has run nothing yet.
        unsafe { apic::send_init(core.apic_id) };
    }
    wait_for(AFTER_RESET, || false);
    let give_up = cpu::time_stamp() + u64::from(clock::khz()) * ALL_SILENCE / 1000;
    let mut silent = 0;
    for (tried, core) in others.iter().enumerate() {
        if silent > 0 && cpu::time_stamp() > give_up {
            return warning!("{silent} cores did not come up; {} are not tried", others.len() - tried);
        }
        let id = COUNT.load(Ordering::Acquire);
        let Ok((pages, tables)) = core_pages().and_then(|pages| Ok((pages, machine.core(pages)?))) else {
            return error!("no kernel memory for core {id} and those after it; raise kernel-memory=");
        };
        if start_one(&trampoline, id, core.apic_id, &tables) {
            announce(id, core, arch::pool::virt(pages.local).unwrap_or(0));
        } else {
            // It may still come, and park on its tables: they stay its own.
            silent += 1;
            warning!("core with APIC id {} does not come up; it is left out", core.apic_id);
        }
    }
    debug!("memory pool: {} frames free after the start of the cores", pool::free());
}

/// Starts the core `apic_id` as number `id`. False if it does not answer; then it will not take its number later.
fn start_one(trampoline: &Trampoline, id: u32, apic_id: u32, tables: &CoreTables) -> bool {
    *START.lock() = Some((id, *tables));
    trampoline.offer(apic_id, tables.root);
    for patience in [FIRST_ANSWER, LAST_ANSWER] {
        // SAFETY: the tables are this core's own; it was reset, and if it runs already it ignores this.
        unsafe { trampoline.start(apic_id) };
        if wait_for(patience, || trampoline.taken()) {
            break;
        }
    }
    if trampoline.withdraw() {
        return false;
    }
    let came_up = || running_slot(id).is_some_and(|slot| slot.online.load(Ordering::Acquire) != 0);
    if wait_for(LAST_ANSWER, came_up) {
        return true;
    }
    // The number is taken back; if it is gone, the core is alive and on its way.
    if START.lock().take().is_some() {
        return false;
    }
    wait_for(LAST_ANSWER, came_up) || give_up!("core {id} took its number and then fell silent")
}

/// Waits until `done`, at most `microseconds`; the answer is whether it is.
pub fn wait_for(microseconds: u64, done: impl Fn() -> bool) -> bool {
    let end = cpu::time_stamp() + u64::from(clock::khz()) * microseconds / 1000;
    while !done() {
        if cpu::time_stamp() > end {
            return done();
        }
        sync::relax();
    }
    true
}

/// First Rust code of a core that was started; it runs on its own stack and tables.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn application_start() -> ! {
    let local = &percpu::this().local;
    let offer = START.lock().take_if(|(_, tables)| tables.root == cpu::root());
    let Some((id, tables)) = offer else { cpu::halt() };
    local.id.set(id);
    local.root.set(tables.root.get());
    let features = Features::detect();
    // SAFETY: the tables have no-execute bits, no user pages; the gates were built by the boot core; the window's
    // tables are this core's.
    unsafe {
        control::enable(&features);
        descriptors::load();
        window::install(arch::pool::virt(tables.window).unwrap_or(0), WINDOW_PAGES);
    }
    views::start_core(&tables);
    settle(&features);
    if let Some(slot) = running_slot(local.id.get()) {
        slot.online.store(1, Ordering::Release);
    }
    apic::enable_timer();
    apic::arm(cpu::time_stamp() + u64::from(clock::khz()));
    // A core whose timer does not fire is reported by the boot core, and is of no use.
    while running_slot(id).is_some_and(|slot| slot.ticks.load(Ordering::Relaxed) == 0) {
        cpu::wait();
    }
    // SAFETY: in the kernel, interrupts off; nothing else on this core has a store.
    scheduler::enter(&unsafe { arch::pool::store() })
}

/// What other cores may touch of core `id`, and the id of its interrupt controller.
pub fn remote(id: u32) -> Option<(&'static Shared, u32)> {
    running().get(id as usize).map(|core| (core.shared(), core.apic_id()))
}

/// Lets the boot core's timer fire as the others' do, and reports the cores whose timer does not.
pub fn check_timers() {
    apic::enable_timer();
    apic::arm(cpu::time_stamp() + u64::from(clock::khz()));
    let ticked = |core: &RunningCore| core.ticks.load(Ordering::Relaxed) != 0;
    let all = wait_for(TICK, || {
        cpu::breathe();
        running().iter().all(ticked)
    });
    for (id, _) in running().iter().enumerate().filter(|(_, core)| !all && !ticked(core)) {
        warning!("core {id}: its timer does not fire");
    }
    info!("cores: {} up, {} timers fire", running().len(), running().iter().filter(|core| ticked(core)).count());
}

/// Held while others are asked.
static ASKING: Spin<()> = Spin::new(());

/// Has all other cores come by a point where they have no borrow of an object, and waits until each has; `meanwhile`, this
/// core does what others may be waiting for in turn.
pub fn ask_others(meanwhile: impl Fn()) {
    // One at a time: what a core does for one who asks must not count as done for another who asks a moment later.
    let _asking = loop {
        if let Some(guard) = ASKING.try_lock() {
            break guard;
        }
        meanwhile();
        sync::relax();
    };
    let own = percpu::this().local.id.get();
    let others = || (0..running().len() as u32).filter(move |&id| id != own).filter_map(remote);
    for (shared, apic_id) in others() {
        shared.raise(Hazard::Grace);
        apic::send_request(apic_id);
    }
    for (shared, _) in others() {
        while shared.pending(Hazard::Grace) {
            meanwhile();
            sync::relax();
        }
    }
}
