//! The table on the terminal.
//!
//! Invariants: every operation of the chosen groups has a line: measured, refused, or not there yet.
//! Concurrency: pure.

use std::fmt::Write;

use abi::counter::Counter;

use super::count::Count;
use super::document::Document;
use super::output::{Measured, value};
use super::table::{ENTRIES, Entry, Group, find};

/// Whether an operation is within its target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// At most the target.
    Ok,
    /// Above it, by at most a quarter.
    Over,
    /// Above it by more.
    FarOver,
    /// There is no target, or no figure that it could be compared with.
    None,
}

impl Verdict {
    /// Judges `value` instructions.
    pub fn of(target: Option<u64>, value: u64) -> Self {
        match target {
            None => Self::None,
            Some(target) if value <= target => Self::Ok,
            Some(target) if value <= target + target / 4 => Self::Over,
            Some(_) => Self::FarOver,
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Over => "over",
            Self::FarOver => "OVER",
            Self::None => "-",
        }
    }
}

/// The table of one run; with `judged` the values are instructions, which targets and peers are given in.
pub fn table(measured: &[Measured], groups: &[Group], judged: bool) -> String {
    let unit = if judged { "instructions" } else { "cycles" };
    let mut text = String::new();
    let width = ENTRIES.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
    let _ = write!(text, "{:width$} {unit:>12}", "operation");
    if judged {
        let _ = write!(text, " {TARGET:>7} {NOVA:>11} {GENODE:>13} {PEER:>9}  {:6} events", "");
    } else {
        let _ = write!(text, " {:>12}  events", "median");
    }
    text.push('\n');
    for each in measured {
        let entry = find(&each.name);
        let _ = write!(text, "{:width$}", each.name);
        let line = match (each.value, judged) {
            (None, _) => format!(" refused: {}", each.error.as_deref().unwrap_or("no value")),
            (Some(value), false) => format!(" {value:>12} {:>12}  {}", figure(each.median), happened(each)),
            (Some(value), true) => judged_line(entry, value, each, measured),
        };
        text += line.trim_end();
        text.push('\n');
    }
    let missing: Vec<_> = ENTRIES.iter().filter(|entry| groups.contains(&entry.group)).collect();
    for entry in missing.iter().filter(|entry| measured.iter().all(|each| each.name != entry.name)) {
        let _ = write!(text, "{:width$} {:>12}", entry.name, "-");
        if judged {
            let target = figure(entry.target(|name| value(measured, name)));
            let (nova, genode) = (figure(entry.nova), figure(entry.genode));
            let _ = write!(text, " {target:>7} {nova:>11} {genode:>13} {:>9}", "");
        }
        text += "  not there yet\n";
    }
    text
}

const TARGET: &str = "target";
const PEER: &str = "best peer";
const NOVA: &str = "NOVA 24.08";
const GENODE: &str = "Genode's NOVA";

fn judged_line(entry: Option<&Entry>, figures: u64, each: &Measured, all: &[Measured]) -> String {
    let target = entry.and_then(|entry| entry.target(|name| value(all, name)));
    let peer = entry.and_then(Entry::best_peer).map_or_else(|| "-".into(), |peer| ratio(figures, peer));
    let verdict = Verdict::of(target, figures).text();
    let (target, nova, genode) =
        (figure(target), figure(entry.and_then(|e| e.nova)), figure(entry.and_then(|e| e.genode)));
    format!(" {figures:>12} {target:>7} {nova:>11} {genode:>13} {peer:>9}  {verdict:6} {}", happened(each))
}

/// What happened in one operation; interrupts also if there were none, because that is what a shootdown is about.
fn happened(each: &Measured) -> String {
    let counters = each.counters();
    let told = |(name, count): &(&String, &Count)| **count != Count::ZERO || name.as_str() == IPIS;
    let told: Vec<_> = counters.iter().filter(told).map(|(name, count)| format!("{name} {count}")).collect();
    told.join(", ")
}

/// Counter of interrupts because of revocations.
pub const IPIS: &str = Counter::InterruptsSent.name();

fn figure(value: Option<u64>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// `value` as a multiple of `base`.
fn ratio(value: u64, base: u64) -> String {
    format!("{:.2}", value as f64 / base as f64)
}

/// How the figures of this run stand to an earlier one.
pub fn comparison(now: &Document, then: &Document) -> String {
    let mut text = format!("{:32} {:>12} {:>12} {:>6}\n", "operation", "then", "now", "ratio");
    for operation in &now.ops {
        let line = match then.value(&operation.name) {
            Some(before) => format!("{before:>12} {:>12} {:>6}", operation.value, ratio(operation.value, before)),
            None => format!("{:>12} {:>12}", "-", operation.value),
        };
        let _ = writeln!(text, "{:32} {line}", operation.name);
    }
    for operation in then.ops.iter().filter(|operation| now.value(&operation.name).is_none()) {
        let _ = writeln!(text, "{:32} {:>12} {:>12}", operation.name, operation.value, "-");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::document;
    use crate::bench::output::Sums;

    fn measured(name: &str, value: Option<u64>) -> Measured {
        let error = value.is_none().then(|| "call: status 4".to_owned());
        Measured {
            name: name.into(),
            group: "ipc".into(),
            value,
            median: value,
            error,
            counted: Sums { operations: 2, sums: [("ipis_sent".into(), 0), ("root_loads".into(), 0)].into() },
            events: [("locked".into(), 2.into())].into(),
        }
    }

    #[test]
    fn a_target_is_missed_far_by_more_than_a_quarter() {
        for (value, verdict) in
            [(160, Verdict::Ok), (161, Verdict::Over), (200, Verdict::Over), (201, Verdict::FarOver)]
        {
            assert_eq!(Verdict::of(Some(160), value), verdict, "{value}");
        }
        assert_eq!(Verdict::of(None, 1), Verdict::None);
    }

    #[test]
    fn every_operation_of_a_group_has_a_line() {
        let rows = [measured("null_hypercall", Some(70)), measured("sm_up", None), measured("odd", Some(3))];
        let text = table(&rows, &[Group::Ipc], true);
        let line = |name: &str| text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_default();
        let words: Vec<_> = line("null_hypercall").split_whitespace().collect();
        assert_eq!(words, ["null_hypercall", "70", "45", "56", "80", "1.25", "OVER", "ipis_sent", "0,", "locked", "2"]);
        assert!(line("sm_up").ends_with("refused: call: status 4"), "{text}");
        assert!(line("sm_down").ends_with("not there yet"), "{text}");
        assert!(line("odd").contains(" 3 "), "{text}");
        assert_eq!(line("create_pt"), "");
    }

    #[test]
    fn cycles_are_not_judged() {
        let text = table(&[measured("null_hypercall", Some(70))], &[Group::Ipc], false);
        assert!(!text.contains("ok") && !text.contains("OVER") && !text.contains("NOVA"), "{text}");
    }

    #[test]
    fn a_comparison_names_what_is_new_and_what_is_gone() {
        let run = |ops: &[(&str, u64)]| Document {
            mode: "instructions".into(),
            platform: "qemu".into(),
            cores: 1,
            ops: ops.iter().map(|(name, value)| document::Operation::new(name, *value)).collect(),
        };
        let text = comparison(&run(&[("a", 50), ("new", 7)]), &run(&[("a", 100), ("old", 9)]));
        let words: Vec<Vec<_>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words, [vec!["a", "100", "50", "0.50"], vec!["new", "-", "7"], vec!["old", "9", "-"]]);
    }
}
