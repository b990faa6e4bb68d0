//! The manager: starts the programs, answers their requests, and sees to their ends.
//!
//! Invariants: all state of the root partition belongs to the manager's thread; a program is answered only while it lives.
//! Concurrency: one thread, of higher priority than all programs; agents wake it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use abi::rights::{ContextRights, PortalRights};
use boot_config::{Config, Cores, Program, Restart, Right};
use rt::capability::{Semaphore, Slot};
use rt::event::{Event, Resume};
use rt::message::Text;
use rt::parent::{Reply, Request};
use rt::startup::PAGE;
use rt::{ExitStatus, power, println, time};

use crate::agents::Incoming;
use crate::launch::{Life, Surroundings, launch};

/// A program that dies this often stays dead.
const DEATHS: u32 = 20;
/// Milliseconds between the end of a program and its next life, for each of the first hundred that it had.
const PAUSE: u64 = 2;
/// How long the manager sleeps when nothing is due, in milliseconds.
const IDLE: u64 = 60_000;

/// Why a program is over.
enum End {
    Exit(ExitStatus),
    Fault(Event),
    Killed,
}

enum State {
    /// It starts at this time.
    Due(u64),
    Runs(Life),
    Over,
}

/// A program and what became of it.
struct Entry {
    state: State,
    /// How often it was started.
    lives: u64,
    deaths: u32,
    done: bool,
    /// Portals that it was given, by service and core.
    portals: Vec<(usize, u32, Slot)>,
}

/// A context that serves a service on a core.
struct Server {
    service: String,
    core: u32,
    program: usize,
    context: Slot,
    entry: u64,
}

/// The state of the root partition.
pub struct Manager {
    pub config: Config,
    /// Contents of the modules that the configuration names.
    pub images: Vec<&'static [u8]>,
    /// Cores of the machine.
    pub cores: Vec<u32>,
    pub around: Surroundings<'static>,
    entries: Vec<Entry>,
    servers: Vec<Server>,
    /// When which program is to be ended.
    kills: Vec<(u64, usize)>,
}

impl Manager {
    /// Nothing started yet.
    pub fn new(config: Config, images: Vec<&'static [u8]>, cores: Vec<u32>, around: Surroundings<'static>) -> Self {
        let entry = |_: &Program| Entry { state: State::Due(0), lives: 0, deaths: 0, done: false, portals: Vec::new() };
        let entries = config.programs.iter().map(entry).collect();
        let place = |name: &str| config.programs.iter().position(|program| program.name == name);
        let kills = config.kills.iter().filter_map(|kill| Some((time::after(kill.after), place(&kill.program)?)));
        let kills = kills.collect();
        Self { config, images, cores, around, entries, servers: Vec::new(), kills }
    }

    /// Runs the system until its work is done.
    pub fn run(mut self) -> ExitStatus {
        loop {
            let now = time::now();
            for program in 0..self.entries.len() {
                if self.entries.get(program).is_some_and(|entry| matches!(entry.state, State::Due(at) if at <= now)) {
                    self.launch(program);
                }
            }
            if let Some(at) = self.kills.iter().position(|(at, _)| *at <= now) {
                let (_, program) = self.kills.swap_remove(at);
                self.bury(program, &End::Killed);
            }
            self.attend();
            if let Some(status) = self.verdict() {
                return status;
            }
            // A deadline that passes is as good as a wake-up.
            let _ = self.around.manager.drain_until(self.next());
        }
    }

    /// When something is due.
    fn next(&self) -> u64 {
        let starts = self.entries.iter().filter_map(|entry| match entry.state {
            State::Due(at) => Some(at),
            _ => None,
        });
        let kills = self.kills.iter().map(|(at, _)| *at);
        starts.chain(kills).min().unwrap_or_else(|| time::after(IDLE))
    }

    /// Whether the system's work is done, or can never be.
    fn verdict(&self) -> Option<ExitStatus> {
        let duties = || self.config.programs.iter().zip(&self.entries).filter(|(program, _)| program.must_finish);
        if let Some((program, _)) = duties().find(|(_, entry)| !entry.done && matches!(entry.state, State::Over)) {
            println!("root: `{}` can not finish any more", program.name);
            return Some(ExitStatus::FAILURE);
        }
        if duties().next().is_none() && self.entries.iter().any(|entry| !matches!(entry.state, State::Over)) {
            return None;
        }
        if !duties().all(|(_, entry)| entry.done) {
            return None;
        }
        for (_, program) in &self.kills {
            println!("root: the work is done before `{}` was to be ended", self.name(*program));
        }
        let deaths: u32 = self.entries.iter().map(|entry| entry.deaths).sum();
        println!("root: {} programs have done their work, with {deaths} deaths", duties().count());
        Some(ExitStatus::SUCCESS)
    }

    fn name(&self, program: usize) -> &str {
        self.config.programs.get(program).map_or("?", |program| &program.name)
    }

    /// The cores of a program that the machine has.
    fn cores_of(&self, program: &Program) -> Vec<u32> {
        let found: Vec<u32> = match &program.cores {
            Cores::All => self.cores.clone(),
            Cores::These(list) => list.iter().copied().filter(|core| self.cores.contains(core)).collect(),
        };
        if found.is_empty() { self.cores.iter().copied().take(1).collect() } else { found }
    }

    fn launch(&mut self, number: usize) {
        let Some(program) = self.config.programs.get(number) else { return };
        let cores = self.cores_of(program);
        if let Cores::These(list) = &program.cores
            && let Some(absent) = list.iter().find(|core| !self.cores.contains(core))
        {
            println!(
                "root: {}: there is no core {absent}; it runs on core {}",
                program.name,
                cores.first().unwrap_or(&0)
            );
        }
        let image = self.config.images.iter().position(|image| *image == program.image);
        let image = image.and_then(|image| self.images.get(image)).copied().unwrap_or_default();
        let outcome = launch(program, image, &cores, &mut self.around);
        let Some(entry) = self.entries.get_mut(number) else { return };
        entry.lives += 1;
        entry.state = match outcome {
            Ok(life) => State::Runs(life),
            Err(why) => {
                println!("root: {} does not start: {why}", program.name);
                entry.deaths += 1;
                State::Over
            }
        };
    }

    /// Answers all that wait.
    fn attend(&mut self) {
        for program in 0..self.entries.len() {
            let mut agent = 0;
            while let Some(incoming) = self.incoming(program, agent) {
                match incoming {
                    Some(incoming) => self.serve(program, agent, incoming),
                    None => agent += 1,
                }
            }
        }
    }

    fn life(&mut self, program: usize) -> Option<&mut Life> {
        match &mut self.entries.get_mut(program)?.state {
            State::Runs(life) => Some(life),
            _ => None,
        }
    }

    /// What waits at an agent of a program; `None` if there is no such agent.
    fn incoming(&mut self, program: usize, agent: usize) -> Option<Option<Incoming>> {
        Some(self.life(program)?.agents.get(agent)?.pending())
    }

    fn serve(&mut self, program: usize, agent: usize, incoming: Incoming) {
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

    /// Ends a program, says why, and sees whether it lives again.
    fn bury(&mut self, number: usize, end: &End) {
        let (Some(program), Some(entry)) = (self.config.programs.get(number), self.entries.get_mut(number)) else {
            return;
        };
        let State::Runs(life) = core::mem::replace(&mut entry.state, State::Over) else {
            return println!("root: `{}` is not running, so it is not ended", program.name);
        };
        entry.portals.clear();
        let name = &program.name;
        // Portals to its contexts go first: who calls from now on comes back here.
        self.servers.retain(|server| server.program != number);
        for other in &mut self.entries {
            other.portals.retain(|(server, _, _)| *server != number);
        }
        life.end(&mut self.around);
        if program.rights.contains(&Right::Console) {
            Life::release(self.around.console_lock);
        }
        let Some(entry) = self.entries.get_mut(number) else { return };
        let well = matches!(end, End::Exit(status) if status.is_success());
        entry.done |= well;
        entry.deaths += u32::from(!well);
        let again = entry.deaths < DEATHS
            && match program.restart {
                Restart::Never => false,
                Restart::OnFailure => !well,
                Restart::Always => true,
            };
        let what = if again { "; it starts again" } else { "" };
        match end {
            End::Exit(status) if well => {
                println!("root: program `{name}` is over with status {}{what}", status.number())
            }
            End::Exit(status) => {
                println!("root: program `{name}` died: it ended with status {}{what}", status.number())
            }
            End::Fault(event) => {
                println!("root: program `{name}` died: {event}{what}");
                println!("root: backtrace of {}: {:#x}", program.image, event.rip);
            }
            End::Killed => println!("root: program `{name}` died: ended as asked for{what}"),
        }
        if again {
            entry.state = State::Due(time::after(PAUSE * entry.lives.min(100)));
        }
    }
}

/// Runs the manager and ends the machine.
pub fn run(manager: Manager) -> ! {
    power::end(manager.run())
}

/// Made once, for the life of the machine.
pub fn semaphore() -> Result<&'static Semaphore, abi::Status> {
    Ok(alloc::boxed::Box::leak(alloc::boxed::Box::new(Semaphore::new(0)?)))
}
