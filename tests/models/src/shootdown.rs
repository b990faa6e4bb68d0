//! The shootdown that ships, on processors that remember whatever they may for as long as they can.
//!
//! Purpose: `memory::shootdown` and `memory::space`, unchanged, under a model checker. `machine` is the hardware: walks in
//! single steps, translations that stay until they are flushed, also those of views that are not loaded, interrupts that
//! come late. Each scenario lets one or more cores revoke while another uses, faults, comes, goes.
//! Invariants: what is asserted in all of them: once a revocation has returned no access that begins then succeeds with
//! more than what is left, wherever its translation comes from; everything ends.
//! Concurrency: one thread per core. loom explores all executions with a bounded number of preemptions, with the weak
//! memory that the orderings allow; shuttle samples executions with more cores.
//! Source: `docs/src/shootdown.md`; matrix S1-S10 of the acceptance tests.
#[cfg(loom)]
mod ending;
mod machine;
mod scenarios;
