//! Selectors of the hostile domain and its maker.
//!
//! The maker keeps what the hostile domain has in a range of selectors of its own, at the same distances, and delegates the
//! whole range again and again: what is there already is left alone.
//! Concurrency: constants.

/// The program's own domain.
pub const SELF: u64 = 32;
/// Where the maker keeps the hostile domain's capabilities: 2 to the power of [`ORDER`] selectors.
pub const KEPT: u64 = 0x4000;
pub const ORDER: u32 = 9;

/// Offsets, which are selectors in the hostile domain: its own domain, for all but contexts, and for contexts only,
pub const DOMAIN: u64 = 0;
pub const CONTEXTS: u64 = 1;
/// worker, and its scheduling context, of each core,
pub const WORKER: u64 = 2;
pub const TIME: u64 = 6;
/// semaphores of the maker, and signals to the first two,
pub const SEMAPHORES: u64 = 0x10;
pub const PLAIN: u64 = 6;
pub const SIGNALS: u64 = 0x16;
/// portals of the maker, of the victim, and of servers in the hostile domain, and those servers, for each core,
pub const MAKER: u64 = 0x20;
pub const VICTIM: u64 = 0x24;
pub const SERVER: u64 = 0x28;
pub const SERVER_PORTAL: u64 = 0x2C;
/// interrupts, scheduling contexts for idle time, registers of the processor,
pub const INTERRUPTS: u64 = 0x30;
pub const IDLE: u64 = 0x32;
pub const REGISTERS: u64 = 0x34;
/// and the event portals of each core.
pub const EVENTS: u64 = 0x100;
/// What the hostile domain makes itself: eight groups of eight.
pub const OWN: u64 = 0x200;
pub const GROUPS: u64 = 8;
/// In a group: two semaphores, a local and a global context, a scheduling context for that, a portal to the local one,
pub const LOCAL: u64 = 2;
pub const GLOBAL: u64 = 3;
pub const RUNS: u64 = 4;
pub const PORTAL: u64 = 5;
/// a domain, and a signal to the first semaphore.
pub const CHILD: u64 = 6;
pub const SIGNAL: u64 = 7;

/// First event portal of a core.
pub const fn events(core: u64) -> u64 {
    EVENTS + 32 * core
}

/// Selectors of the maker for itself: contexts of its handlers and servers, and portals of the supervisor.
pub const HANDLERS: u64 = 0x5000;
pub const SERVES: u64 = 0x5008;
pub const HOSTILE: u64 = 0x5018;
pub const VICTIM_DOMAIN: u64 = 0x5010;
/// The interrupts, which the maker has in any case.
pub const HELD_INTERRUPTS: u64 = 0x501A;
pub const VICTIM_CONTEXTS: u64 = 0x5020;
pub const VICTIM_EVENTS: u64 = 0x5100;
/// Where the maker takes what the hostile domain sends: objects, and pages.
pub const TAKEN: u64 = 0x6000;
pub const TAKEN_ORDER: u32 = 6;
pub const TAKEN_PAGES: u64 = 0x7_0000;
pub const TAKEN_PAGES_ORDER: u32 = 5;
