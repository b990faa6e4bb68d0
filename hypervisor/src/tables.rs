//! The page tables of the kernel: of the machine, and of each core.
//!
//! Purpose: the layout of `memory::layout`, built in frames of the pool.
//! Invariants: image and pool are mapped once, in tables that all cores share and that never change after boot; every
//! section has its own rights and no page is both writable and executable; below every stack lies an absent page; the
//! three pages of the I/O bitmap show all ones until a domain with ports runs.
//! Concurrency: boot core, before the core in question runs.
//! Source: design plan §3 (which table page belongs to whom); `docs/src/decisions/0002-table-pages.md`.
use crate::pool;
use abi::address::PAGE_SIZE;
use abi::{PhysAddr, VirtAddr};
use arch::boot::{self, Section};
use arch::pool::Hardware;
use memory::format::{Attributes, Format, Host};
use memory::frames::{Order, OutOfMemory};
use memory::layout;
use memory::mmu::Mmu;
use memory::table::{MapError, Mapping, Source, Table};

/// Frames of a core that are not tables.
#[derive(Clone, Copy, Debug)]
pub struct CorePages {
    /// Kernel stack, lowest page first, contiguous.
    pub stack: PhysAddr,
    /// Interrupt stacks 1 to 4, contiguous.
    pub interrupt_stacks: PhysAddr,
    /// Core-local page.
    pub local: PhysAddr,
}

/// What the tables of all cores have in common.
#[derive(Debug)]
pub struct MachineTables {
    /// Directory of GiB 510 with the entries of image and pool.
    template: PhysAddr,
    /// The frame of all ones.
    ones: PhysAddr,
    /// Page of the local interrupt controllers, if they are used by page.
    local_apic: Option<PhysAddr>,
}

/// The address space of a core on which no domain runs.
#[derive(Clone, Copy, Debug)]
pub struct CoreTables {
    /// Top-level table.
    pub root: PhysAddr,
    /// Directory of GiB 510, shared by all address spaces of the core.
    pub directory_510: PhysAddr,
    /// First of the contiguous tables of the temporal window, shared likewise.
    pub window: PhysAddr,
}

/// Why tables could not be built.
pub type Error = MapError;

/// The processor's view of tables. This module and `domain` name frames that they allocated as tables, and no others.
// SAFETY: see above: every table comes from `pool::table` or a directory entry that names one.
pub const HARDWARE: Hardware = unsafe { Hardware::new() };

const RW: Attributes = Attributes::READ.union(Attributes::WRITE).union(Attributes::GLOBAL);
/// Leaf tables of the temporal window: 8 of 2 MiB.
pub const WINDOW_TABLES: u64 = layout::WINDOW_SIZE >> 21;

/// Pages that the temporal window of a core can show.
pub const WINDOW_PAGES: u32 = (layout::WINDOW_SIZE / PAGE_SIZE) as u32;

fn map(table: &Table<Host>, virt: u64, phys: PhysAddr, size: u64, attributes: Attributes) -> Result<(), Error> {
    map_by(table, virt, phys, size, attributes, &mut own)
}

fn map_by(
    table: &Table<Host>,
    virt: u64,
    phys: PhysAddr,
    size: u64,
    attributes: Attributes,
    frame: Source<'_>,
) -> Result<(), Error> {
    table.map(&HARDWARE, Mapping { virt: VirtAddr::new(virt), phys, size, attributes }, frame)
}

/// Where the kernel's own tables come from.
fn own(_: PhysAddr, _: usize) -> Result<PhysAddr, OutOfMemory> {
    pool::table()
}

fn frame(order: Order) -> Result<PhysAddr, Error> {
    Ok(pool::address(pool::zeroed(order)?))
}

impl MachineTables {
    /// Maps image and `pool` (physical start and size in bytes) in new tables.
    ///
    /// # Errors
    /// The pool is exhausted.
    pub fn build(pool: (PhysAddr, u64), local_apic: Option<PhysAddr>) -> Result<Self, Error> {
        let table = Table::<Host>::new(frame(Order::PAGE)?);
        let read_only = Attributes::READ | Attributes::GLOBAL;
        let rights = [read_only | Attributes::EXECUTE, read_only, RW];
        for (Section { start, end }, attributes) in boot::sections().into_iter().zip(rights) {
            map(&table, start.get(), boot::image_phys(start), end.get() - start.get(), attributes)?;
        }
        map(&table, layout::POOL_BASE, pool.0, pool.1, RW)?;
        let template = table.descend(&HARDWARE, VirtAddr::new(layout::GIB_510), 2, &mut own)?;
        let ones = pool::zeroed(Order::PAGE)?;
        // SAFETY: the frame was just handed out to us.
        unsafe { arch::pool::fill(ones.number().0, 0, u64::MAX) };
        Ok(Self { template, ones: pool::address(ones), local_apic })
    }

    /// Builds the address space of a core.
    ///
    /// # Errors
    /// The pool is exhausted.
    pub fn core(&self, pages: CorePages) -> Result<CoreTables, Error> {
        let table = Table::<Host>::new(frame(Order::PAGE)?);
        let directory_510 = table.descend(&HARDWARE, VirtAddr::new(layout::GIB_510), 2, &mut own)?;
        for index in 0..VirtAddr::new(layout::CORE_LOCAL).index(2) {
            HARDWARE.write(directory_510, index, HARDWARE.read(self.template, index));
        }
        map(&table, layout::STACK_BOTTOM, pages.stack, layout::STACK_PAGES * PAGE_SIZE, RW)?;
        let size = layout::INTERRUPT_STACK_PAGES * PAGE_SIZE;
        for ist in 1..=layout::INTERRUPT_STACKS {
            let start = pages.interrupt_stacks.offset((ist - 1) * size);
            map(&table, layout::interrupt_stack_top(ist) - size, start, size, RW)?;
        }
        if let Some(page) = self.local_apic {
            map(&table, layout::LOCAL_APIC, page, PAGE_SIZE, RW | Attributes::UNCACHED)?;
        }
        map(&table, layout::CORE_LOCAL, pages.local, PAGE_SIZE, RW)?;
        let window = frame(Order::covering(WINDOW_TABLES * PAGE_SIZE).unwrap_or(Order::MAX))?;
        let core = CoreTables { root: table.root(), directory_510, window };
        self.fill_511(&table, core.window, &mut own)?;
        Ok(core)
    }

    /// The two pages of a bitmap without ports.
    pub const fn no_ports(&self) -> [PhysAddr; 2] {
        [self.ones; 2]
    }

    /// Makes an empty top level one for a core, shares its own tables `directory_510` and those from `window` on, and maps no
    /// user memory; tables come from `frame`.
    ///
    /// # Errors
    /// `frame` fails.
    pub fn space(
        &self,
        table: &Table<Host>,
        [directory_510, window]: [PhysAddr; 2],
        frame: Source<'_>,
    ) -> Result<(), Error> {
        let pointers = table.descend(&HARDWARE, VirtAddr::new(layout::GIB_510), 3, frame)?;
        HARDWARE.write(pointers, VirtAddr::new(layout::GIB_510).index(3), Host::table(directory_510));
        self.fill_511(table, window, frame)
    }

    /// The kernel's entries of GiB 511: all-ones I/O bitmap, temporal window.
    fn fill_511(&self, table: &Table<Host>, window: PhysAddr, frame: Source<'_>) -> Result<(), Error> {
        for page in 0..3 {
            map_by(table, layout::IO_BITMAP + page * PAGE_SIZE, self.ones, PAGE_SIZE, Attributes::READ, frame)?;
        }
        let directory = table.descend(&HARDWARE, VirtAddr::new(layout::WINDOW), 2, frame)?;
        for (index, leaf) in (0..WINDOW_TABLES).zip(VirtAddr::new(layout::WINDOW).index(2)..) {
            HARDWARE.write(directory, leaf, Host::table(window.offset(index * PAGE_SIZE)));
        }
        Ok(())
    }
}

/// Shows the two pages of a domain's port bitmap to the processor in `space`; if it is the current one, at once. Returns
/// whether that changed anything.
///
/// # Errors
/// The pool is exhausted.
pub fn show_ports(space: &Table<Host>, bitmap: [PhysAddr; 2]) -> Result<bool, Error> {
    let mut changed = false;
    for (at, page) in (0..).zip(bitmap) {
        let (virt, entry) = (layout::IO_BITMAP + at * PAGE_SIZE, Host::leaf(page, 1, Attributes::READ));
        if space.put(&HARDWARE, VirtAddr::new(virt), 1, entry, &mut own)? {
            arch::cpu::flush_page(virt);
            changed = true;
        }
    }
    Ok(changed)
}

/// Frames for the pages of a core that is to be started.
///
/// # Errors
/// The pool is exhausted.
pub fn core_pages() -> Result<CorePages, Error> {
    let pages = |count: u64| frame(Order::covering(count * PAGE_SIZE).unwrap_or(Order::MAX));
    Ok(CorePages {
        stack: pages(layout::STACK_PAGES)?,
        interrupt_stacks: pages(layout::INTERRUPT_STACKS * layout::INTERRUPT_STACK_PAGES)?,
        local: pages(1)?,
    })
}
