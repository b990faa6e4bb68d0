//! Threads and servers of the programs that check the kernel from inside.
//!
//! Purpose: create them from Rust functions, with a starter per core that serves the startup events.
//! Invariants: objects have selectors from [`OBJECTS`] on, four per thread or server, message pages lie from [`PAGES`] on;
//! each has a stack of its own. Selectors and pages are never used twice.
//! Concurrency: threads are created by one thread at a time; each starter serves its own core.
//! Source: interface §5 and §6.
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::event::STARTUP;
use abi::qpd::Qpd;
use abi::{Hypercall, Mtd};

use crate::raw::{hypercall, word};

/// Selector of the program's own domain.
pub const SELF: u64 = 32;
/// First selector of what is created here.
pub const OBJECTS: u64 = 0x400;
/// First selector of event portals, 32 for each.
pub const EVENTS: u64 = 0x1000;
/// First message page.
pub const PAGES: u64 = 0x4000_0000;
/// Threads and servers.
const COUNT: usize = 32;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 1024]; COUNT]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 1024] }; COUNT]);
static ENTRIES: [AtomicU64; COUNT] = [const { AtomicU64::new(0) }; COUNT];
static STARTERS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static NEXT: AtomicU64 = AtomicU64::new(0);

global_asm!(
    "servers_start_entry:", "call {start}", "mov edi, 1", "syscall",
    start = sym start,
);

// SAFETY: defined above; only its address is used.
unsafe extern "C" {
    fn servers_start_entry();
}

/// Serves the startup event of thread `identity >> 32`, on the message page of the starter `identity & 0xFFFF_FFFF`.
extern "C" fn start(identity: u64) {
    let (index, page) = ((identity >> 32) as usize % COUNT, identity & 0xFFFF_FFFF);
    word(page, 4).store((Mtd::RIP_LEN | Mtd::RSP).bits(), SeqCst);
    word(page, 6).store(ENTRIES[index].load(SeqCst), SeqCst);
    word(page, 14).store(stack_top(index) - 8, SeqCst);
}

fn stack_top(index: usize) -> u64 {
    let stack = &raw const STACKS.0[index % COUNT];
    stack.addr() as u64 + 8192
}

/// A thread or server, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made(u64);

impl Made {
    /// Selector of its execution context.
    #[must_use]
    pub const fn context(self) -> u64 {
        OBJECTS + 4 * self.0
    }

    /// Selector of its scheduling context, or its portal.
    #[must_use]
    pub const fn other(self) -> u64 {
        self.context() + 1
    }

    /// Its message page.
    #[must_use]
    pub const fn page(self) -> u64 {
        PAGES + 0x1000 * self.0
    }

    /// First selector of its event portals.
    #[must_use]
    pub const fn events(self) -> u64 {
        EVENTS + 32 * self.0
    }

    /// Makes the portal of its event `event` one of `handler`, which starts at `entry` with `identity`.
    #[must_use]
    pub fn handled_by(self, handler: Self, event: u64, entry: u64, mtd: Mtd, identity: u64) -> u64 {
        portal(self.events() + event, handler.context(), entry, mtd, identity)
    }
}

/// Creates a portal; the statuses of its creation and of setting its identity, together.
pub fn portal(at: u64, context: u64, entry: u64, mtd: Mtd, identity: u64) -> u64 {
    hypercall(Hypercall::CreatePortal, 0, at, [SELF, context, mtd.bits(), entry])
        | hypercall(Hypercall::ControlPortal, 0, at, [identity, 0, 0, 0])
}

fn made() -> Made {
    Made(NEXT.fetch_add(1, SeqCst))
}

/// A server on `core` whose portal starts at `entry`, assembly that keeps the stack as it is and ends with a reply, and
/// tells it the address of its message page.
#[must_use]
pub fn server(core: u64, entry: u64) -> (Made, u64) {
    let made = made();
    let stack = stack_top(made.0 as usize);
    let status =
        hypercall(Hypercall::CreateContext, 0, made.context(), [SELF, made.page() | core, stack, made.events()]);
    (made, status | portal(made.other(), made.context(), entry, Mtd::empty(), made.page()))
}

/// A thread on `core` that runs the function at `entry`, which does not return, with `priority`.
#[must_use]
pub fn thread(core: u64, entry: u64, priority: u8) -> (Made, u64) {
    let starter = &STARTERS[core as usize % STARTERS.len()];
    let mut status = 0;
    if starter.load(SeqCst) == 0 {
        let (made, created) = server(core, (servers_start_entry as *const ()).addr() as u64);
        status |= created;
        starter.store(made.0 + 1, SeqCst);
    }
    let (starter, made) = (Made(starter.load(SeqCst) - 1), made());
    ENTRIES[made.0 as usize % COUNT].store(entry, SeqCst);
    status |= hypercall(Hypercall::CreateContext, 1, made.context(), [SELF, made.page() | core, 0, made.events()]);
    let identity = made.0 << 32 | starter.page();
    let start = (servers_start_entry as *const ()).addr() as u64;
    status |= made.handled_by(starter, STARTUP.into(), start, Mtd::empty(), identity);
    let quantum = Qpd::new(priority, 10_000).map_or(0, Qpd::word);
    (made, status | hypercall(Hypercall::CreateScheduling, 0, made.other(), [SELF, made.context(), quantum, 0]))
}
