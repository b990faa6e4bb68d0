//! The acceptance matrix: every row for every form of mapping, over two domains and over three.
//!
//! Invariants: a row that needs more cores than there are is left out. Each prints its name and whether it holds.
//! Concurrency: the main thread; see the module above.
//! Source: the acceptance matrix.
use abi::Hypercall;
use abi::hip::Features;
use rt::{Environment, ExitStatus, println};

use super::case::Case;
use super::{CORES, crossing, hunt, later, nested, prepare, rows, stores};
use crate::raw::{Checks, hypercall};

/// What a row does, with that many cores.
type Row = fn(&mut Checks, usize, Case);

/// Name, the fewest cores that show it, and what it does.
const ROWS: [(&str, usize, Row); 17] = [
    // First, as long as nobody else has run the domains.
    ("S11b revoker on one core, user on another", 2, rows::apart),
    ("S1 private", 1, rows::private),
    ("S2 shared", 2, rows::shared),
    ("S3 away", 2, rows::away),
    ("S4 neighbour", 2, rows::neighbour),
    ("S5 adding", 2, rows::adding),
    ("S5 raising", 2, rows::raising),
    ("accessed bits", 2, rows::noted),
    ("accessed bits of what is taken", 2, rows::told),
    ("stores while it is taken", 2, stores::row),
    ("not waited for", 1, later::row),
    ("S6 never used", 1, rows::never_used),
    ("S7 many pages", 2, rows::many),
    ("S8 reader that stays", 2, hunt::staying),
    ("S9 reader that comes and goes", 2, hunt::coming),
    ("S12 two that take from each other", 2, crossing::crossing),
    ("S13 two that take the same, or what contains it", 3, nested::row),
];

/// Runs the matrix.
pub fn run(environment: &Environment) -> ExitStatus {
    crate::announce("shootdown", "who is interrupted by a revocation");
    let mut checks = Checks::new("shootdown");
    let hip = environment.hip();
    let cores = hip.enabled_cpus().min(CORES);
    checks.check("counters are announced", u64::from(hip.header().features.contains(Features::COUNTERS)), 1);
    checks.check("a counter", hypercall(Hypercall::Misc, 3, 0, [0; 4]) & 0xFF, 0);
    prepare(&mut checks, cores);
    for (name, least, row) in ROWS {
        for case in Case::ALL.into_iter().filter(|_| cores >= least) {
            let (all, wrong) = checks.so_far();
            row(&mut checks, cores, case);
            let (more, also) = checks.so_far();
            println!("shootdown: {name}, {}: {} of {} hold", case.name(), more - all - (also - wrong), more - all);
        }
    }
    checks.finish()
}
