//! Revocation against the number of cores that share a page and the number of pages, and private churn per core: with the
//! kernel's protocol, and with the naive one that it has to compare with.
//!
//! Invariants: both protocols are measured by the same program on the same machine; the name of an operation with the naive
//! protocol is that of the operation, with [`NAIVE`] behind it.
//! Concurrency: one machine at a time.
//! Source: the plan's sweeps for revocation; `docs/src/shootdown-plots.md`.

use std::fmt::Write;

use anyhow::Result;

use super::chart::{Chart, Line, Scale};
use super::count::Count;
use super::document::{Document, Operation};
use super::drive::Drive;
use super::output::Measured;
use super::view::IPIS;
use crate::machine::Platform;

/// End of the names of operations with the naive protocol.
pub const NAIVE: &str = "_naive";
/// What the program is asked for. Churn first: see there.
const REQUEST: &str = "only=private_churn_*,revoke_sharers_*,revoke_pages_*";
/// Shares of the cores, as operations are named, and in words.
const SHARES: [(&str, &str); 3] = [("all", "used by all cores"), ("half", "by half of them"), ("none", "by no other")];

/// Measures all with both protocols.
///
/// # Errors
/// A machine failed.
pub fn measure(drive: &Drive, cores: u32) -> Result<Vec<Measured>> {
    let mut measured = Vec::new();
    for (naive, request) in [(false, REQUEST.to_owned()), (true, format!("{REQUEST} interrupts=any"))] {
        println!("bench: sweeping on {cores} cores, {} protocol", if naive { "naive" } else { "precise" });
        let mut drive = drive.clone();
        if naive {
            drive.kernel_args.push("shootdown=naive".into());
        }
        // Threads of an emulator that wait for each other take long, and their figures say little.
        let emulated = !drive.counting && drive.platform == Platform::Qemu;
        let request = if emulated { format!("{request} batches=2") } else { request };
        let mut operations = drive.measure(cores, &request)?.operations;
        if naive {
            operations.iter_mut().for_each(|each| each.name += NAIVE);
        }
        measured.append(&mut operations);
    }
    Ok(measured)
}

/// The table on the terminal: both protocols beside each other.
pub fn table(measured: &[Measured], counting: bool) -> String {
    let unit = if counting { "instructions" } else { "cycles" };
    let mut text =
        format!("{:24} {unit:>14} {:>14} {:>6} {:>9} {:>9}\n", "operation", "naive", "ratio", "IPIs", "naive");
    for each in measured.iter().filter(|each| !each.name.ends_with(NAIVE)) {
        let naive = measured.iter().find(|other| other.name.strip_suffix(NAIVE) == Some(&each.name));
        let figure = |each: &Measured| match each.value {
            Some(value) => value.to_string(),
            None => each.error.clone().unwrap_or_default(),
        };
        let ratio = naive.and_then(|naive| Some(naive.value? as f64 / each.value? as f64));
        let ratio = ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        let ipis = |each: &Measured| each.counters().get(IPIS).map(Count::to_string).unwrap_or_default();
        let other = naive.map(figure).unwrap_or_default();
        let [precise, others] = [ipis(each), naive.map(ipis).unwrap_or_default()];
        let _ = writeln!(text, "{:24} {:>14} {other:>14} {ratio:>6} {precise:>9} {others:>9}", each.name, figure(each));
    }
    text
}

/// The plots of a run that has sweeps in it, by name.
///
/// # Errors
/// A plot cannot be drawn.
pub fn plots(document: &Document, unit: &str) -> Result<Vec<(&'static str, String)>> {
    let lines = |labels: &[(&str, &str)]| -> Vec<Line> {
        let both = labels.iter().flat_map(|(name, label)| {
            [("", "precise"), (NAIVE, "naive")].map(|(end, protocol)| {
                let label = if label.is_empty() { protocol.to_owned() } else { format!("{protocol}, {label}") };
                Line { label, dashed: !end.is_empty(), points: points(document, name, end) }
            })
        });
        both.filter(|line| !line.points.is_empty()).collect()
    };
    let shares = SHARES.map(|(share, label)| (format!("revoke_pages_*_{share}"), label));
    let shares: Vec<_> = shares.iter().map(|(name, label)| (name.as_str(), *label)).collect();
    let cost = format!("{unit} per revocation");
    let each = format!("{unit} per operation and core");
    let charts = [
        (
            "sharers",
            Chart {
                title: format!("Revocation of one page, {} cores run the domain", document.cores),
                x: ("cores that have used it", Scale::Linear),
                y: (&cost, Scale::Linear),
                lines: lines(&[("revoke_sharers_*", "")]),
            },
        ),
        (
            "pages",
            Chart {
                title: format!("Revocation of many pages at once, {} cores run the domain", document.cores),
                x: ("pages of 4 KiB", Scale::Logarithmic),
                y: (&cost, Scale::Logarithmic),
                lines: lines(&shares),
            },
        ),
        (
            "churn",
            Chart {
                title: "Private churn: each core maps, reads and revokes pages of its own".into(),
                x: ("cores at the same time", Scale::Linear),
                y: (&each, Scale::Linear),
                lines: lines(&[("private_churn_*", "")]),
            },
        ),
    ];
    // Churn on its own is an operation like others, and has its bar.
    let swept = document.ops.iter().any(|operation| operation.name.ends_with(NAIVE));
    let drawn = charts.into_iter().filter(|(_, chart)| swept && !chart.lines.is_empty());
    drawn.map(|(name, chart)| Ok((name, chart.svg()?))).collect()
}

/// The figures of the operations whose name is `pattern` with a number in place of the star, and `end` behind it.
pub fn points(document: &Document, pattern: &str, end: &str) -> Vec<(f64, f64)> {
    let (begin, middle) = pattern.split_once('*').unwrap_or((pattern, ""));
    let number = |operation: &Operation| {
        operation.name.strip_prefix(begin)?.strip_suffix(end)?.strip_suffix(middle)?.parse::<u32>().ok()
    };
    let mut points: Vec<_> =
        document.ops.iter().filter_map(|each| Some((f64::from(number(each)?), each.value as f64))).collect();
    points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    points
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::output::Sums;

    fn measured(name: &str, value: Option<u64>, ipis: u64) -> Measured {
        let counted = Sums { operations: 2, sums: [(IPIS.to_owned(), 2 * ipis)].into() };
        let error = value.is_none().then(|| "interrupts: status 3".to_owned());
        let (name, group) = (name.to_owned(), "sweep".to_owned());
        Measured { name, group, value, median: value, error, counted, events: [].into() }
    }

    #[test]
    fn both_protocols_stand_on_one_line() {
        let text = table(
            &[
                measured("revoke_sharers_2", Some(2000), 1),
                measured("revoke_sharers_3", None, 0),
                measured("revoke_sharers_2_naive", Some(7000), 7),
            ],
            true,
        );
        let words: Vec<Vec<_>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1], ["revoke_sharers_2", "2000", "7000", "3.50", "1", "7"]);
        assert!(text.contains("interrupts: status 3") && words.len() == 3, "{text}");
    }

    #[test]
    fn points_are_found_by_the_number_in_the_name() {
        let ops = ["revoke_pages_16_all", "revoke_pages_4_all", "revoke_pages_4_half", "revoke_pages_4_all_naive"];
        let ops = ops.iter().zip(1..).map(|(name, value)| Operation::new(name, value)).collect();
        let document = Document { mode: "instructions".into(), platform: "qemu".into(), cores: 8, ops };
        assert_eq!(points(&document, "revoke_pages_*_all", ""), [(4.0, 2.0), (16.0, 1.0)]);
        assert_eq!(points(&document, "revoke_pages_*_all", NAIVE), [(4.0, 4.0)]);
        assert_eq!(points(&document, "revoke_sharers_*", ""), []);
    }

    #[test]
    fn a_plot_has_both_protocols() {
        let mut ops: Vec<_> = (1..=4).map(|n| Operation::new(&format!("revoke_sharers_{n}"), 1000 * n)).collect();
        let document = |ops: &[Operation]| Document {
            mode: "instructions".into(),
            platform: "qemu".into(),
            cores: 4,
            ops: ops.to_vec(),
        };
        assert_eq!(plots(&document(&ops), "instructions").unwrap(), [], "no sweep with one protocol");
        ops.extend((1..=4).map(|n| Operation::new(&format!("revoke_sharers_{n}{NAIVE}"), 5000)));
        let plots = plots(&document(&ops), "instructions").unwrap();
        let [("sharers", svg)] = &plots[..] else { panic!("{plots:?}") };
        assert!(
            svg.contains("precise") && svg.contains("naive") && svg.contains("instructions per revocation"),
            "{svg}"
        );
        let plots = self::plots(&Document { mode: "time".into(), ..document(&ops) }, "cycles").unwrap();
        assert!(plots[0].1.contains("cycles per revocation"), "time mode says its unit");
    }
}
