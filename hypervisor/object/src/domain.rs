//! Protection domains.
//!
//! Purpose: what a domain consists of: its memory, its ports, its capabilities, and what it may have of the kernel's.
//! Invariants: the tables are frames of the pool; all but the views' are charged to the domain's quota, the directory
//! and the page of views to its donor's. A domain is in use while a capability names it or a context belongs to it;
//! after that its spaces are emptied. The record itself stays until nothing that it has paid for is left.
//! Concurrency: tables never change place, and go when they are empty; so do port bitmaps. Slabs are behind a lock.
//! Source: lecture D:281-311; design plan §3; `docs/src/decisions/0019-lifetimes.md`.
use crate::reference::Ref;
use crate::slabs::Slabs;
use abi::PhysAddr;
use capability::tree::SpaceIndex;
use memory::format::Host;
use memory::quota::Quota;
use memory::space::Latest;
use memory::table::Table;
use sync::atomic::AtomicU64;
use sync::{Count, Latch, Spin};

/// A protection domain.
pub struct Domain {
    /// A page of table entries: the lower half is the top level of the master of its user memory, the upper half the
    /// directory of its object space (the entries of GiB 511 from the capability space on).
    pub directory: PhysAddr,
    /// A page with a word per core: the top-level table of that core's view, 0 before the core first needs it.
    pub views: &'static [AtomicU64; 512],
    /// What the domain has, by space: memory, ports, objects.
    pub spaces: [SpaceIndex; 3],
    /// Kernel memory that it may use.
    pub quota: Quota,
    /// Who gave it that, and gets it back.
    pub donor: Option<Ref<Self>>,
    /// Its part of the mapping tree, and its tables; see the kernel's `mapping/lock.rs`.
    pub region: Latch,
    /// A directory of its user memory; for who holds the region.
    pub latest: Latest,
    /// Physical address of the latest table that was found not to be empty, while they are looked through; otherwise 0. For
    /// who holds the region.
    pub tidied: AtomicU64,
    /// What it has paid for.
    pub slabs: Spin<Slabs>,
    /// Capabilities, together one, and contexts.
    pub uses: Count,
    /// Use, and pages of its slabs, and domains that have their quota from it.
    pub count: Count,
    /// Physical addresses of its port bitmaps: of its threads (two pages), of its guests (three pages); 0 before it has a
    /// port for them.
    pub ports: [AtomicU64; 2],
    /// Physical address of the table of the memory that its guests see, 0 before there is one.
    pub nested: AtomicU64,
    /// How often something was taken from `nested`.
    pub lost: AtomicU64,
    /// Cores where it has had virtual CPUs: bits as those of a shootdown's targets.
    pub guests: AtomicU64,
}

impl Domain {
    /// A domain with these tables and this quota, no capability and no port.
    pub fn new(directory: PhysAddr, views: &'static [AtomicU64; 512], quota: Quota, donor: Option<Ref<Self>>) -> Self {
        Self {
            directory,
            views,
            spaces: Default::default(),
            quota,
            donor,
            region: Latch::default(),
            latest: Latest::default(),
            tidied: AtomicU64::new(0),
            slabs: Spin::new(Slabs::default()),
            uses: Count::default(),
            count: Count::default(),
            ports: Default::default(),
            nested: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            guests: AtomicU64::new(0),
        }
    }

    /// The master of its user memory.
    pub const fn master(&self) -> Table<Host> {
        Table::new(self.directory)
    }
}
