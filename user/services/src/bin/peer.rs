//! A peer of the scenario `hello`: serves the others, and calls one of them from each of its cores.
//!
//! Arguments: the name of the one to call, and how often. Concurrency: a thread per core, and the contexts that serve.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use rt::client::Remote;
use rt::server::{Client, Handler, serve};
use rt::{ExitStatus, Startup, log, parent, thread, time};
use services::peer::{Peer, Reply, Request};

rt::program!(main);

/// Milliseconds between calls.
const PAUSE: u64 = 15;

/// Counts what it serves.
struct Counter(AtomicU64);

impl Handler for Counter {
    type Service = Peer;

    fn handle(&self, _: Client, Request::Next(number): Request) -> Reply {
        self.0.fetch_add(1, Ordering::Relaxed);
        Reply::Number(number.wrapping_add(1), thread::core())
    }
}

/// Calls `other` `rounds` times; gives the number of right answers.
fn calls(other: &Remote<Peer>, rounds: u64) -> u64 {
    let right = |number: &u64| {
        time::sleep(PAUSE);
        match other.call(&Request::Next(*number)) {
            Ok(Reply::Number(answer, _)) => answer == number + 1,
            Err(error) => {
                log!("call {number} on core {}: {error}", thread::core());
                false
            }
        }
    };
    (0..rounds).filter(right).count() as u64
}

fn main(startup: &Startup) -> ExitStatus {
    let mut arguments = startup.arguments.split_whitespace();
    let (Some(name), Some(Ok(rounds))) = (arguments.next(), arguments.next().map(str::parse::<u64>)) else {
        log!("needs arguments: whom to call, and how often; got {:?}", startup.arguments);
        return ExitStatus::FAILURE;
    };
    let served: &Counter = Box::leak(Box::new(Counter(AtomicU64::new(0))));
    if let Err(status) = serve(startup, &startup.name, served) {
        log!("cannot serve: {status}");
        return ExitStatus::FAILURE;
    }
    let other: &Remote<Peer> = Box::leak(Box::new(Remote::new(name)));
    let more = startup.cores.iter().filter(|core| *core != startup.core);
    let threads: Vec<_> = more.map(|core| thread::spawn(core, move || calls(other, rounds))).collect();
    log!("runs on core {}; calls {name} {rounds} times from each of {} cores", startup.core, threads.len() + 1);
    let mut right = calls(other, rounds);
    for thread in threads {
        match thread {
            Ok(thread) => right += thread.join().unwrap_or(0),
            Err(status) => log!("no thread: {status}"),
        }
    }
    let expected = rounds * startup.cores.iter().count() as u64;
    log!(
        "{right} of {expected} answers of {name} are right ({} calls made again), served {}",
        other.retries(),
        served.0.load(Ordering::Relaxed)
    );
    if right != expected {
        return ExitStatus::FAILURE;
    }
    parent::done();
    thread::park()
}
