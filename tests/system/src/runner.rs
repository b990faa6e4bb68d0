//! Runs cases on a few threads and counts.
//!
//! A case runs on one thread from start to end, as its machine demands; the
//! output of a case appears when it ends.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use xtask::test::Counts;

use crate::case::Case;
use crate::context::Context;

/// How many machines run at a time; more would starve each other on two cores.
const THREADS: usize = 2;

/// Runs the cases and prints a line for each; those that want to be alone come last.
pub fn run(context: &Context, cases: Vec<Case>) -> Counts {
    let (alone, others): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.alone);
    let mut counts = together(context, &others);
    alone.iter().for_each(|case| counts += single(context, case));
    counts
}

fn together(context: &Context, cases: &[Case]) -> Counts {
    let next = AtomicUsize::new(0);
    let counts = Mutex::new(Counts::default());
    thread::scope(|scope| {
        for _ in 0..THREADS.min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let one = single(context, case);
                    if let Ok(mut counts) = counts.lock() {
                        *counts += one;
                    }
                }
            });
        }
    });
    counts.into_inner().unwrap_or_default()
}

fn single(context: &Context, case: &Case) -> Counts {
    let start = Instant::now();
    let result = (case.body)(context, &case.name);
    let seconds = start.elapsed().as_secs_f64();
    match result {
        Ok(()) => {
            println!("system {} ... ok ({seconds:.1} s)", case.name);
            Counts { passed: 1, failed: 0 }
        }
        Err(error) => {
            let text = format!("{error:#}").replace('\n', "\n    ");
            println!("system {} ... FAILED ({seconds:.1} s)\n    {text}", case.name);
            Counts { passed: 0, failed: 1 }
        }
    }
}
