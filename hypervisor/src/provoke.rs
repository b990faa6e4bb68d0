//! Failing on purpose.
//!
//! Purpose: the tests of fault reports need a kernel that faults. Only kernels built with the feature `selftest` have
//! this code.
//! Invariants: none; that is the point.
//! Concurrency: boot core, all cores up.
//! Source: `docs/src/testing.md`.
use crate::log::{error, info};
use crate::stop;
use arch::boot;
use core::hint::black_box;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed, Ordering::SeqCst};

/// Whether translations are not forgotten when they have to be.
pub static NO_FLUSH: AtomicBool = AtomicBool::new(false);

/// Whether cores often have no table left, and how often they have asked for one.
static FEW_TABLES: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicU32 = AtomicU32::new(0);

/// Whether the calling core has no table left, which is so every seventh time: a load has its own page, that of its code, and
/// the tables of both, before it happens again.
pub fn lacks_table() -> bool {
    FEW_TABLES.load(Relaxed) && ASKED.fetch_add(1, Relaxed) % 7 == 6
}

/// Whether they are not when a core comes back to a domain.
#[cfg(feature = "shadow")]
static NO_LAZY_FLUSH: AtomicBool = AtomicBool::new(false);

/// What is loaded for a view that is stale, or not.
#[cfg(feature = "shadow")]
pub fn loads(loads: u64, stale: bool) -> (u64, bool) {
    match stale && NO_LAZY_FLUSH.load(Relaxed) {
        true if crate::translations::has_tags() => (loads | memory::tags::KEEP, false),
        lost => (loads, stale && !lost),
    }
}

/// Cores that have yet to come before all stop the machine at once; 0 if they are not to.
static TO_COME: AtomicU32 = AtomicU32::new(0);

/// A core that an NMI has told to stop the machine with the others does so; returns if none is told to.
pub fn meet() {
    if TO_COME.load(SeqCst) != 0 {
        TO_COME.fetch_sub(1, SeqCst);
        while TO_COME.load(SeqCst) != 0 {}
        stop::machine(stop::FAULT, format_args!("provoked"));
    }
}

/// Does what `name` says; returns if it survives, which is a failure of the test.
pub fn fail(name: &str) {
    info!("provoking: {name}");
    match name {
        "stack-overflow" => {
            black_box(recurse(black_box(1)));
        }
        "page-fault" => {
            // SAFETY: none; the page below the stacks is unmapped and the load faults.
            unsafe { core::ptr::with_exposed_provenance::<u64>(0xFFFF_FFFF_A000_0000_usize | 1 << 29).read_volatile() };
        }
        "double-fault" => arch::provoke::without_stack(),
        #[cfg(feature = "shadow")]
        "no-lazy-flush" => return NO_LAZY_FLUSH.store(true, Relaxed),
        "few-tables" => return FEW_TABLES.store(true, Relaxed),
        "no-flush" => return NO_FLUSH.store(true, Relaxed),
        "undefined" => arch::provoke::undefined(),
        "write-text" => {
            // SAFETY: none; the kernel's text is mapped read-only and the store faults.
            unsafe {
                core::ptr::with_exposed_provenance_mut::<u8>(boot::sections()[0].start.get() as usize).write_volatile(0)
            };
        }
        "execute-data" => arch::provoke::jump(boot::sections()[2].start.get()),
        // PANIC: the command line asked for it, and only kernels built for self-tests have this code.
        "panic" => core::panic!("provoked"),
        "stop-everywhere" => {
            TO_COME.store(crate::cores::running().len() as u32, SeqCst);
            arch::apic::send_nmi_to_others();
            meet();
        }
        other => return error!("provoke={other}: no such failure"),
    }
    error!("provoke={name}: survived");
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let local = black_box([depth; 64]);
    recurse(depth + 1) + local[0]
}
