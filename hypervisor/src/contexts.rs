//! What other cores ask of a context, and how contexts end.
//!
//! Purpose: a context and its scheduling context are changed on their own core only; others leave a request there.
//! Invariants: a request is handled by the context's core before it chooses what to run.
//! Concurrency: posting from any core; handling on the context's own.
//! Source: interface §5 and §8; `docs/src/decisions/0019-lifetimes.md`.
use objects::{Context, Ref, Scheduling, Store};

/// Ends a context. With `gone`, which is said once, nobody refers to it any more.
pub fn end(_store: &Store<'_>, _context: Ref<Context>, _gone: bool) {}

/// Ends a scheduling context.
pub fn end_scheduling(_store: &Store<'_>, _scheduling: Ref<Scheduling>) {}

/// Whether the context's name is in the queue of requests.
pub fn is_requested(_context: &Context) -> bool {
    false
}

/// Gives up what the context refers to.
pub fn release_parts(_store: &Store<'_>, _context: Ref<Context>) {}
