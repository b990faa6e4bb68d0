//! A client of the service `counter`.
//!
//! Concurrency: one thread.
#![no_std]
#![no_main]

use rt::client::Remote;
use rt::{ExitStatus, Startup, log};
use services::counter::{Counter, Reply, Request};

rt::program!(main);

fn main(startup: &Startup) -> ExitStatus {
    let Ok(amount) = startup.arguments.parse() else {
        log!("needs a number as its argument, not {:?}", startup.arguments);
        return ExitStatus::FAILURE;
    };
    let counter = Remote::<Counter>::default();
    for _ in 0..3 {
        if let Err(error) = counter.call(&Request::Add(amount)) {
            log!("the counter does not answer: {error}");
            return ExitStatus::FAILURE;
        }
    }
    match counter.call(&Request::Read()) {
        Ok(Reply::Count(value)) => log!("counted to {value}"),
        other => log!("strange answer: {other:?}"),
    }
    ExitStatus::SUCCESS
}
