//! One emulator process: its files, its console, its messages and its end.
//!
//! Invariants: ended, with everything below it, when dropped; never waited for
//! without a limit. Concurrency: belongs to one thread; reader threads feed it
//! and end with the process.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::command::{self, BOCHS_LOG, RESETS, SERIAL};
use super::console;
use super::monitor::Monitor;
use super::state::{self, CoreState};
use super::verdict::{End, Notes};
use crate::machine::Machine;
use crate::process;

/// The socket of QEMU's monitor, in the machine's directory.
const MONITOR: &str = "monitor";
/// What QEMU prints when KVM gives a machine up.
const KVM_GIVES_UP: [&str; 3] = ["KVM internal error", "KVM: entry failed", "error: kvm run failed"];

/// What happened next.
pub enum Event {
    /// The console printed a line.
    Line(String),
    /// The emulator ended (or must be ended).
    Ended(End),
    /// Nothing until then.
    Deadline,
}

/// A running emulator; ended and cleaned up when dropped.
pub struct Emulator {
    child: Child,
    directory: PathBuf,
    console: Receiver<String>,
    messages: Arc<Mutex<String>>,
    monitor: Option<Monitor>,
    /// When the monitor was last asked whether the machine can go on.
    asked: Instant,
    /// Set when the emulator has ended: a file that is read does not grow any more.
    ended: Arc<AtomicBool>,
}

impl Emulator {
    /// Starts the emulator of a machine with its console read by the tool.
    pub fn start(machine: &Machine) -> Result<Self> {
        let directory = fresh_directory()?;
        let ended = Arc::new(AtomicBool::new(false));
        if machine.on_qemu() {
            let mut command = command::qemu(machine, &directory)?;
            // A machine that resets itself is held, so that its cores can be looked at.
            command.args(["-action", "shutdown=pause", "-serial", "stdio", "-monitor"]);
            command.arg(format!("unix:{},server=on,wait=off", directory.join(MONITOR).display()));
            command.args(&machine.qemu_args);
            let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
            let console = console::follow(child.stdout.take().context("no console")?, None);
            let messages = collect(child.stderr.take());
            return Ok(Self::new(child, directory, console, messages, ended));
        }
        let console = console::growing(&directory.join(SERIAL), &ended).context("cannot create the console's file")?;
        let mut command = command::bochs(machine, &directory)?;
        let child = spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))?;
        Ok(Self::new(child, directory, console, Arc::default(), ended))
    }

    /// Starts QEMU on the tool's own terminal; the console is also kept in `log`.
    pub fn at_desk(machine: &Machine, log: &Path) -> Result<Self> {
        let directory = fresh_directory()?;
        let mut command = command::qemu(machine, &directory)?;
        command.arg("-chardev");
        command.arg(format!("stdio,id=console,mux=on,signal=off,logfile={}", log.display()));
        command.args(["-serial", "chardev:console", "-mon", "chardev=console,mode=readline"]);
        command.args(&machine.qemu_args);
        let child = spawn(&mut command)?;
        let (_, console) = channel();
        Ok(Self::new(child, directory, console, Arc::default(), Arc::default()))
    }

    fn new(
        child: Child,
        directory: PathBuf,
        console: Receiver<String>,
        messages: Arc<Mutex<String>>,
        ended: Arc<AtomicBool>,
    ) -> Self {
        Self { child, directory, console, messages, monitor: None, asked: Instant::now(), ended }
    }

    /// Sends a command to QEMU's monitor and returns the answer.
    pub fn monitor(&mut self, command: &str) -> Result<String> {
        if self.monitor.is_none() {
            let socket = self.directory.join(MONITOR);
            if !socket.exists() {
                bail!("this machine has no monitor; only QEMU's can be questioned");
            }
            self.monitor = Some(Monitor::connect(&socket)?);
        }
        self.monitor.as_mut().context("no monitor")?.command(command)
    }

    /// Where the cores stand; nothing when the emulator cannot be asked.
    pub fn cores(&mut self) -> Vec<CoreState> {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return Vec::new();
        }
        self.monitor("info registers -a").map(|answer| state::parse(&answer)).unwrap_or_default()
    }

    /// What stands on the text screen; nothing when the emulator cannot be asked.
    pub fn screen(&mut self) -> Vec<String> {
        self.monitor(state::SCREEN).map(|answer| state::screen(&answer)).unwrap_or_default()
    }

    /// Whether QEMU holds the machine because it cannot go on.
    fn held(&mut self) -> Option<End> {
        if self.asked.elapsed() < Duration::from_millis(500) || !self.directory.join(MONITOR).exists() {
            return None;
        }
        self.asked = Instant::now();
        let status = self.monitor("info status").ok()?;
        status.contains("shutdown").then_some(End::Held)
    }

    /// The next event, at the latest at `until`.
    pub fn next(&mut self, until: Instant) -> Event {
        loop {
            let now = Instant::now();
            if now >= until {
                return Event::Deadline;
            }
            match self.console.recv_timeout((until - now).min(Duration::from_millis(100))) {
                Ok(line) => return Event::Line(line),
                Err(RecvTimeoutError::Disconnected) => {
                    let left = until.saturating_duration_since(Instant::now()).max(Duration::from_secs(5));
                    return Event::Ended(self.wait(Some(left)));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(end) = self.kvm_gave_up().map(End::Stuck).or_else(|| self.held()) {
                return Event::Ended(end);
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                self.ended.store(true, Ordering::Release);
            }
        }
    }

    /// The lines printed before the end; for an emulator that has ended.
    pub fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Ok(line) = self.console.recv_timeout(Duration::from_secs(1)) {
            lines.push(line);
        }
        lines
    }

    /// Waits for the end of the process, at most `limit`.
    pub fn wait(&mut self, limit: Option<Duration>) -> End {
        let start = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return End::Exited(status.code()),
                Err(_) => return End::Exited(None),
                Ok(None) => {}
            }
            if let Some(limit) = limit.filter(|limit| start.elapsed() >= *limit) {
                self.end();
                return End::TimedOut(limit);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What QEMU says when KVM cannot run an instruction of the machine.
    fn kvm_gave_up(&self) -> Option<String> {
        let read = || self.messages.lock().map(|text| text.clone()).unwrap_or_default();
        if !KVM_GIVES_UP.iter().any(|mark| read().contains(mark)) {
            return None;
        }
        // The registers follow within moments.
        thread::sleep(Duration::from_millis(200));
        let why = "this KVM cannot run the kernel: it gave up an instruction in ring 0, as a KVM does that emulates \
                   it in software; use --platform qemu";
        Some(format!("{why}\n{}", read().trim()))
    }

    /// Ends the emulator and everything below it.
    pub fn end(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let mut pids = process::descendants(self.child.id());
            pids.push(self.child.id());
            process::kill(&pids);
            // Killed by id above; this only collects the status.
            let _ = self.child.wait();
        }
        self.ended.store(true, Ordering::Release);
    }

    /// What the emulator told beside the console; complete once it has ended.
    pub fn notes(&self) -> Notes {
        let mut notes = Notes::default();
        // The message thread may still hold the last words of a process that has just ended.
        for _ in 0..50 {
            if Arc::strong_count(&self.messages) == 1 {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        notes.messages = self.messages.lock().map(|text| text.clone()).unwrap_or_default();
        if let Ok(log) = fs::read(self.directory.join(BOCHS_LOG)) {
            let log = String::from_utf8_lossy(&log);
            notes.shutdown_port = log.contains("Shutdown port: shutdown requested");
            let panics = log.lines().filter(|line| line.contains("PANIC"));
            notes.messages = panics.collect::<Vec<_>>().join("\n");
        }
        if let Ok(resets) = fs::read(self.directory.join(RESETS)) {
            notes.triple_fault = String::from_utf8_lossy(&resets).contains("Triple fault");
        }
        notes
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.end();
        // The directory holds nothing of worth; left over it does no harm.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn spawn(command: &mut Command) -> Result<Child> {
    let text = process::line(command);
    command.spawn().with_context(|| format!("cannot start `{text}`; `cargo xtask setup` installs what is missing"))
}

/// A new directory for one machine. Short, because a socket's path is limited to 107 bytes.
fn fresh_directory() -> Result<PathBuf> {
    static SERIAL: AtomicU32 = AtomicU32::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("vela-{}-{serial}", std::process::id()));
    // A tool with the same number may have been killed before it cleaned up.
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    Ok(directory)
}

/// Gathers what a process says on its error output.
fn collect(source: Option<impl Read + Send + 'static>) -> Arc<Mutex<String>> {
    let messages = Arc::new(Mutex::new(String::new()));
    if let Some(mut source) = source {
        let shared = messages.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                if let Ok(mut text) = shared.lock() {
                    text.push_str(&String::from_utf8_lossy(&buffer[..count]));
                }
            }
        });
    }
    messages
}
