//! Every hypercall, form and status on the running system, compared with the table of the interface.
//!
//! One case per machine boots the programs of `tests/conformance` in turn and collects their lines
//! (`triple HYPERCALL FORM STATUS ok|FAIL what`). A row of the table that the machine can reach and that no program
//! produced fails the case, as do a failed check, a program that does not come to its end, and a row that is said to be
//! unreachable and was reached. Reading the lines is pure and has tests of its own.

use std::fmt::Write as _;
use std::time::Duration;

use abi::Hypercall;
use abi::conformance::{Equipment, Reach, TRIPLES, Triple};
use anyhow::{Result, bail};
use xtask::machine::{Machine, Platform};
use xtask::run;

use crate::case::Case;
use crate::context::Context;

/// The programs, each for a group of hypercalls.
const PROGRAMS: [&str; 8] = [
    "conform-create",
    "conform-calls",
    "conform-semaphores",
    "conform-spaces",
    "conform-threads",
    "conform-devices",
    "conform-quota",
    "conform-inversion",
];

/// How long one program may take on Bochs.
const BOCHS_LIMIT: Duration = Duration::from_secs(900);

/// Platform and number of cores.
const MACHINES: [(Platform, u32); 4] =
    [(Platform::Qemu, 1), (Platform::Qemu, 2), (Platform::Qemu, 4), (Platform::Bochs, 2)];

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    let case = |&(platform, smp): &(Platform, u32)| {
        let name = format!("conformance-{platform:?}-{smp}").to_lowercase();
        let case = Case::new(name, move |context, name| conforms(context, name, platform, smp));
        // Bochs needs a minute or two for each program.
        if platform == Platform::Bochs { case.full() } else { case }
    };
    MACHINES.iter().map(case).collect()
}

fn conforms(context: &Context, name: &str, platform: Platform, smp: u32) -> Result<()> {
    let mut log = Vec::new();
    let mut unfinished = Vec::new();
    for program in PROGRAMS {
        let mut machine = Machine { platform, smp, ..context.scenario(&format!("{name}-{program}"), program)? };
        machine.timeout = (platform == Platform::Bochs).then_some(BOCHS_LIMIT);
        let outcome = run::to_the_end(&machine)?;
        if !outcome.log.iter().any(|line| line.contains("checks hold")) {
            unfinished.push(format!("{program} did not come to its end: {}", outcome.explain(20)));
        }
        log.extend(outcome.log);
    }
    let found = Found::read(&log);
    println!("conformance on {platform:?} with {smp} core(s):\n{}", found.list());
    let complaints = found.complaints();
    if complaints.is_empty() && unfinished.is_empty() {
        return Ok(());
    }
    bail!("{}", complaints.into_iter().chain(unfinished).collect::<Vec<_>>().join("\n"))
}

/// What the programs printed.
struct Found {
    machine: Option<Equipment>,
    /// Per row: a check held.
    held: Vec<bool>,
    /// Per row: a check failed.
    failed: Vec<bool>,
    /// Lines of failed checks.
    lines: Vec<String>,
}

impl Found {
    fn read(log: &[String]) -> Self {
        let (mut held, mut failed) = (vec![false; TRIPLES.len()], vec![false; TRIPLES.len()]);
        let mut lines = Vec::new();
        let mut machine = None;
        for line in log {
            machine = machine.or_else(|| equipment(line));
            let words: Vec<_> = line.split_whitespace().collect();
            let bad = match words[..] {
                ["triple", call, form, status, result, ..] => {
                    if let Some(row) = position(call, form, status) {
                        held[row] |= result == "ok";
                        failed[row] |= result != "ok";
                    }
                    result != "ok"
                }
                ["effect", ..] => true,
                _ => false,
            };
            if bad && !lines.contains(line) {
                lines.push(line.clone());
            }
        }
        Self { machine, held, failed, lines }
    }

    fn reached(&self, row: &Triple) -> bool {
        self.machine.is_some_and(|machine| row.reach.includes(machine))
    }

    fn result(&self, index: usize) -> &'static str {
        match (self.failed[index], self.held[index], self.reached(&TRIPLES[index])) {
            (true, ..) => "FAIL",
            (false, true, _) => "ok",
            (false, false, true) => "MISSING",
            (false, false, false) if TRIPLES[index].reach == Reach::Never => "unreachable",
            (false, false, false) => "not on this machine",
        }
    }

    /// A line for each form: its statuses with their results.
    fn list(&self) -> String {
        let mut text = String::new();
        let mut last = None;
        for (index, row) in TRIPLES.iter().enumerate() {
            let form = (row.hypercall, row.form);
            if last != Some(form) {
                let break_ = if last.is_none() { "" } else { "\n" };
                let name = format!("{} {}", row.hypercall.name(), row.form);
                let _ = write!(text, "{break_}  {name:22}");
                last = Some(form);
            }
            let _ = write!(text, " {}:{}", row.status.number(), self.result(index));
        }
        text
    }

    /// Everything that is wrong.
    fn complaints(&self) -> Vec<String> {
        let mut complaints = self.lines.clone();
        if self.machine.is_none() {
            complaints.push("no program said what the machine has".into());
        }
        for (index, row) in TRIPLES.iter().enumerate() {
            let Triple { hypercall, form, status, reason, .. } = row;
            let what = match self.result(index) {
                "MISSING" => "no program produced it",
                "ok" if !self.reached(row) => "the table says that this machine cannot produce it",
                _ => continue,
            };
            complaints.push(format!("{} {form}: {status}: {what} ({reason})", hypercall.name()));
        }
        complaints
    }
}

/// The row of the table with these words.
fn position(call: &str, form: &str, status: &str) -> Option<usize> {
    let call = Hypercall::ALL.into_iter().find(|hypercall| hypercall.name() == call)?;
    let status = abi::Status::try_from(status.parse::<u8>().ok()?).ok()?;
    abi::conformance::find(call, form, status)
}

/// What the first line of a program says of the machine.
fn equipment(line: &str) -> Option<Equipment> {
    let (_, rest) = line.strip_prefix("conformance ")?.split_once(": ")?;
    let (cores, rest) = rest.split_once(" cores, virtual CPUs ")?;
    let (virtual_cpus, iommu) = rest.split_once(", IOMMU ")?;
    Some(Equipment { cores: cores.parse().ok()?, virtual_cpus: virtual_cpus == "true", iommu: iommu == "true" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&str]) -> Found {
        Found::read(&lines.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    const FIRST: &str = "conformance x: 2 cores, virtual CPUs false, IOMMU false";

    #[test]
    fn conformance_fails_for_what_is_missing() {
        let complaints = found(&[FIRST]).complaints();
        let always = TRIPLES.iter().filter(|row| matches!(row.reach, Reach::Always | Reach::Cores | Reach::NotVirtual));
        assert_eq!(complaints.len(), always.count());
        assert!(complaints[0].contains("call plain") && complaints[0].contains("no program produced it"));
        assert!(found(&[]).complaints().len() == 1, "without the first line nothing is known to be reachable");
    }

    #[test]
    fn conformance_of_everything_has_no_complaint() {
        let machine = equipment(FIRST).unwrap();
        let rows = TRIPLES.iter().filter(|row| row.reach.includes(machine));
        let lines =
            rows.map(|row| format!("triple {} {} {} ok x", row.hypercall.name(), row.form, row.status.number()));
        let log: Vec<_> = std::iter::once(FIRST.to_owned()).chain(lines).collect();
        assert_eq!(Found::read(&log).complaints(), Vec::<String>::new());
        assert!(!Found::read(&log).list().contains("MISSING"));
    }

    #[test]
    fn conformance_fails_for_failed_checks_and_effects() {
        let all = found(&[FIRST, "triple call plain 0 ok a", "triple call plain 0 FAIL b: got 4", "effect FAIL c"]);
        assert!(all.complaints()[..2] == ["triple call plain 0 FAIL b: got 4", "effect FAIL c"]);
        assert!(all.list().starts_with("  call plain             0:FAIL 1:MISSING"));
    }

    #[test]
    fn conformance_fails_for_what_the_table_calls_unreachable() {
        let complaints = found(&[FIRST, "triple call plain 3 ok a"]).complaints();
        assert!(complaints.iter().any(|line| line.contains("cannot produce it")));
    }
}
