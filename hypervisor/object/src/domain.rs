//! Protection domains.
//!
//! Purpose: what a domain consists of: its memory, its ports; capabilities join them.
//! Invariants: the tables are frames of the pool that belong to the domain.
//! Concurrency: tables never change place; the port bitmap appears once.
//! Source: lecture D:281-311; design plan §3.
use crate::reference::{Object, kind};
use abi::PhysAddr;
use capability::tree::SpaceIndex;
use memory::format::Host;
use memory::table::Table;
use sync::atomic::{AtomicU64, Ordering};

/// A protection domain.
#[derive(Debug)]
pub struct Domain {
    /// Top-level table of the master of its user memory.
    pub master_root: PhysAddr,
    /// A page with a word per core: the top-level table of that core's view, 0 before the core first needs it.
    pub views: &'static [AtomicU64; 512],
    /// Directory of the tables of its object space; the entries of GiB 511 from the capability space on are in use.
    pub objects: PhysAddr,
    /// What the domain has, by space: memory, ports, objects.
    pub spaces: [SpaceIndex; 3],
    ports: AtomicU64,
}

// SAFETY: the numbers of object types stand in `reference::kind`, each once.
unsafe impl Object for Domain {
    const KIND: u32 = kind::DOMAIN;
}

impl Domain {
    /// A domain with these tables, no capability and no port.
    #[must_use]
    pub fn new(master_root: PhysAddr, views: &'static [AtomicU64; 512], objects: PhysAddr) -> Self {
        Self { master_root, views, objects, spaces: Default::default(), ports: AtomicU64::new(0) }
    }

    /// The master of its user memory.
    #[must_use]
    pub const fn master(&self) -> Table<Host> {
        Table::new(self.master_root)
    }

    /// The first of the two pages of its port bitmap, if it ever owned a port.
    #[must_use]
    pub fn ports(&self) -> Option<PhysAddr> {
        let start = self.ports.load(Ordering::Acquire);
        (start != 0).then(|| PhysAddr::truncate(start))
    }

    /// Gives it a port bitmap.
    pub fn set_ports(&self, bitmap: PhysAddr) {
        self.ports.store(bitmap.get(), Ordering::Release);
    }
}
