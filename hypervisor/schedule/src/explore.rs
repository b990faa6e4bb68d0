//! All interleavings of a model, and what they come to.
//!
//! Purpose: a model that explores too little fails: each outcome that is expected must have been met.
//! Invariants: none.
//! Concurrency: the model checker's.
//! Source: the crate `loom`.
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Runs `model`, which names its outcome, in all interleavings; the outcomes must be those `expected`.
pub fn explore<T: Into<String>>(expected: &[&str], model: impl Fn() -> T + Sync + Send + 'static) {
    let met = Arc::new(Mutex::new(BTreeSet::<String>::new()));
    let outcomes = met.clone();
    loom::model(move || {
        let outcome = model().into();
        met.lock().expect("not poisoned").insert(outcome);
    });
    let met = outcomes.lock().expect("not poisoned");
    assert_eq!(met.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected.iter().copied().collect());
}
