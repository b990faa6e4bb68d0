//! What the peers of the scenario `hello` ask each other.
//!
//! Invariants: an answer tells the core that it was made on.
//! Concurrency: plain values.

use rt::message;
use rt::service::Service;

message! {
    /// A request.
    pub enum Request {
        /// What is one more than this?
        Next(number: u64) = 1,
    }
}

message! {
    /// An answer.
    pub enum Reply {
        /// The number, and the core that the answer was made on.
        Number(number: u64, core: u32) = 1,
    }
}

/// The service. Each peer provides it under its own name.
#[derive(Debug)]
pub struct Peer;

impl Service for Peer {
    const NAME: &'static str = "peer";
    type Request = Request;
    type Reply = Reply;
}
