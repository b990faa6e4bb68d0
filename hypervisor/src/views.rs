//! A domain's address space on each core.
//!
//! Purpose: the (domain, core) tables: made when the core first runs the domain, filled by faults.
//! Invariants: a view shares the core's own kernel tables, and maps user memory and capabilities of its domain only.
//! Concurrency: a core makes and changes its own views only.
//! Source: lecture D:295; design plan §3; `docs/src/decisions/0002-table-pages.md`.
use crate::tables::{CoreTables, Error, HARDWARE, MachineTables, WINDOW_TABLES};
use crate::{cores, pool};
use abi::{PhysAddr, VirtAddr};
use core::sync::atomic::Ordering;
use memory::format::Host;
use memory::frames::{OutOfMemory, Reusable, Unshown};
use memory::layout::{GIB_510, GIB_511, IO_BITMAP, WINDOW};
use memory::mmu::Mmu;
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
    percpu::this().local.tables.set([tables.directory_510.get(), tables.window.get()]);
}

/// Gives back the views of a domain, which no core has loaded, and which show nothing of it.
pub fn release(domain: &Domain, acknowledged: &Acknowledged) {
    for (_id, (view, core)) in (0..).zip(domain.views.iter().zip(cores::running())) {
        let view = PhysAddr::truncate(view.load(Ordering::Acquire));
        if view.get() != 0 {
            core.shared().tags.release(&HARDWARE, view);
            #[cfg(feature = "shadow")]
            crate::shadow::note(|shadow, _| shadow.gone(_id, view.get()));
            take_apart(view, acknowledged);
        }
    }
    domain.views.iter().take(cores::running().len()).for_each(|view| view.store(0, Ordering::Relaxed));
}

/// Gives back a view, complete or not, that no core has loaded.
fn take_apart(view: PhysAddr, over: impl Reusable) {
    let Some(quota) = pool::kernel() else { return };
    let space = Table::<Host>::new(view);
    // What refers to anything but tables of the view's.
    for (virt, level, count) in [(GIB_510, 3, 1), (WINDOW, 2, WINDOW_TABLES as usize), (IO_BITMAP, 1, 3)] {
        let virt = VirtAddr::new(virt);
        if let Ok(table) = space.descend(&HARDWARE, virt, level, &mut none) {
            (virt.index(level)..).take(count).for_each(|index| HARDWARE.write(table, index, 0));
        }
    }
    HARDWARE.write(view, NOTE, 0);
    // SAFETY: tables of this view only, which are empty now.
    unsafe {
        pool::release_tables(view, (quota, over), usize::MAX, |_, _| ());
        pool::release_clean(view, quota, over);
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

/// Where no tables come from.
fn none(_: PhysAddr, _: usize) -> Result<PhysAddr, OutOfMemory> {
    Err(OutOfMemory::Pool)
}

/// The views that a domain has.
fn all(domain: &Domain) -> impl Iterator<Item = PhysAddr> {
    let views = domain.views.iter().take(cores::running().len()).map(|view| view.load(Ordering::Acquire));
    views.filter(|&view| view != 0).map(PhysAddr::truncate)
}

/// The calling core's view of `domain`, made if this is the first use.
///
/// # Errors
/// The pool is exhausted.
pub fn view(domain: &Domain) -> Result<Table<Host>, Error> {
    let local = &percpu::this().local;
    let slot = domain.views.get(local.id.get() as usize).ok_or(OutOfMemory::Pool)?;
    let known = slot.load(Ordering::Relaxed);
    if known != 0 {
        return Ok(Table::new(PhysAddr::truncate(known)));
    }
    let machine = MACHINE.get().ok_or(OutOfMemory::Pool)?;
    let [directory_510, window] = local.tables.get().map(PhysAddr::truncate);
    let core = CoreTables { root: PhysAddr::truncate(local.root.get()), directory_510, window };
    let view = Table::new(pool::table()?);
    machine.space(&view, &core).inspect_err(|_| take_apart(view.root(), Unshown))?;
    slot.store(view.root().get(), Ordering::Relaxed);
    Ok(view)
}
