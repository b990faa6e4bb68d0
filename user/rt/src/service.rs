//! What a service is: a name and two kinds of messages, shared by who offers it and who uses it.
//!
//! Invariants: none of its own.
//! Concurrency: no state.

use crate::message::{Decode, Encode};

/// The messages of a service.
pub trait Service {
    /// Its name, unless the boot configuration gives it another.
    const NAME: &'static str;
    /// What clients ask.
    type Request: Encode + Decode;
    /// What they are answered.
    type Reply: Encode + Decode;
}
