//! The log service: puts lines of programs on the console, each with the program's name before it.
//!
//! It has the console's ports and nothing else. Concurrency: serves on several cores; the console has its own lock.
#![no_std]
#![no_main]

extern crate alloc;

use rt::log::{Log, Reply, Request};
use rt::message::Text;
use rt::server::{Client, Handler, serve};
use rt::sync::Mutex;
use rt::{ExitStatus, Startup, println, thread};

rt::program!(main);

/// Clients whose names are remembered.
const CLIENTS: usize = 64;

struct Lines {
    names: Mutex<[(u64, Text<32>); CLIENTS]>,
}

impl Lines {
    /// The client's name; asks only for those that are new, or if somebody else is just looking.
    fn name(&self, client: Client) -> Text<32> {
        let place = (client.0 as usize) % CLIENTS;
        if let Some(names) = self.names.try_lock()
            && let Some((known, name)) = names.get(place)
            && *known == client.0
        {
            return *name;
        }
        let name = client.name().unwrap_or_else(|| Text::new("?"));
        if let Some(mut names) = self.names.try_lock()
            && let Some(slot) = names.get_mut(place)
        {
            *slot = (client.0, name);
        }
        name
    }
}

impl Handler for Lines {
    type Service = Log;

    fn handle(&self, client: Client, Request::Line(line): Request) -> Reply {
        println!("{}: {line}", self.name(client));
        Reply::Done()
    }
}

fn main(startup: &Startup) -> ExitStatus {
    let lines = alloc::boxed::Box::new(Lines { names: Mutex::new([(0, Text::default()); CLIENTS]) });
    match serve(startup, "log", alloc::boxed::Box::leak(lines)) {
        Ok(()) => thread::park(),
        Err(status) => panic!("cannot serve: {status}"),
    }
}
