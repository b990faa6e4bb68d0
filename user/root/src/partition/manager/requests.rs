//! What programs ask of the root partition, and the answers.
//!
//! Invariants: every number in a request is a claim: cores have to be the program's, names those of its configuration.
//! Concurrency: the manager's thread.

use alloc::string::ToString;

use abi::rights::{ContextRights, PortalRights};
use boot_config::Program;
use rt::ExitStatus;
use rt::event::Resume;
use rt::message::Text;
use rt::parent::{Reply, Request};
use rt::println;
use rt::startup::PAGE;

use super::{End, Manager, Server, State};
use crate::partition::agents::Incoming;

impl Manager {
    /// Deals with what came to an agent of a program.
    pub(super) fn serve(&mut self, program: usize, agent: usize, incoming: Incoming) {
        let request = match incoming {
            Incoming::Request(request) => request,
            Incoming::Nonsense => return self.reply(program, agent, &Reply::Refused()),
            Incoming::Start(event) => return self.begin(program, agent, event.rsp),
            Incoming::Fault(event) => return self.bury(program, &End::Fault(event)),
        };
        let reply = match request {
            Request::Exit(status) => {
                let status = ExitStatus::new(u8::try_from(status).unwrap_or(u8::MAX));
                return self.bury(program, &End::Exit(status));
            }
            Request::Done() => {
                if let Some(entry) = self.entries.get_mut(program) {
                    entry.done = true;
                }
                Reply::Done()
            }
            Request::Report(line) => {
                println!("{}: {line}", self.name(program));
                Reply::Done()
            }
            Request::NameOf(identity) => match self.client(identity) {
                Some(client) => Reply::Name(Text::new(self.name(client))),
                None => Reply::Refused(),
            },
            Request::Register(service, core, entry) => self.register(program, agent, &service, core, entry),
            Request::Populate() => self.populate(program, agent),
            Request::Connect(service, core) => return self.connect(program, agent, &service, core),
            Request::Spawn(core, utcb, record, entry) => {
                return self.spawn(program, agent, [core.into(), utcb, record, entry]);
            }
            Request::End(thread) => match self.life(program) {
                Some(life) => {
                    // The first thread ends with the program.
                    life.threads.retain(|each| each.number != thread || each.record == 0);
                    Reply::Done()
                }
                None => Reply::Refused(),
            },
        };
        self.reply(program, agent, &reply);
    }

    fn reply(&mut self, program: usize, agent: usize, reply: &Reply) {
        if let Some(agent) = self.life(program).and_then(|life| life.agents.get(agent)) {
            agent.reply(reply, None);
        }
    }

    /// A thread's first event: says where it starts.
    fn begin(&mut self, program: usize, agent: usize, record: u64) {
        let Some(life) = self.life(program) else { return };
        let Some(thread) = life.threads.iter().find(|thread| thread.record == record) else { return };
        let (rip, rsp) = (thread.entry, if record == 0 { PAGE } else { record });
        if let Some(agent) = life.agents.get(agent) {
            agent.resume(Resume { rip, rsp, rdi: agent.core.into() });
        }
    }

    /// The identity of a program in its present life.
    fn identity(&self, program: usize) -> u64 {
        self.entries.get(program).map_or(0, |entry| entry.lives << 16 | program as u64)
    }

    /// The program with this identity, if it lives still.
    fn client(&self, identity: u64) -> Option<usize> {
        let program = (identity & 0xFFFF) as usize;
        (self.entries.get(program)?.lives == identity >> 16).then_some(program)
    }

    fn register(&mut self, program: usize, agent: usize, service: &str, core: u32, entry: u64) -> Reply {
        let provides = |config: &Program| config.provides.iter().any(|name| name == service);
        let here = self.life(program).is_some_and(|life| life.cores.contains(core));
        if !here || !self.config.programs.get(program).is_some_and(provides) {
            return Reply::Refused();
        }
        let Some(agent) = self.life(program).and_then(|life| life.agents.get_mut(agent)) else {
            return Reply::Refused();
        };
        let Ok(context) = agent.received() else { return Reply::Exhausted() };
        self.servers.retain(|server| !(server.service == service && server.core == core));
        self.servers.push(Server { service: service.to_string(), core, program, context, entry });
        Reply::Done()
    }

    fn populate(&mut self, program: usize, agent: usize) -> Reply {
        let Some(life) = self.life(program) else { return Reply::Refused() };
        let Some(agent) = life.agents.get_mut(agent) else { return Reply::Refused() };
        let Ok(domain) = agent.received() else { return Reply::Exhausted() };
        match life.populate(domain) {
            Ok(()) => Reply::Done(),
            Err(abi::Status::QuotaExhausted) => Reply::Exhausted(),
            Err(_) => Reply::Refused(),
        }
    }

    fn connect(&mut self, program: usize, agent: usize, service: &str, core: u32) {
        let here = self.life(program).is_some_and(|life| life.cores.contains(core));
        if !here || !self.config.programs.get(program).is_some_and(|config| config.may_use(service)) {
            return self.reply(program, agent, &Reply::Refused());
        }
        let identity = self.identity(program);
        // One on the caller's core if there is one.
        let mut serving = self.servers.iter().enumerate().filter(|(_, server)| server.service == service);
        let found = serving.clone().find(|(_, server)| server.core == core).or_else(|| serving.next());
        let portal = found.and_then(|(_, server)| {
            let State::Runs(life) = &self.entries.get(server.program)?.state else { return None };
            Some((server.program, life.domain.portal(&server.context, server.entry, identity).ok()?))
        });
        let Some((server, portal)) = portal else { return self.reply(program, agent, &Reply::NotYet()) };
        let item = portal.delegated(PortalRights::CALL | PortalRights::CALL_CROSS_CPU);
        let Some(entry) = self.entries.get_mut(program) else { return };
        // What the client had from this server on this core is stale: else it would not ask.
        entry.portals.retain(|(old, at, _)| (*old, *at) != (server, core));
        entry.portals.push((server, core, portal));
        if let State::Runs(life) = &entry.state
            && let Some(agent) = life.agents.get(agent)
        {
            agent.reply(&Reply::Done(), Some(item));
        }
    }

    fn spawn(&mut self, program: usize, agent: usize, [core, utcb, record, entry]: [u64; 4]) {
        let priority = self.config.programs.get(program).map_or(1, |config| config.priority);
        let Some(life) = self.life(program) else { return };
        let thread = life.thread(core as u32, utcb, record, entry, priority);
        let item = life.threads.last().map(|thread| thread.context.slot().delegated(ContextRights::CONTROL));
        let Some(agent) = life.agents.get(agent) else { return };
        match thread {
            Ok(number) => agent.reply(&Reply::Number(number), item),
            Err(abi::Status::BadCpu) => agent.reply(&Reply::Refused(), None),
            Err(_) => agent.reply(&Reply::Exhausted(), None),
        }
    }
}
