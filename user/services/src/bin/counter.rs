//! The service `counter`: counts for each client.
//!
//! Concurrency: calls arrive on every core of the program at the same time, so the counts are atomics.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};

use rt::server::{Client, Handler, serve};
use rt::{ExitStatus, Startup, log, thread};
use services::counter::{Counter, Reply, Request};

rt::program!(main);

/// A session per client: who it is (0 for nobody), and its count.
struct Counts([(AtomicU64, AtomicU64); 8]);

static COUNTS: Counts = Counts([const { (AtomicU64::new(0), AtomicU64::new(0)) }; 8]);

impl Counts {
    /// The count of a client, a new one if it has none.
    fn of(&self, client: Client) -> Option<&AtomicU64> {
        let mine = |owner: &AtomicU64| match owner.compare_exchange(0, client.0, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => true,
            Err(owner) => owner == client.0,
        };
        self.0.iter().find(|(owner, _)| mine(owner)).map(|(_, count)| count)
    }
}

impl Handler for Counts {
    type Service = Counter;

    fn handle(&self, client: Client, request: Request) -> Reply {
        match (self.of(client), request) {
            (None, _) => Reply::Full(),
            (Some(count), Request::Read()) => Reply::Count(count.load(Ordering::Relaxed)),
            (Some(count), Request::Add(amount)) => {
                Reply::Count(count.fetch_add(amount, Ordering::Relaxed).wrapping_add(amount))
            }
        }
    }
}

fn main(startup: &Startup) -> ExitStatus {
    if let Err(status) = serve(startup, "counter", &COUNTS) {
        log!("cannot serve: {status}");
        return ExitStatus::FAILURE;
    }
    // From here on the program runs only when it is called.
    thread::park()
}
