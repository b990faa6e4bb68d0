//! `cargo xtask run` as one uses it: at a terminal, with commands typed into the guest's shell.
//!
//! The terminal is made by `script`, whose input and output are pipes of the case.
//! Concurrency: a thread reads what is printed, until the terminal closes.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::process;
use xtask::workspace;

use crate::case::Case;

/// The case of this module.
pub fn cases() -> Vec<Case> {
    vec![Case::new("vm-shell", |_, _| shell())]
}

/// How long the whole of it may take: a build that has nothing to do, a boot, three commands.
const LIMIT: Duration = Duration::from_secs(900);
/// What the guest's shell asks with.
const PROMPT: &str = "guest:/root# ";

/// Two virtual CPUs and a shell; `poweroff` ends the run with status 0.
fn shell() -> Result<()> {
    let mut terminal = Terminal::open("cargo xtask run")?;
    for (command, answer) in [("nproc", "\n2\n"), ("cat /proc/cmdline", "\nconsole=ttyS0 quiet tsc_early_khz=")] {
        terminal.wait_for(PROMPT)?;
        terminal.type_line(command)?;
        terminal.wait_for(answer)?;
    }
    terminal.wait_for(PROMPT)?;
    terminal.type_line("poweroff")?;
    terminal.wait_for("the guest has switched itself off")?;
    terminal.wait_for("the machine reported success")?;
    let status = terminal.child.wait().context("cannot wait for `script`")?;
    ensure!(status.success(), "`cargo xtask run` ended with {status}");
    Ok(())
}

/// A terminal and the command that runs there.
struct Terminal {
    child: Child,
    keys: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// What was printed, without carriage returns, and how much of it was waited for.
    printed: String,
    seen: usize,
    deadline: Instant,
}

impl Terminal {
    fn open(command: &str) -> Result<Self> {
        let mut script = process::bound("script");
        script.args(["-q", "-e", "-c", command, "/dev/null"]).current_dir(workspace::root()).env("TERM", "xterm");
        let mut child = started(&mut script)?;
        let keys = child.stdin.take().context("no input")?;
        let mut printed = child.stdout.take().context("no output")?;
        let (send, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = printed.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, keys, output, printed: String::new(), seen: 0, deadline: Instant::now() + LIMIT })
    }

    fn type_line(&mut self, text: &str) -> Result<()> {
        self.keys.write_all(format!("{text}\n").as_bytes()).context("the terminal takes no input")
    }

    /// Waits until `words` are printed after what was waited for before.
    fn wait_for(&mut self, words: &str) -> Result<()> {
        loop {
            if let Some(at) = self.printed[self.seen..].find(words) {
                self.seen += at + words.len();
                return Ok(());
            }
            match self.output.recv_timeout(self.deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.printed += &String::from_utf8_lossy(&bytes).replace('\r', ""),
                Err(_) => bail!("no {words:?}; the terminal shows:\n{}", self.printed),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let mut pids = process::descendants(self.child.id());
            pids.push(self.child.id());
            process::kill(&pids);
            // Killed by id above; this only collects the status.
            let _ = self.child.wait();
        }
    }
}

fn started(command: &mut Command) -> Result<Child> {
    let text = process::line(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{text}`"))
}
