//! A domain that has nothing to do with the hostile one but the machine, and a portal that the hostile one may call.
//!
//! A thread and a server on each core: the thread waits, calls the server, and looks at its registers, its pages and its
//! message page, which nobody else may change.
//! Concurrency: one thread and one server per core, each with pages of its own.
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::raw::{call, down, time_stamp, up, word};

/// Cores that there may be.
pub const CORES: usize = 4;
/// In the victim's space: a semaphore and a portal per core.
pub const SEMAPHORE: u64 = 0x10;
pub const PORTAL: u64 = 0x14;
/// First selector of event portals of a core, 32 each.
pub const EVENTS: u64 = 0x100;
/// Order of [`PAGES`].
pub const ORDER: u32 = 5;
/// TSC ticks that a thread waits in each round.
const PAUSE: u64 = 2_000_000;

/// What the victim has on a core.
#[repr(C, align(4096))]
pub struct Own {
    data: [AtomicU64; 512],
    stacks: [[AtomicU64; 512]; 2],
    /// Rounds of the thread, calls that the server has served, and what was not as it should be.
    pub rounds: AtomicU64,
    pub served: AtomicU64,
    pub wrong: AtomicU64,
    /// What was wrong first; what was found there, below the number of rounds before.
    pub what: AtomicU64,
    pub found: AtomicU64,
}

#[repr(C, align(0x2_0000))]
pub struct Pages([Own; CORES]);

const _: () = assert!(size_of::<Pages>() == 4096 << ORDER);

static PAGES: Pages = Pages(
    [const {
        Own {
            data: [const { AtomicU64::new(0) }; 512],
            stacks: [const { [const { AtomicU64::new(0) }; 512] }; 2],
            rounds: AtomicU64::new(0),
            served: AtomicU64::new(0),
            wrong: AtomicU64::new(0),
            what: AtomicU64::new(0),
            found: AtomicU64::new(0),
        }
    }; CORES],
);

global_asm!(
    "victim_work:", "call {work}", "ud2",
    "victim_serve:", "call {serve}", "mov edi, 1", "syscall",
    work = sym work, serve = sym serve,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn victim_work();
    fn victim_serve();
}

/// Where a thread and a server start.
pub fn entries() -> [u64; 2] {
    [victim_work as *const (), victim_serve as *const ()].map(|it| it.addr() as u64)
}

/// First page of the victim's data.
pub fn page() -> u64 {
    (&raw const PAGES).addr() as u64 >> 12
}

/// What belongs to a core.
pub fn own(core: u64) -> &'static Own {
    &PAGES.0[core as usize % CORES]
}

/// Top of the stack of the thread (0) or the server (1) of a core.
pub fn stack_top(core: u64, which: usize) -> u64 {
    (&raw const own(core).stacks[which & 1]).addr() as u64 + 4096
}

/// Message page of the thread (0) or the server (1) of a core.
pub const fn message_page(core: u64, which: u64) -> u64 {
    0x5200_0000 + core * 0x2000 + which * 0x1000
}

fn expect(own: &Own, what: u64, found: u64, expected: u64) {
    if found != expected && own.wrong.fetch_add(1, SeqCst) == 0 {
        own.what.store(what, SeqCst);
        own.found.store(found | own.rounds.load(SeqCst) << 32, SeqCst);
    }
}

extern "C" fn serve(core: u64) {
    let (own, page) = (own(core), message_page(core, 1));
    own.served.fetch_add(1, SeqCst);
    // Whoever calls: words only, and the answer is one more than the first.
    word(page, 4).store(word(page, 4).load(SeqCst).wrapping_add(1), SeqCst);
    word(page, 0).store(1, SeqCst);
}

/// Waits for a semaphore that nobody ups, with values in vector registers, and gives back what is there afterwards.
fn wait(semaphore: u64, value: u64, deadline: u64) -> [u64; 4] {
    let (mut status, mut found) = (semaphore << 8 | 1 << 4 | 12, [0; 3]);
    let [low, high, x87] = &mut found;
    // SAFETY: waits; the vector registers are used by nothing else here.
    unsafe {
        asm!("movq xmm0, {value}", "movq xmm15, {value}", "movq mm3, {value}", "syscall",
            "movq {low}, xmm0", "movq {high}, xmm15", "movq {x87}, mm3",
            value = in(reg) value, low = out(reg) *low, high = out(reg) *high, x87 = out(reg) *x87,
            inout("rdi") status, in("rsi") deadline >> 32, in("rdx") deadline & 0xFFFF_FFFF, out("rcx") _, out("r11") _);
    }
    [status, found[0], found[1], found[2]]
}

extern "C" fn work(core: u64) -> ! {
    let (own, page) = (own(core), message_page(core, 0));
    for round in 1.. {
        let pattern = |index: usize| (round << 16 | index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ core;
        own.data.iter().enumerate().for_each(|(index, word)| word.store(pattern(index), SeqCst));
        (5..500).for_each(|index| word(page, index).store(pattern(index), SeqCst));
        let found = wait(SEMAPHORE + core, pattern(7), time_stamp() + PAUSE);
        expect(own, 1, found[0], 1);
        found[1..].iter().for_each(|&value| expect(own, 2, value, pattern(7)));
        own.data.iter().enumerate().for_each(|(index, word)| expect(own, 3, word.load(SeqCst), pattern(index)));
        (5..500).for_each(|index| expect(own, 4, word(page, index).load(SeqCst), pattern(index)));
        word(page, 4).store(round, SeqCst);
        word(page, 0).store(1, SeqCst);
        expect(own, 5, call(PORTAL + core), (PORTAL + core) << 8);
        expect(own, 6, word(page, 4).load(SeqCst), round + 1);
        expect(own, 7, word(page, 0).load(SeqCst), 1);
        expect(own, 8, up(SEMAPHORE + core) << 8 | down(SEMAPHORE + core, 0), 0);
        own.rounds.store(round, SeqCst);
    }
    loop {
        core::hint::spin_loop();
    }
}
