//! Child processes: run one to its end with a failure in words, and end one
//! that the tool started, with everything below it.
//!
//! Invariants: only processes below one of the tool's own are ended, by their
//! ids. Concurrency: a child of [`bound`] belongs to the thread that starts it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs `command` with the tool's own terminal and fails unless it succeeds.
///
/// # Errors
/// Says which command failed and how.
pub fn run(command: &mut Command) -> Result<()> {
    let text = line(command);
    let status = command.status().with_context(|| format!("cannot start `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed ({status})");
    }
    Ok(())
}

/// Runs `command` silently; on failure its output is part of the error.
///
/// # Errors
/// Says which command failed, how, and what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let text = line(command);
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{text}`"))?;
    let printed = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        bail!("`{text}` failed ({}):\n{printed}{}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    Ok(printed)
}

/// The command as one would type it, for messages.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Whether `program` is in the search path (or in the system directories,
/// which the path of an ordinary user may lack).
pub fn exists(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"];
    path.split(':').chain(system).any(|dir| !dir.is_empty() && Path::new(dir).join(program).is_file())
}

/// Process ids of all descendants of `pid`, parents first.
pub fn descendants(pid: u32) -> Vec<u32> {
    let processes: Vec<_> = fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(parentage).collect();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(processes.iter().filter(|(_, of)| *of == parent).map(|(child, _)| child));
        next += 1;
    }
    family.split_off(1)
}

/// A process of `/proc` with its parent.
fn parentage(entry: fs::DirEntry) -> Option<(u32, u32)> {
    let pid = entry.file_name().to_str()?.parse().ok()?;
    let status = fs::read_to_string(entry.path().join("status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Some((pid, parent.trim().parse().ok()?))
}

/// Sends SIGKILL to the given processes; ones that have ended are no error.
pub fn kill(pids: &[u32]) {
    if pids.is_empty() {
        return;
    }
    let ids = pids.iter().map(u32::to_string);
    let _ = Command::new("sh")
        .args(["-c", "kill -KILL \"$@\"", "kill"])
        .args(ids)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// A command that the kernel of the host ends when the tool dies, however it
/// dies. The calling thread must outlive the child.
pub fn bound(program: &str) -> Command {
    if exists("setpriv") {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]);
        return command;
    }
    Command::new(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named_with_its_output() {
        let error = output(Command::new("sh").args(["-c", "echo seen; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("exit 3"), "{error}");
        assert!(error.contains("seen"), "{error}");
    }

    #[test]
    fn descendants_are_found_and_ended() {
        let mut child = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let mut below = Vec::new();
        for _ in 0..6000 {
            below = descendants(child.id());
            if !below.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(below.len(), 1);
        kill(&[child.id(), below[0]]);
        assert!(!child.wait().unwrap().success());
    }
}
