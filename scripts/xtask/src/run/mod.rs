//! Boots a machine, reads its console, and says how it ended.
//!
//! [`start`] gives a [`Running`] machine that the caller reads, waits for and
//! questions through the emulator's monitor; it belongs to one thread and is
//! ended when dropped. Every machine has a time limit, so nothing hangs.
//! [`desk`] hands the terminal to the machine instead.

mod command;
pub(crate) mod console;
mod emulator;
mod monitor;
mod state;
mod verdict;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::machine::{Firmware, Machine, Platform};
use crate::symbols::{self, Symbols};
use crate::workspace;
use emulator::{Emulator, Event};
use verdict::verdict;
pub use verdict::{End, reports_failure};

/// How long a machine may still run once it has reported its failure.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// How a machine ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether the root program reported success and nothing a failure.
    pub passed: bool,
    /// Whether the machine ended by itself, and was not ended after a time-out.
    pub ended_itself: bool,
    /// Why, in words.
    pub reason: String,
    /// The console's lines, with the names of code addresses after the lines of a fault.
    pub log: Vec<String>,
    /// Where the log is kept.
    pub file: PathBuf,
}

impl Outcome {
    /// Fails unless the machine passed; the error holds reason and end of the log.
    ///
    /// # Errors
    /// The machine failed.
    pub fn success(self) -> Result<Self> {
        if self.passed {
            return Ok(self);
        }
        bail!("{}", self.explain(40));
    }

    /// The reason and the last `lines` lines of the log.
    pub fn explain(&self, lines: usize) -> String {
        let start = self.log.len().saturating_sub(lines);
        let end = match self.log[start..].join("\n  | ") {
            end if end.is_empty() => "the console printed nothing".into(),
            end => format!("the end of the log ({}):\n  | {end}", self.file.display()),
        };
        format!("{}\n{end}", self.reason)
    }
}

/// A machine that runs. Belongs to the thread that started it.
pub struct Running {
    machine: Machine,
    emulator: Emulator,
    symbols: Option<Symbols>,
    deadline: Instant,
    end: Option<End>,
    log: Vec<String>,
    file: PathBuf,
    writer: fs::File,
}

/// Starts a machine with its console read by the tool.
///
/// # Errors
/// The platform cannot run it, or the emulator is missing.
pub fn start(machine: &Machine) -> Result<Running> {
    prepare(machine)?;
    let file = workspace::scratch("logs")?.join(format!("{}.log", machine.name));
    let writer = fs::File::create(&file).with_context(|| format!("cannot write the log {}", file.display()))?;
    let symbols = machine.kernel.as_deref().and_then(|kernel| Symbols::load(kernel).ok());
    let emulator = Emulator::start(machine)?;
    let deadline = Instant::now() + machine.time_limit();
    let machine = machine.clone();
    Ok(Running { machine, emulator, symbols, deadline, end: None, log: Vec::new(), file, writer })
}

/// Starts a machine and waits for its end.
///
/// # Errors
/// As [`start`]; a machine that fails is an outcome, not an error.
pub fn to_the_end(machine: &Machine) -> Result<Outcome> {
    Ok(start(machine)?.finish())
}

fn prepare(machine: &Machine) -> Result<()> {
    machine.check()?;
    if machine.platform == Platform::Kvm {
        let open = fs::File::options().read(true).write(true).open("/dev/kvm");
        open.context("KVM is not usable here: /dev/kvm cannot be opened; use --platform qemu, which needs no KVM")?;
    }
    Ok(())
}

impl Running {
    /// The next line of the console; `None` when the machine has ended or `until` has passed.
    fn line(&mut self, until: Instant) -> Option<String> {
        if self.end.is_some() {
            return None;
        }
        match self.emulator.next(until.min(self.deadline)) {
            Event::Line(line) => {
                self.record(&line);
                Some(line)
            }
            Event::Ended(end) => {
                self.end = Some(end);
                None
            }
            Event::Deadline if Instant::now() >= self.deadline => {
                self.end = Some(End::TimedOut(self.machine.time_limit()));
                None
            }
            Event::Deadline => None,
        }
    }

    fn record(&mut self, line: &str) {
        if reports_failure(line) {
            // A machine that found no way to end itself waits in vain.
            self.deadline = self.deadline.min(Instant::now() + LAST_WORDS);
        }
        let mut notes = self.symbols.as_ref().map(|symbols| symbols.annotate(line)).unwrap_or_default();
        let programs = self.machine.kernel.as_deref().and_then(Path::parent);
        notes.extend(programs.map(|programs| symbols::backtrace(line, programs)).unwrap_or_default());
        for text in std::iter::once(line.to_owned()).chain(notes) {
            if self.machine.echo {
                println!("{text}");
            }
            // The log on disk is a convenience; the one in memory decides.
            let _ = writeln!(self.writer, "{text}");
            self.log.push(text);
        }
    }

    /// Waits until the console shows a line with `needle`; returns that line.
    ///
    /// # Errors
    /// The machine ended first, or `limit` passed.
    pub fn wait_for(&mut self, needle: &str, limit: Duration) -> Result<String> {
        let until = Instant::now() + limit;
        loop {
            match self.line(until) {
                Some(line) if line.contains(needle) => return Ok(line),
                Some(_) => {}
                None => break,
            }
        }
        let ended = if self.end.is_some() { "before the machine ended" } else { "in time" };
        bail!("no line with {needle:?} {ended}; the log:\n  | {}", self.log.join("\n  | "))
    }

    /// Sends a command to the emulator's monitor and returns what it answers (QEMU only).
    ///
    /// # Errors
    /// The machine does not run under QEMU, or QEMU does not answer.
    pub fn monitor(&mut self, command: &str) -> Result<String> {
        self.emulator.monitor(command)
    }

    /// The console's lines so far.
    pub fn log(&self) -> &[String] {
        &self.log
    }

    /// Waits for the end of the machine, at most its time limit.
    pub fn finish(mut self) -> Outcome {
        while self.end.is_none() {
            self.line(self.deadline);
        }
        let end = self.end.take().unwrap_or(End::Exited(None));
        // Where the cores stand explains a machine that hangs or has reset itself.
        let cores = if end == End::Exited(Some(1)) { Vec::new() } else { self.emulator.cores() };
        // A machine that has printed nothing may still be in the boot loader.
        let silent = self.log.is_empty() && matches!(end, End::TimedOut(_));
        let screen = if silent { self.emulator.screen() } else { Vec::new() };
        self.emulator.end();
        for line in self.emulator.rest() {
            self.record(&line);
        }
        let notes = self.emulator.notes();
        let (passed, mut reason) = verdict(&self.machine, &end, &notes, &self.log);
        reason += &state::report(&cores, 16, |rip| self.symbols.as_ref()?.place(rip));
        if !screen.is_empty() {
            reason += &format!("\nits screen shows:\n  # {}", screen.join("\n  # "));
        }
        let ended_itself = matches!(end, End::Exited(_));
        Outcome { passed, ended_itself, reason, log: self.log, file: self.file }
    }
}

/// Boots a machine with the terminal as its serial console, and waits for its
/// end. Without an explicit time limit it runs as long as the user likes.
///
/// # Errors
/// As [`start`].
pub fn desk(machine: &Machine) -> Result<Outcome> {
    if !machine.on_qemu() {
        println!("run: Bochs shows its console here, but takes no input");
        return to_the_end(&Machine { echo: true, ..machine.clone() });
    }
    prepare(machine)?;
    println!("run: this terminal is the serial console; Ctrl-A X ends the machine, Ctrl-A C is QEMU's monitor");
    let file = workspace::scratch("logs")?.join(format!("{}.log", machine.name));
    let mut emulator = Emulator::at_desk(machine, &file)?;
    let end = emulator.wait(machine.timeout);
    let printed = fs::read(&file).unwrap_or_default();
    let log = console::lines(&printed);
    let notes = emulator.notes();
    let (mut passed, mut reason) = verdict(machine, &end, &notes, &log);
    if end == End::Exited(Some(0)) && !notes.triple_fault {
        (passed, reason) = (true, "the machine was switched off".into());
    }
    let ended_itself = matches!(end, End::Exited(_));
    Ok(Outcome { passed, ended_itself, reason, log, file })
}

/// One line about a machine, for the progress messages.
pub fn describe(machine: &Machine) -> String {
    let Machine { platform, smp, memory, .. } = machine;
    let name = match platform {
        Platform::Qemu => "QEMU",
        Platform::Bochs => "Bochs",
        Platform::Kvm => "KVM",
    };
    let firmware = if machine.firmware == Firmware::Uefi { ", UEFI" } else { "" };
    let limit = machine.time_limit().as_secs();
    format!("{name}, {smp} core(s), {memory} MiB{firmware}, at most {limit} s")
}
