//! The end of a domain: its tables are used for something else.
//!
//! Purpose: they come back when no core has them loaded, and after the last walk of each that had.
//! Invariants: a core walks them only while it shows their root.
//! Concurrency: see the module above; under loom, which notices a walk at the same time as the reuse.
//! Source: as there; acceptance matrix, row S10 (tables freed early).
use super::machine::{Cpu, World};
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;

#[test]
fn tables_come_back_when_no_core_has_them_loaded() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let (world, tables) = (Arc::new(World::new(2, false)), Arc::new(UnsafeCell::new(())));
        let [ends, runs] = [0, 1].map(|id| Cpu::new(&world, id));
        runs.arrive();
        let walked = Arc::clone(&tables);
        let runs = thread::spawn(move || {
            walked.with(|_| ());
            runs.leave();
        });
        while !ends.has_ended() {
            sync::relax();
        }
        tables.with_mut(|_| ());
        assert!(runs.join().is_ok());
    });
}
