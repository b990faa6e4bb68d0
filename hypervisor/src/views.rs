//! A domain's address space on each core.
//!
//! Purpose: the (domain, core) tables: made for the domain's first context there, filled by faults.
//! Invariants: a view shares the core's own kernel tables, and maps user memory and capabilities of its domain only. The domain
//! pays for its kernel part, which stays as long as the domain, the core for tables of user memory (`cache.rs`).
//! Concurrency: any core makes one, complete before others find it; its own core fills it; what others take from it they take
//! with the domain's region held.
//! Source: lecture D:295; design plan §3; `docs/src/decisions/0002-table-pages.md`.
use crate::tables::{self, CoreTables, Error, HARDWARE, MachineTables, WINDOW_TABLES};
use crate::{cores, pool};
use abi::{PhysAddr, VirtAddr};
use core::sync::atomic::Ordering;
use memory::format::{Format, Host};
use memory::frames::{OutOfMemory, Reusable, Unshown};
use memory::layout::{GIB_510, GIB_511, IO_BITMAP, WINDOW};
use memory::mmu::Mmu;
use memory::quota::Quota;
use memory::shootdown::{Acknowledged, NOTE};
use memory::space;
use memory::table::Table;
use objects::Domain;
use sync::Once;

static MACHINE: Once<MachineTables> = Once::new();

/// Keeps what the views of all cores share.
pub fn start(tables: MachineTables) -> &'static MachineTables {
    MACHINE.call_once(|| tables)
}

/// Keeps what the calling core's views share.
pub fn start_core(tables: &CoreTables) {
    for (place, table) in percpu::this().shared.tables.iter().zip([tables.directory_510, tables.window]) {
        place.store(table.get(), Ordering::Relaxed);
    }
}

/// No core takes tables of the domain's views back any more.
pub fn keep(domain: &Domain) {
    for (view, core) in domain.views.iter().zip(cores::running()) {
        let view = view.load(Ordering::Acquire);
        if view != 0 {
            core.shared().views.part(&HARDWARE, PhysAddr::truncate(view));
        }
    }
}

/// Gives back the views of a domain, which no core has loaded, and which show nothing of it.
pub fn release(domain: &Domain, acknowledged: &Acknowledged) {
    for (_id, (view, core)) in (0..).zip(domain.views.iter().zip(cores::running())) {
        let view = PhysAddr::truncate(view.load(Ordering::Acquire));
        if view.get() != 0 {
            core.shared().tags.release(&HARDWARE, view);
            #[cfg(feature = "shadow")]
            crate::shadow::note(|shadow, _| shadow.gone(_id, view.get()));
            // SAFETY: tables of this view only, which are empty now.
            unsafe { pool::release_tables(view, (&core.shared().account, acknowledged), usize::MAX, |_, _| ()) };
            take_apart(view, (&domain.quota, acknowledged));
        }
    }
    domain.views.iter().take(cores::running().len()).for_each(|view| view.store(0, Ordering::Relaxed));
}

/// Gives back a view, complete or not, that no core has loaded and that has no tables of user memory.
fn take_apart(view: PhysAddr, (quota, over): (&Quota, impl Reusable)) {
    let space = Table::<Host>::new(view);
    // What refers to anything but tables of the view's.
    for (virt, level, count) in [(GIB_510, 3, 1), (WINDOW, 2, WINDOW_TABLES as usize), (IO_BITMAP, 1, 3)] {
        let virt = VirtAddr::new(virt);
        if let Ok(table) = space.descend(&HARDWARE, virt, level, &mut none) {
            (virt.index(level)..).take(count).for_each(|index| HARDWARE.write(table, index, 0));
        }
    }
    HARDWARE.write(view, NOTE, 0);
    let virt = VirtAddr::new(GIB_511);
    for level in 1..=Host::LEVELS {
        let Ok(table) = space.descend(&HARDWARE, virt, level, &mut none) else { continue };
        HARDWARE.write(table, virt.index(level), 0);
        // SAFETY: a table of this view, empty now, which nothing refers to in a moment.
        unsafe { pool::release_clean(table, quota, over) };
    }
}

/// Takes entry `index` of the directory of capabilities from the views of a domain.
pub fn forget_capabilities(domain: &Domain, index: usize) {
    for view in all(domain) {
        let directory = Table::<Host>::new(view).descend(&HARDWARE, VirtAddr::new(GIB_511), 2, &mut none);
        directory.into_iter().for_each(|directory| HARDWARE.write(directory, index, 0));
    }
}

/// If entry `index` of `table` is one of a directory of the domain's master, takes what was copied of it from the views.
pub fn forget_leaves(domain: &Domain, table: PhysAddr, index: usize) {
    let Some((upper, middle)) = pool::referrer(table) else { return };
    if let Some((_, first)) = pool::referrer(upper).filter(|&(top, _)| top == domain.directory) {
        let virt = VirtAddr::new((first << 39 | middle << 30 | index << 21) as u64);
        all(domain).for_each(|view| _ = space::forget(&HARDWARE, &Table::new(view), virt));
    }
}

/// Shows no ports in a view.
pub fn hide_ports(view: &Table<Host>) {
    if let Some(machine) = MACHINE.get() {
        // The tables for that are there.
        let _ = tables::show_ports(view, machine.no_ports());
    }
}

/// Where no tables come from.
fn none(_: PhysAddr, _: usize) -> Result<PhysAddr, OutOfMemory> {
    Err(OutOfMemory::Pool)
}

/// The views that a domain has.
pub fn all(domain: &Domain) -> impl Iterator<Item = PhysAddr> {
    let views = domain.views.iter().take(cores::running().len()).map(|view| view.load(Ordering::Acquire));
    views.filter(|&view| view != 0).map(PhysAddr::truncate)
}

/// The calling core's view of `domain`, made if this is the first use.
///
/// # Errors
/// As for [`of_core`].
pub fn view(domain: &Domain) -> Result<Table<Host>, Error> {
    of_core(domain, percpu::this().local.id.get())
}

/// The view of `domain` on core `id`, one that runs; made, without user memory, if there is none. The domain pays.
///
/// # Errors
/// The domain's quota or the pool is exhausted.
#[inline]
pub fn of_core(domain: &Domain, id: u32) -> Result<Table<Host>, Error> {
    match domain.views.get(id as usize).map_or(0, |slot| slot.load(Ordering::Acquire)) {
        0 => make(domain, id),
        known => Ok(Table::new(PhysAddr::truncate(known))),
    }
}

#[cold]
fn make(domain: &Domain, id: u32) -> Result<Table<Host>, Error> {
    let (slot, core) = domain.views.get(id as usize).zip(cores::running().get(id as usize)).ok_or(OutOfMemory::Pool)?;
    let tables = core.shared().tables.each_ref().map(|table| PhysAddr::truncate(table.load(Ordering::Relaxed)));
    let (machine, quota) = (MACHINE.get().ok_or(OutOfMemory::Pool)?, &domain.quota);
    let view = Table::new(pool::page(quota)?);
    let undo = || take_apart(view.root(), (quota, Unshown));
    machine.space(&view, tables, &mut |_, _| pool::page(quota)).inspect_err(|_| undo())?;
    // Another core may have made one meanwhile.
    match slot.compare_exchange(0, view.root().get(), Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(view),
        Err(known) => {
            undo();
            Ok(Table::new(PhysAddr::truncate(known)))
        }
    }
}
