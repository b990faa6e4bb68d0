//! A service that counts, for each of its clients: the example of the book.
//!
//! Invariants: a client sees its own count only.
//! Concurrency: plain values.

use rt::message;
use rt::service::Service;

message! {
    /// What a client asks.
    pub enum Request {
        /// Count this much more.
        Add(amount: u64) = 1,
        /// How much is it?
        Read() = 2,
    }
}

message! {
    /// What it is answered.
    pub enum Reply {
        /// The client's count.
        Count(value: u64) = 1,
        /// There are too many clients.
        Full() = 2,
    }
}

/// The service.
#[derive(Debug)]
pub struct Counter;

impl Service for Counter {
    const NAME: &'static str = "counter";
    type Request = Request;
    type Reply = Reply;
}
