//! A processor that does all it may, in software, below the tables and the shootdown that ship.
//!
//! Purpose: `memory::table`, `memory::space` and `memory::shootdown`, unchanged, on cores that remember every translation
//! they have ever found until they are made to forget it, remember which table a directory entry led to, and walk at any
//! time to any page, whether somebody asked for it or not. Random programs of several cores and domains, and small ones in
//! all orders with a bounded number of preemptions.
//! Invariants: asserted after every step of every core: no core that runs a domain remembers a translation that a
//! revocation has taken that has returned. In the end every access finds what the master says.
//! Concurrency: one coroutine per core; every access to a table, every interrupt, every flush is
//! a point at which another may go on. Orders are those of a machine that is sequentially consistent: what fences are for
//! is left to the models beside this one.
//! Source: Intel SDM volume 3, §4.10; AMD64 manual volume 2, §5.5; `docs/src/shootdown.md`.
mod core;
mod empty;
mod processor;
mod programs;
mod turns;
