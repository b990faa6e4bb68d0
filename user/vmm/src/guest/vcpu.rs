//! The guest's domain and its virtual CPUs.
//!
//! Invariants: a virtual CPU has a portal for every event there can be, each with the state that its handler needs.
//! Concurrency: the context that handles the exits of a virtual CPU runs on that one's time; while it waits, so does the
//! virtual CPU.

use abi::event::VCPU_EVENTS;
use abi::qpd::Qpd;
use abi::rights::{DomainRights, PortalRights};
use abi::utcb::Header;
use abi::{Crd, Rights, Selector, Status};
use alloc::boxed::Box;
use rt::arch::utcb::Utcb;
use rt::capability::Slot;
use rt::domain::Domain;
use rt::parent::{self, Reply, Request};
use rt::server::{Serve, Server};
use vmm::exit::{Backend, Exit, PortAccess};
use vmm::machine::Action;
use vmm::state::State;
use vmm::string;

use super::Ours;

/// Pages of kernel memory for the guest's domain: as many for itself, for each MiB of its memory, and at most.
const QUOTA: (u64, u64, u64) = (160, 4, 1024);
/// Priority and quantum (in microseconds) of virtual CPUs; the monitor's threads are above.
const TIME: (u8, u64) = (1, 10_000);
/// Portals that are handed over at once, as a power of two.
const RUN: u32 = 6;

/// The guest's domain, with its memory, which the root partition gives it: this program could only pass on what it may do
/// itself, and it must not execute anything there. It has `memory` bytes.
///
/// # Errors
/// What the kernel answered, or [`Status::BadParameter`] if the root partition refuses.
pub fn domain(memory: u64) -> Result<&'static Domain, Status> {
    let (own, each, most) = QUOTA;
    let domain = Domain::new((own + each * (memory >> 20)).min(most) as u32)?;
    let item = domain.slot().delegated(DomainRights::CREATE_PORTAL);
    match parent::request_with(&Request::Populate(), Some(item), Crd::NULL) {
        Reply::Done() => Ok(Box::leak(Box::new(domain))),
        Reply::Exhausted() => Err(Status::QuotaExhausted),
        _ => Err(Status::BadParameter),
    }
}

/// Who handles the exits of a virtual CPU.
struct Handler {
    machine: &'static Ours,
    backend: Backend,
    cpu: usize,
}

impl Serve for Handler {
    fn serve(&self, event: u64, utcb: &mut Utcb) {
        let (exit, host) = (Exit::new(self.backend, event as u8), self.machine.host());
        if exit == Exit::Port && PortAccess::new(self.backend, State::new(utcb).qualification()).string {
            host.show(self.cpu, string::NEEDS, utcb);
        }
        let mut state = State::new(utcb);
        let mut action = self.machine.exit(self.cpu, exit, &mut state);
        loop {
            match action {
                Action::Resume => break,
                Action::Wait(deadline) => host.wait(self.cpu, deadline),
                Action::End(_) => {
                    let _ = host.ended().up();
                    // Until it starts again, if it does.
                    host.wait(self.cpu, u64::MAX);
                }
            }
            action = self.machine.resume(self.cpu, &mut state);
        }
        utcb.set_header(Header::STATE);
    }
}

/// Starts virtual CPU `cpu` on `core`.
///
/// # Errors
/// What the kernel answered.
pub fn start(
    machine: &'static Ours,
    domain: &'static Domain,
    backend: Backend,
    cpu: u32,
    core: u32,
) -> Result<(), Status> {
    let handler = Box::leak(Box::new(Handler { machine, backend, cpu: cpu as usize }));
    let server = Server::new(core, handler, Crd::NULL)?;
    let base = VCPU_EVENTS * u64::from(cpu);
    for first in (0..VCPU_EVENTS).step_by(1 << RUN) {
        let portals = Slot::run(RUN)?;
        for index in 0..1 << RUN {
            let event = first + index;
            let needs = Exit::new(backend, event as u8).needs();
            server.portal(portals.nth(index), needs, event)?;
        }
        let window = Crd::objects(Selector::new(base + first), RUN, Rights::ALL).unwrap_or(Crd::NULL);
        domain.give(window, &[portals.delegated(PortalRights::CALL)])?;
        core::mem::forget(portals);
    }
    core::mem::forget(server);
    let context = domain.virtual_cpu(core, base)?;
    machine.host().adopt(cpu as usize, context.slot().selector());
    let time = Qpd::new(TIME.0, TIME.1).ok_or(Status::BadParameter)?;
    core::mem::forget(domain.run(&context, time)?);
    core::mem::forget(context);
    Ok(())
}
