//! Runs cases on a few threads and counts.
//!
//! A case runs on one thread from start to end, as its machine demands; the
//! output of a case appears when it ends. What failed is said once more after
//! the last case, where it is not lost above hundreds of lines, with whether a
//! second run of it alone fails too; it stays a failure either way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use xtask::test::Counts;

use crate::case::Case;
use crate::context::Context;

/// How many machines run at a time; more would starve each other on two cores.
const THREADS: usize = 2;
/// How many failures are looked at a second time; with more the reason is not chance.
const SECOND_LOOKS: usize = 4;

/// A case that failed, and what it said.
type Failed<'a> = (&'a Case, String);

/// Runs the cases and prints a line for each; those that want to be alone come last.
pub fn run(context: &Context, cases: Vec<Case>) -> Counts {
    let count = |cases: usize| u32::try_from(cases).unwrap_or(u32::MAX);
    let total = cases.len();
    let (alone, others): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.alone);
    let mut failures = together(context, &others);
    failures.extend(alone.iter().filter_map(|case| single(context, case)));
    recall(context, &failures);
    Counts { passed: count(total - failures.len()), failed: count(failures.len()) }
}

/// Says again what failed, and whether it does so always.
fn recall(context: &Context, failures: &[Failed]) {
    for (number, (case, text)) in failures.iter().enumerate() {
        println!("failed: {}: {text}", case.name);
        if number < SECOND_LOOKS {
            let again = single(context, case).map_or("passes: by chance, or by what ran beside it", |_| "fails too");
            println!("failed: {}: a second run {again}", case.name);
        }
    }
}

fn together<'a>(context: &Context, cases: &'a [Case]) -> Vec<Failed<'a>> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS.min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(failure) = single(context, case) {
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn single<'a>(context: &Context, case: &'a Case) -> Option<Failed<'a>> {
    let start = Instant::now();
    let result = (case.body)(context, &case.name);
    let seconds = start.elapsed().as_secs_f64();
    match result {
        Ok(()) => {
            println!("system {} ... ok ({seconds:.1} s)", case.name);
            None
        }
        Err(error) => {
            let text = format!("{error:#}").replace('\n', "\n    ");
            println!("system {} ... FAILED ({seconds:.1} s)\n    {text}", case.name);
            Some((case, text))
        }
    }
}
