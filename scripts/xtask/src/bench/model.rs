//! What a revocation costs on machines that we do not have: `cargo xtask bench model`.
//!
//! Takes how many instructions and interrupts a revocation was measured to need, and published latencies ([`published`]), and
//! plays revocations on machines of 1 to 1024 cores ([`machine`]) with three protocols.
//! Invariants: nothing is measured here; the assumptions are printed with the result.
//! Concurrency: one run at a time.
//! Source: `docs/src/shootdown.md`, "Larger machines".

pub mod machine;
pub mod published;

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::chart::{Chart, Line, Scale};
use super::document::Document;
use super::sweep::points;
use machine::{Costs, Protocol, Scene};
use published::Figure;

/// What the command line says.
#[derive(Args, Debug)]
pub struct Options {
    /// The counts: a file of `bench shootdown --sweep --json FILE` in instructions
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Write plots (SVG): one revocation, and all cores at once
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
}

/// Machines: powers of two up to this.
const MOST: u32 = 1024;

/// What was measured, in instructions.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Counts {
    /// A revocation that interrupts nobody.
    pub alone: f64,
    /// What each further core that shares the page adds, on all cores together.
    pub each: f64,
}

impl Counts {
    /// Takes them from a sweep.
    ///
    /// # Errors
    /// It has no sweep over sharers, or was measured in time.
    pub fn of(document: &Document) -> Result<Self> {
        if document.mode != "instructions" {
            bail!("the model takes instructions; the file was measured in mode `{}`", document.mode);
        }
        let [(1.0, alone), .., (sharers, all)] = points(document, "revoke_sharers_*", "")[..] else {
            bail!("the file has no sweep over sharers; `cargo xtask bench shootdown --sweep --json FILE` writes one");
        };
        Ok(Self { alone, each: ((all - alone) / (sharers - 1.0)).max(0.0) })
    }

    /// What things take on a machine of `cores`, if the sender executes that part of what an interrupt costs.
    pub fn costs(&self, cores: u32, sender: f64) -> Costs {
        let clock = published::CLOCK.value;
        let executed = |instructions: f64| instructions * published::CYCLES.value / clock;
        let (gate, invlpg) = (published::GATE.value / clock, published::INVLPG.value);
        Costs {
            work: (executed(self.alone) + invlpg) as u64,
            ask: (executed(self.each * sender) + published::LINE.value) as u64,
            way: published::interrupt(cores) as u64,
            serve: (executed(self.each * (1.0 - sender)) + gate + invlpg) as u64,
        }
    }
}

/// A line of the prediction: its name, the protocol, cores that use the page (`None`: all).
const SINGLE: [(&str, Protocol, Option<u32>); 5] = [
    ("loop", Protocol::Loop, None),
    ("broadcast", Protocol::Broadcast, None),
    ("precise, all", Protocol::Precise, None),
    ("precise, 4", Protocol::Precise, Some(4)),
    ("precise, private", Protocol::Precise, Some(1)),
];
const AT_ONCE: [(&str, Protocol, Option<u32>); 3] = [
    ("loop", Protocol::Loop, Some(1)),
    ("broadcast", Protocol::Broadcast, Some(1)),
    ("precise", Protocol::Precise, Some(1)),
];

/// Microseconds by cores, line by line.
type Prediction = Vec<(&'static str, Vec<(u32, f64)>)>;

/// One core revokes a page that others use, on machines of up to `most` cores.
pub fn single(counts: &Counts, sender: f64, most: u32) -> Prediction {
    predict(&SINGLE, counts, (sender, most), |_| 1)
}

/// All cores revoke a page of their own at the same time: until all are done.
pub fn at_once(counts: &Counts, sender: f64, most: u32) -> Prediction {
    predict(&AT_ONCE, counts, (sender, most), |cores| cores)
}

fn predict(
    lines: &[(&'static str, Protocol, Option<u32>)],
    counts: &Counts,
    (sender, most): (f64, u32),
    revoking: impl Fn(u32) -> u32,
) -> Prediction {
    let machines = || (0..=most.ilog2()).map(|doublings| 1 << doublings);
    let of = |cores: u32, protocol, sharers: Option<u32>| {
        let scene = Scene { cores, revoking: revoking(cores), sharers: sharers.unwrap_or(cores) };
        scene.run(protocol, &counts.costs(cores, sender)).time as f64 / 1000.0
    };
    let line = |protocol, sharers| machines().map(|cores| (cores, of(cores, protocol, sharers))).collect();
    lines.iter().map(|&(name, protocol, sharers)| (name, line(protocol, sharers))).collect()
}

/// Predicts, shows, draws.
///
/// # Errors
/// The file has no counts, or a plot cannot be written.
pub fn run(options: &Options) -> Result<()> {
    let counts = Counts::of(&Document::load(&options.from)?)?;
    let sender = published::SENDER.value;
    let (single, at_once) = (single(&counts, sender, MOST), at_once(&counts, sender, MOST));
    println!("{}", assumptions(&counts));
    println!("one revocation, in microseconds, by cores that run the domain\n{}", table(&single));
    println!("private pages on all cores at once, in microseconds until all have revoked one\n{}", table(&at_once));
    let Some(directory) = &options.plot else { return Ok(()) };
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let titles = ["Model: one revocation", "Model: private pages, all cores revoke one at once"];
    for ((name, title), prediction) in ["model", "model-churn"].into_iter().zip(titles).zip([&single, &at_once]) {
        let file = directory.join(format!("{name}.svg"));
        fs::write(&file, chart(title, prediction).svg()?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("bench: {}", file.display());
    }
    Ok(())
}

fn assumptions(counts: &Counts) -> String {
    let mut text = format!(
        "measured: {:.0} instructions for a revocation alone, {:.0} for each core that is interrupted\n",
        counts.alone, counts.each
    );
    for Figure { what, value, unit, source } in published::ALL {
        let source = source.map_or_else(|| "assumed".to_owned(), |source| format!("published: {source}"));
        let _ = writeln!(text, "{what}: {value} {unit} ({source})");
    }
    text
}

fn table(prediction: &Prediction) -> String {
    let mut text = format!("{:>6}", "cores");
    for (name, _) in prediction {
        let _ = write!(text, " {name:>17}");
    }
    text.push('\n');
    let machines = prediction.first().map(|(_, line)| line.len()).unwrap_or_default();
    for index in 0..machines {
        let figures: Vec<_> = prediction.iter().filter_map(|(_, line)| line.get(index)).collect();
        let _ = write!(text, "{:>6}", figures.first().map_or(0, |(cores, _)| *cores));
        for (_, time) in figures {
            let _ = write!(text, " {time:>17.1}");
        }
        text.push('\n');
    }
    text
}

fn chart<'a>(title: &str, prediction: &Prediction) -> Chart<'a> {
    let lines = prediction.iter().map(|(name, line)| {
        // Nanoseconds: on a logarithmic axis everything is above 1.
        let points = line.iter().map(|&(cores, time)| (f64::from(cores), time * 1000.0)).collect();
        Line { label: (*name).to_owned(), dashed: false, points }
    });
    let (x, y) = (("cores that run the domain", Scale::Logarithmic), ("nanoseconds", Scale::Logarithmic));
    Chart { title: title.to_owned(), x, y, lines: lines.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::document::Operation;

    const COUNTS: Counts = Counts { alone: 1800.0, each: 430.0 };

    fn document(mode: &str, figures: &[(&str, u64)]) -> Document {
        let ops = figures.iter().map(|(name, value)| Operation::new(name, *value)).collect();
        Document { mode: mode.into(), platform: "qemu".into(), cores: 8, ops }
    }

    fn last(prediction: &Prediction, name: &str) -> f64 {
        prediction.iter().find(|(other, _)| *other == name).unwrap().1.last().unwrap().1
    }

    #[test]
    fn counts_come_from_a_sweep_in_instructions() {
        let sweep = [("revoke_sharers_1", 1800), ("revoke_sharers_3", 2700), ("revoke_sharers_3_naive", 9000)];
        assert_eq!(Counts::of(&document("instructions", &sweep)).unwrap(), Counts { alone: 1800.0, each: 450.0 });
        assert!(Counts::of(&document("time", &sweep)).is_err());
        assert!(Counts::of(&document("instructions", &sweep[1..])).is_err());
        assert!(Counts::of(&document("instructions", &[])).is_err());
    }

    #[test]
    fn on_one_core_all_protocols_cost_the_same() {
        for prediction in [single(&COUNTS, 0.5, 2), at_once(&COUNTS, 0.5, 2)] {
            let first: Vec<_> = prediction.iter().map(|(_, line)| line[0].1).collect();
            assert!(first.windows(2).all(|pair| pair[0] == pair[1]), "{first:?}");
        }
    }

    #[test]
    fn the_order_of_the_protocols_does_not_depend_on_how_an_interrupts_instructions_are_divided() {
        for sender in [0.0, 0.5, 1.0] {
            let single = single(&COUNTS, sender, MOST);
            let costs = SINGLE.map(|(name, ..)| last(&single, name));
            assert!(costs[0] > 10.0 * costs[1], "{costs:?}");
            assert!(costs[1..].windows(2).all(|pair| pair[0] >= pair[1]) && costs[4] < 2.0, "{costs:?}");
        }
    }

    #[test]
    fn private_pages_on_all_cores_cost_more_the_more_are_interrupted() {
        let at_once = at_once(&COUNTS, 0.5, 128);
        assert!(last(&at_once, "precise") < 2.0);
        assert!(last(&at_once, "broadcast") > 30.0 * last(&at_once, "precise"));
    }

    #[test]
    fn the_table_has_a_line_for_each_machine() {
        let text = table(&single(&COUNTS, 0.5, MOST));
        assert_eq!(text.lines().count(), 12, "{text}");
        assert!(text.lines().last().unwrap().trim_start().starts_with("1024 "), "{text}");
        assert!(assumptions(&COUNTS).contains("assumed") && assumptions(&COUNTS).contains("LATR"));
    }
}
