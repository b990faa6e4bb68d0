//! What the benchmark program prints, as values.
//!
//! Invariants: a line that claims to be a result and is none is an error, not skipped.
//! Concurrency: pure.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::count::{Count, Counts};

/// One operation, measured or refused.
#[derive(Clone, PartialEq, Debug, Deserialize)]
pub struct Measured {
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Ticks of the quickest batch per operation.
    pub value: Option<u64>,
    /// Ticks of the middle batch.
    pub median: Option<u64>,
    /// Why there is no value.
    pub error: Option<String>,
    /// What the kernel counted on all cores: sums by name, and in how many operations.
    #[serde(default)]
    pub counted: Sums,
    /// How often each event happens in one operation; known after tracing only.
    #[serde(skip)]
    pub events: Counts,
}

impl Measured {
    /// What happens in one operation, by the kernel's counters and by the events of a trace.
    pub fn counters(&self) -> Counts {
        let Sums { operations, sums } = &self.counted;
        let counted = sums.iter().map(|(name, &sum)| (name.clone(), Count::per(sum, *operations)));
        counted.chain(self.events.clone()).collect()
    }
}

/// The figure of an operation.
pub fn value(measured: &[Measured], name: &str) -> Option<u64> {
    measured.iter().find(|each| each.name == name)?.value
}

/// What the kernel counted.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
pub struct Sums {
    /// In so many operations.
    pub operations: u64,
    /// By name.
    #[serde(flatten)]
    pub sums: BTreeMap<String, u64>,
}

/// What the platform's clock counts.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
pub struct Calibration {
    /// Instructions of the loop.
    pub instructions: u64,
    /// Ticks it took.
    pub ticks: u64,
    /// Their ratio, to three places.
    pub ticks_per_instruction: f64,
    /// Ticks between two readings of the counter.
    pub empty: u64,
}

impl Calibration {
    /// Whether one tick is one instruction.
    pub fn counts_instructions(&self) -> bool {
        (self.ticks_per_instruction - 1.0).abs() < 0.0005
    }
}

/// All that the program said.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Output {
    /// The clock; `None` if the program did not come that far.
    pub calibration: Option<Calibration>,
    /// The groups that the program has operations of.
    pub groups: Vec<String>,
    /// The operations in the order in which they ran.
    pub operations: Vec<Measured>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Calibration { calibration: Calibration },
    Groups { groups: Vec<String> },
    Operation(Measured),
}

impl Output {
    /// Reads a console log.
    ///
    /// # Errors
    /// A line of the program that is no result of the expected form.
    pub fn parse(log: &[String]) -> Result<Self> {
        let mut output = Self::default();
        for text in log.iter().filter_map(|line| line.strip_prefix("bench: ")).filter(|text| text.starts_with('{')) {
            match serde_json::from_str(text).with_context(|| format!("not a result: {text}"))? {
                Line::Calibration { calibration } => output.calibration = Some(calibration),
                Line::Groups { groups } => output.groups = groups,
                Line::Operation(measured) => output.operations.push(measured),
            }
        }
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: [&str; 6] = [
        "[ 0 info ] core 0: up",
        r#"bench: {"calibration":{"instructions":2000001,"ticks":2000004,"ticks_per_instruction":1.000,"empty":5}}"#,
        r#"bench: {"groups":["ipc","objects"]}"#,
        r#"bench: {"name":"a","group":"ipc","value":541,"median":542,"batches":7,"repetitions":1000,"counted":{"operations":7000,"ipis_sent":21000,"root_loads":0}}"#,
        r#"bench: {"name":"b","group":"ipc","error":"create_sm: status 3"}"#,
        "bench: done, 2 of 2 operations",
    ];

    #[test]
    fn results_and_refusals_are_read() {
        let output = Output::parse(&LOG.map(String::from)).unwrap();
        assert!(output.calibration.is_some_and(|calibration| calibration.counts_instructions()));
        assert_eq!(output.groups, ["ipc", "objects"]);
        let [a, b] = &output.operations[..] else { panic!("{output:?}") };
        assert_eq!((a.value, a.median, a.error.as_deref()), (Some(541), Some(542), None));
        let counters: Vec<_> = a.counters().into_iter().collect();
        assert_eq!(counters, [("ipis_sent".to_owned(), Count::from(3)), ("root_loads".to_owned(), Count::ZERO)]);
        assert!(b.counters().is_empty());
        assert_eq!((b.value, b.error.as_deref()), (None, Some("create_sm: status 3")));
    }

    #[test]
    fn a_garbled_result_is_an_error() {
        assert!(Output::parse(&[r#"bench: {"name":"a","#.into()]).is_err());
        assert!(Output::parse(&[r#"bench: {"title":"a"}"#.into()]).is_err());
    }
}
