//! The manager: starts the programs, answers their requests, and sees to their ends.
//!
//! Invariants: all state of the root partition belongs to the manager's thread; a program is answered only while it lives.
//! Concurrency: one thread, of higher priority than all programs; agents wake it.

mod requests;

use alloc::string::String;
use alloc::vec::Vec;

use boot_config::{Config, Cores, Program, Restart, Right};
use rt::capability::{Semaphore, Slot};
use rt::event::Event;
use rt::{ExitStatus, counter, power, println, time};

use super::agents::Incoming;
use super::launch::{Life, Surroundings, launch};

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
    /// How it ended last.
    status: ExitStatus,
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
        let entry = |_: &Program| Entry {
            state: State::Due(0),
            lives: 0,
            deaths: 0,
            done: false,
            status: ExitStatus::FAILURE,
            portals: Vec::new(),
        };
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
        if let Some((program, entry)) = duties().find(|(_, entry)| !entry.done && matches!(entry.state, State::Over)) {
            println!("root: `{}` can not finish any more", program.name);
            return Some(entry.status);
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
        let exits: Vec<u64> = self.cores.iter().map(|core| counter::exits(*core)).collect();
        if exits.iter().any(|count| *count > 0) {
            println!(
                "root: virtual CPUs have left their guests {exits:?} times on cores {:?}, as the kernel counts",
                self.cores
            );
        }
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
        entry.status = match end {
            End::Exit(status) => *status,
            End::Fault(_) | End::Killed => ExitStatus::FAILURE,
        };
        entry.deaths += u32::from(!well);
        let again = entry.deaths < DEATHS
            && match program.restart {
                Restart::Never => false,
                Restart::OnFailure => !well,
                Restart::Always => true,
            };
        // Work that ends badly was not done, whatever was said before.
        entry.done &= well || again;
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
