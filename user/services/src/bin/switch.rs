//! The service `switch`: passes frames between virtual machines.
//!
//! A client is known by the identity that the root partition gave it; when it lives again it is another client. One whose
//! semaphore is gone is dead, and its port is free.
//! Concurrency: calls arrive on all cores at once. The lock is never waited for long: a client that dies while it is in here
//! leaves it taken until somebody calls on its core, and meanwhile frames are lost, as on any network.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;

use rt::capability::{Semaphore, Slot};
use rt::server::{Client, Handler, serve};
use rt::sync::{Guard, Mutex};
use rt::{ExitStatus, Startup, log, thread};
use services::switch::{Frame, Network, Reply, Request};
use vm_net::{Port, Switch};

rt::program!(main);

/// Ports of the switch.
const PORTS: usize = 16;
/// How often a taken lock is tried again.
const ATTEMPTS: usize = 1000;

struct State {
    switch: Switch,
    /// Who is at which port, and what is upped for it.
    clients: Vec<Option<(Client, Option<Semaphore>)>>,
}

impl State {
    /// The port of a client, a free one if it has none.
    fn port(&mut self, client: Client) -> Option<Port> {
        let at = |wanted: Option<Client>| {
            self.clients.iter().position(|entry| entry.as_ref().map(|(client, _)| *client) == wanted)
        };
        if let Some(port) = at(Some(client)) {
            return Some(port);
        }
        let port = at(None)?;
        self.switch.set_present(port, true);
        *self.clients.get_mut(port)? = Some((client, None));
        Some(port)
    }

    fn send(&mut self, from: Port, frame: &Frame) {
        let (clients, mut gone) = (&mut self.clients, [false; PORTS]);
        self.switch.send(from, frame.bytes(), |port| {
            let Some(entry) = clients.get_mut(port) else { return };
            if entry.as_ref().is_some_and(|(_, bell)| bell.as_ref().is_some_and(|bell| bell.up().is_err())) {
                *entry = None;
                gone.get_mut(port).into_iter().for_each(|gone| *gone = true);
            }
        });
        for (port, _) in gone.into_iter().enumerate().filter(|(_, gone)| *gone) {
            self.switch.set_present(port, false);
        }
    }
}

struct Hub(Mutex<Option<State>>);

static HUB: Hub = Hub(Mutex::new(None));

impl Hub {
    fn state(&self) -> Option<Guard<'_, Option<State>>> {
        (0..ATTEMPTS).find_map(|_| self.0.try_lock())
    }
}

impl Handler for Hub {
    type Service = Network;

    fn handle(&self, client: Client, request: Request) -> Reply {
        let Some(mut state) = self.state() else { return Reply::Busy() };
        let Some(state) = state.as_mut() else { return Reply::Busy() };
        let Some(port) = state.port(client) else { return Reply::Busy() };
        match request {
            Request::Attach() => Reply::Done(),
            Request::Send(frame) => {
                state.send(port, &frame);
                Reply::Done()
            }
            Request::Receive() => match state.switch.receive(port) {
                Some(bytes) => Reply::Frame(Frame::new(&bytes)),
                None => Reply::Nothing(),
            },
        }
    }

    fn receive(&self, client: Client, capability: Slot) {
        let Some(mut state) = self.state() else { return };
        let Some(state) = state.as_mut() else { return };
        if let Some(port) = state.port(client)
            && let Some(Some((_, bell))) = state.clients.get_mut(port)
        {
            *bell = Some(Semaphore::from_slot(capability));
        }
    }
}

fn main(startup: &Startup) -> ExitStatus {
    let clients = (0..PORTS).map(|_| None).collect();
    *HUB.0.lock() = Some(State { switch: Switch::new(PORTS), clients });
    if let Err(status) = serve(startup, "switch", &HUB) {
        log!("cannot serve: {status}");
        return ExitStatus::FAILURE;
    }
    thread::park()
}
