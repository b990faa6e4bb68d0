//! A domain's address space on each core.
//!
//! Purpose: the (domain, core) tables: made when the core first runs the domain, filled by faults.
//! Invariants: a view shares the core's own kernel tables, and maps user memory and capabilities of its domain only.
//! Concurrency: a core makes and changes its own views only.
//! Source: lecture D:295; design plan §3; `docs/src/decisions/0002-table-pages.md`.
use crate::pool;
use crate::tables::{CoreTables, Error, HARDWARE, MachineTables};
use abi::{PhysAddr, VirtAddr};
use core::sync::atomic::Ordering;
use memory::format::Host;
use memory::frames::OutOfMemory;
use memory::layout::{GIB_511, IO_BITMAP};
use memory::table::{self, Table};
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

/// Gives back the tables of a view that no core has loaded.
pub fn release(view: PhysAddr) {
    let Some(quota) = pool::kernel() else { return };
    let mut free = |table| {
        // SAFETY: a table of this view only; its entry was just cleared, and no core has the view loaded.
        unsafe { pool::release(table, quota) };
        true
    };
    // Leaf tables belong to the domain.
    table::release::<Host>(&HARDWARE, view, 4, 0..256, 2, &mut free);
    let space = Table::<Host>::new(view);
    let own = |virt, level| space.descend(&HARDWARE, VirtAddr::new(virt), level, &mut || Err(OutOfMemory::Pool)).ok();
    let tables = [own(IO_BITMAP, 1), own(GIB_511, 2), own(GIB_511, 3), Some(view)];
    for table in tables.into_iter().flatten() {
        free(table);
    }
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
    let view = machine.space(&core)?;
    slot.store(view.root().get(), Ordering::Relaxed);
    Ok(view)
}
