//! Several cores hand on capabilities and take them back, at the same time.
//!
//! Three domains without contexts, a thread on each core: memory and objects go from domain to domain, rights are taken
//! back in part or whole, ranges are looked up. Nobody can say what is where in the meantime; in the end all goes.
//! Concurrency: a thread per core, which wait while [`RUNS`] is 0.
//! Source: interface §3 and §5.
use super::moves::{COUNT, Moves};
use super::{SELF, item, objects};
use crate::raw::{Checks, down, hypercall, time_stamp, up};
use crate::threads;
use abi::{Crd, Hypercall};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use rt::println;

/// Domains, and semaphores that are handed on, 16 of them.
const DOMAINS: u64 = 0x2800;
const OBJECTS: u64 = 0x2810;
/// Ups of the main thread for each core, and back.
const BEGIN: u64 = 0x2820;
const END: u64 = 0x2830;

#[repr(align(0x1_0000))]
struct Pages {
    _words: [[AtomicU64; 512]; 16],
}
static PAGES: Pages = Pages { _words: [const { [const { AtomicU64::new(0) }; 512] }; 16] };
static STEPS: AtomicU64 = AtomicU64::new(0);
static CORES: AtomicU64 = AtomicU64::new(0);

/// Makes the threads, which stay. Statuses together.
pub fn prepare(cores: u64) -> u64 {
    CORES.store(cores, SeqCst);
    (0..cores).fold(0, |wrong, core| {
        wrong
            | hypercall(Hypercall::CreateSemaphore, 0, BEGIN + core, [SELF, 0, 0, 0])
            | hypercall(Hypercall::CreateSemaphore, 0, END + core, [SELF, 0, 0, 0])
            | threads::spawn(core, core, 1, work)
    })
}

extern "C" fn work(core: u64) -> ! {
    let page = 0x5000_0000 + core * 0x2000 + 0x1000;
    let pages = (&raw const PAGES).addr() as u64 >> 12;
    let delegate = |[source, to]: [u64; 2], window: Crd, what| {
        item(page, what);
        let _ = hypercall(Hypercall::Misc, 1, source, [window.word(), to, 0, 0]);
    };
    let moves = Moves { own: SELF, domains: DOMAINS, objects: OBJECTS, pages, delegate };
    let mut state = core + 1;
    loop {
        let _ = down(BEGIN + core, 0);
        for _ in 0..STEPS.load(SeqCst) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            moves.step(state >> 16);
        }
        let _ = up(END + core);
    }
}

/// Lets all cores make `steps` steps together.
pub fn run(checks: &mut Checks, steps: u64, khz: u64) {
    let cores = CORES.load(SeqCst);
    let mut wrong = 0;
    for index in 0..COUNT {
        wrong |= hypercall(Hypercall::CreateDomain, 0, DOMAINS + index, [SELF, 0, 256 << 32, 0]);
    }
    for index in 0..16 {
        wrong |= hypercall(Hypercall::CreateSemaphore, 0, OBJECTS + index, [SELF, 0, 0, 0]);
    }
    STEPS.store(steps / cores, SeqCst);
    let begun = time_stamp();
    wrong |= (0..cores).fold(0, |wrong, core| wrong | up(BEGIN + core));
    wrong |= (0..cores).fold(0, |wrong, core| wrong | down(END + core, 0));
    println!(
        "churn: {steps} delegations and revocations, {} in a second",
        steps * khz * 1000 / (time_stamp() - begun).max(1)
    );
    // The domains first: what they have is taken by the end of each.
    for range in [objects(DOMAINS, 2), objects(OBJECTS, 4)] {
        wrong |= hypercall(Hypercall::Revoke, 1, 0, [range.word(), 0, 0, 0]);
    }
    checks.check("capabilities between domains", wrong, 0);
}
