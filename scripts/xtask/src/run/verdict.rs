//! Decides whether a machine passed, and says why in words. Pure.
//!
//! The contract with the kernel: value v written to QEMU's exit port ends
//! QEMU with status 2 v + 1, and v = 0 is success; Bochs ends through its
//! shutdown port; a line `machine stops: status N` or `exit status N` with
//! N > 0 is a failure everywhere.

use std::time::Duration;

use crate::machine::{Machine, Platform};

/// How the emulator ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// With an exit status, or by a signal.
    Exited(Option<i32>),
    /// The tool ended it after this time.
    TimedOut(Duration),
    /// The emulator holds the machine, which reset itself or switched off.
    Held,
    /// It runs but cannot go on: what it said.
    Stuck(String),
}

/// What the emulator told beside the console.
#[derive(Clone, Default, Debug)]
pub struct Notes {
    /// Its error messages.
    pub messages: String,
    /// Bochs ended because the machine wrote to the shutdown port.
    pub shutdown_port: bool,
    /// QEMU saw a triple fault.
    pub triple_fault: bool,
}

const OFF: &str = "the machine reset itself or switched off without a report (as a rule, a triple fault)";

/// Whether the machine passed, and why (or why not).
pub fn verdict(machine: &Machine, end: &End, notes: &Notes, log: &[String]) -> (bool, String) {
    if let Some(line) = log.iter().find(|line| reports_failure(line)) {
        let doubt = if machine.platform == Platform::Kvm { kvm_doubt(log) } else { "" };
        return (false, format!("the machine reported a failure: {}{doubt}", line.trim()));
    }
    let messages = notes.messages.trim();
    match end {
        End::TimedOut(limit) => {
            let hint = "it hangs or is slow; --timeout gives it more";
            (false, with(&format!("the machine did not end within {} s: {hint}", limit.as_secs()), messages))
        }
        End::Stuck(message) => (false, message.clone()),
        End::Exited(_) | End::Held if notes.triple_fault => {
            (false, "the machine reset itself after a triple fault".into())
        }
        End::Held => (false, OFF.into()),
        End::Exited(None) => (false, with("the emulator was ended by a signal", messages)),
        End::Exited(Some(_)) if machine.platform == Platform::Bochs => bochs(notes),
        End::Exited(Some(code)) => qemu(*code, messages, log),
    }
}

/// Whose fault a failure on KVM may be. The kernel itself says when SYSCALL does not leave ring 3.
fn kvm_doubt(log: &[String]) -> &'static str {
    if log.iter().any(|line| line.contains("software KVM")) {
        "\nthis KVM cannot run the kernel; use --platform qemu"
    } else {
        "\nif --platform qemu passes, this KVM is at fault: one that emulates ring 0 in software does so incompletely"
    }
}

fn qemu(code: i32, messages: &str, log: &[String]) -> (bool, String) {
    let complains = messages.lines().any(|line| line.starts_with("qemu") && !line.contains("warning:"));
    match code {
        // QEMU's own failures also end with status 1, but before the machine prints.
        1 if log.is_empty() && complains => (false, with("QEMU did not start", messages)),
        1 => (true, "the machine reported success".into()),
        0 => (false, OFF.into()),
        code if code % 2 == 1 => (false, format!("the machine stopped with status {}", code / 2)),
        code => (false, with(&format!("QEMU failed with status {code}"), messages)),
    }
}

fn bochs(notes: &Notes) -> (bool, String) {
    if notes.shutdown_port {
        return (true, "the machine ended through the shutdown port".into());
    }
    (false, with("Bochs ended without the machine's request", notes.messages.trim()))
}

fn with(what: &str, messages: &str) -> String {
    if messages.is_empty() { what.to_owned() } else { format!("{what}\n{messages}") }
}

/// Whether a console line reports a failure of the kernel or the root program.
pub fn reports_failure(line: &str) -> bool {
    let nonzero = |rest: &str| rest.starts_with(|digit: char| ('1'..='9').contains(&digit));
    let kernel = line.split_once("machine stops: status ").is_some_and(|(_, rest)| nonzero(rest));
    kernel || line.strip_prefix("exit status ").is_some_and(nonzero)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Media;

    fn judge(platform: Platform, end: End, notes: &Notes, log: &[&str]) -> (bool, String) {
        let machine = Machine { platform, ..Machine::new("t", Media::Iso("x".into())) };
        let log: Vec<String> = log.iter().map(ToString::to_string).collect();
        verdict(&machine, &end, notes, &log)
    }

    #[test]
    fn only_status_one_of_qemu_is_success() {
        for (code, passed) in [(1, true), (0, false), (3, false), (2, false), (255, false)] {
            let (got, reason) = judge(Platform::Qemu, End::Exited(Some(code)), &Notes::default(), &["hello"]);
            assert_eq!(got, passed, "{code}: {reason}");
        }
        assert!(judge(Platform::Qemu, End::Exited(Some(7)), &Notes::default(), &[]).1.contains("status 3"));
        assert!(!judge(Platform::Qemu, End::Exited(None), &Notes::default(), &["hello"]).0);
    }

    #[test]
    fn a_failure_line_outweighs_the_status() {
        for line in ["[ 0 error] machine stops: status 2 (panic)", "exit status 1"] {
            let (passed, reason) = judge(Platform::Qemu, End::Exited(Some(1)), &Notes::default(), &["hello", line]);
            assert!(!passed);
            assert!(reason.contains(line), "{reason}");
        }
        assert!(!reports_failure("exit status 0"));
        assert!(!reports_failure("[ 0 info ] machine stops: status 0 (end)"));
        assert!(!reports_failure("a text about exit status 1"));
    }

    #[test]
    fn bochs_passes_only_through_the_shutdown_port() {
        let notes = Notes { shutdown_port: true, ..Notes::default() };
        assert!(judge(Platform::Bochs, End::Exited(Some(1)), &notes, &["hello"]).0);
        assert!(!judge(Platform::Bochs, End::Exited(Some(1)), &Notes::default(), &["hello"]).0);
        assert!(!judge(Platform::Bochs, End::Exited(Some(1)), &notes, &["exit status 4"]).0);
    }

    #[test]
    fn a_qemu_that_does_not_start_is_no_success() {
        let notes = Notes { messages: "qemu-system-x86_64: -foo: invalid option".into(), ..Notes::default() };
        let (passed, reason) = judge(Platform::Qemu, End::Exited(Some(1)), &notes, &[]);
        assert!(!passed);
        assert!(reason.contains("invalid option"), "{reason}");
        let warning = Notes { messages: "qemu-system-x86_64: warning: x".into(), ..Notes::default() };
        assert!(judge(Platform::Qemu, End::Exited(Some(1)), &warning, &[]).0);
    }

    #[test]
    fn a_kvm_whose_syscall_stays_in_ring_3_is_named() {
        let found = "[ 0 error] SYSCALL reached the kernel's entry without leaving ring 3: a software KVM";
        let stops = "[ 0 error] machine stops: status 1 (the root program died)";
        let judge = |platform, log: &[&str]| judge(platform, End::Exited(Some(3)), &Notes::default(), log).1;
        assert!(judge(Platform::Kvm, &[found, stops]).contains("cannot run the kernel"));
        assert!(judge(Platform::Kvm, &[stops]).contains("if --platform qemu passes"));
        assert!(!judge(Platform::Qemu, &[stops]).contains("KVM"));
    }

    #[test]
    fn time_outs_and_triple_faults_say_so() {
        let limit = Duration::from_secs(7);
        assert!(judge(Platform::Qemu, End::TimedOut(limit), &Notes::default(), &[]).1.contains("7 s"));
        let notes = Notes { triple_fault: true, ..Notes::default() };
        assert!(judge(Platform::Qemu, End::Held, &notes, &[]).1.contains("after a triple fault"));
        assert!(!judge(Platform::Qemu, End::Held, &Notes::default(), &["hello"]).0);
    }
}
