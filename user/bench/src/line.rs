//! The lines that the tool reads: `bench: ` and one JSON object.
//!
//! Invariants: names and reasons are the program's own text and hold no character that JSON would escape.
//! Concurrency: plain values.

use abi::counter::Counter;
use abi::event::VCPU_EVENTS;
use core::fmt;

use crate::figures::Figure;

/// Instructions of the loop that shows what a tick is.
pub const CALIBRATION: u64 = 2_000_001;

/// What a tick of the time-stamp counter is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Calibration {
    /// Ticks that [`CALIBRATION`] instructions took.
    pub ticks: u64,
    /// Ticks between two readings of the counter with nothing between them.
    pub empty: u64,
}

impl Calibration {
    /// Thousandths of a tick per instruction, rounded.
    #[must_use]
    pub const fn thousandths(self) -> u64 {
        self.ticks.saturating_mul(1000).saturating_add(CALIBRATION / 2) / CALIBRATION
    }

    /// Whether one tick is one instruction.
    #[must_use]
    pub const fn counts_instructions(self) -> bool {
        self.thousandths() == 1000
    }
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ticks, empty } = self;
        let (whole, rest) = (self.thousandths() / 1000, self.thousandths() % 1000);
        write!(f, "bench: {{\"calibration\":{{\"instructions\":{CALIBRATION},\"ticks\":{ticks},")?;
        write!(f, "\"ticks_per_instruction\":{whole}.{rest:03},\"empty\":{empty}}}}}")
    }
}

/// The groups that the program has operations of; one that is named twice is printed once.
#[derive(Clone, Copy, Debug)]
pub struct Groups<'a>(pub &'a [&'static str]);

impl fmt::Display for Groups<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bench: {\"groups\":[")?;
        for (index, name) in self.0.iter().enumerate().filter(|(index, name)| !self.0[..*index].contains(name)) {
            write!(f, "{}\"{name}\"", if index == 0 { "" } else { "," })?;
        }
        f.write_str("]}")
    }
}

/// What the kernel refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Which step.
    pub step: &'static str,
    /// The status.
    pub status: u8,
}

/// What the kernel counts: its counters, and each reason to leave a virtual CPU.
pub type Sums = [u64; Counter::COUNT + VCPU_EVENTS as usize];

/// The numbers of what [`Sums`] has, in that order.
pub fn numbers() -> impl Iterator<Item = u64> {
    (0..Counter::COUNT as u64).chain((0..VCPU_EVENTS).map(|event| Counter::EXITS + event))
}

/// What the kernel counted on all cores while operations ran.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// How many operations these were.
    pub operations: u64,
    /// Sums, in the order of [`numbers`]; `None` from a kernel that does not count.
    pub sums: Option<Sums>,
}

impl Counts {
    /// Adds so many operations, with what the counters were before and after; `None` from a kernel that does not count.
    pub fn add(&mut self, operations: u64, sums: Option<(&Sums, &Sums)>) {
        self.operations += operations;
        let Some((before, after)) = sums else { return };
        let so_far = self.sums.get_or_insert([0; _]);
        for ((sum, after), before) in so_far.iter_mut().zip(after).zip(before) {
            *sum += after.saturating_sub(*before);
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(sums) = &self.sums else { return Ok(()) };
        write!(f, ",\"counted\":{{\"operations\":{}", self.operations)?;
        for (counter, sum) in Counter::ALL.iter().zip(sums) {
            write!(f, ",\"{}\":{sum}", counter.name())?;
        }
        for (number, sum) in numbers().zip(sums).skip(Counter::COUNT).filter(|(_, sum)| **sum != 0) {
            write!(f, ",\"exits_{:#04x}\":{sum}", number - Counter::EXITS)?;
        }
        f.write_str("}")
    }
}

/// The result of one operation.
#[derive(Clone, Debug)]
pub struct Line {
    /// The operation.
    pub name: &'static str,
    /// Its group.
    pub group: &'static str,
    /// Number of batches.
    pub batches: usize,
    /// Operations in each.
    pub repetitions: u64,
    /// Ticks per operation, or why there are none.
    pub result: Result<Figure, Refusal>,
    /// What the kernel counted meanwhile.
    pub counts: Counts,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, group, batches, repetitions, result, counts } = self;
        write!(f, "bench: {{\"name\":\"{name}\",\"group\":\"{group}\",")?;
        match result {
            Ok(Figure { minimum, median }) => write!(
                f,
                "\"value\":{minimum},\"median\":{median},\"batches\":{batches},\"repetitions\":{repetitions}{counts}}}"
            ),
            Err(Refusal { step, status }) => write!(f, "\"error\":\"{step}: status {status}\"}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_one_object_on_one_line() {
        let result = Ok(Figure { minimum: 541, median: 542 });
        let counts = Counts::default();
        let line = Line { name: "a_1w", group: "ipc", batches: 7, repetitions: 1000, result, counts };
        let expected =
            r#"bench: {"name":"a_1w","group":"ipc","value":541,"median":542,"batches":7,"repetitions":1000}"#;
        assert_eq!(line.to_string(), expected);
        let refused = Line { result: Err(Refusal { step: "create", status: 4 }), ..line };
        assert_eq!(refused.to_string(), r#"bench: {"name":"a_1w","group":"ipc","error":"create: status 4"}"#);
    }

    #[test]
    fn what_the_kernel_counted_stands_behind_the_figures() {
        let (mut counts, before) = (Counts::default(), [5; _]);
        counts.add(32, None);
        assert_eq!(counts.to_string(), "");
        let mut after = before;
        after[Counter::InterruptsSent as usize] += 192;
        counts.add(32, Some((&before, &after)));
        let text = counts.to_string();
        assert!(!text.contains("exits"), "{text}");
        assert!(text.starts_with(r#","counted":{"operations":64,"ipis_sent":192,"ipis_taken":0,"#), "{text}");
        assert!(text.ends_with('}'), "{text}");
        after[Counter::COUNT + 0x0A] += 64;
        let mut counts = Counts::default();
        counts.add(64, Some((&before, &after)));
        assert!(counts.to_string().ends_with(r#","exits_0x0a":64}"#), "{counts}");
    }

    #[test]
    fn groups_are_an_array() {
        assert_eq!(Groups(&["ipc", "ipc", "vm"]).to_string(), r#"bench: {"groups":["ipc","vm"]}"#);
        assert_eq!(Groups(&[]).to_string(), r#"bench: {"groups":[]}"#);
    }

    #[test]
    fn only_one_tick_per_instruction_counts_instructions() {
        let of = |ticks| Calibration { ticks, empty: 3 };
        assert!(of(2_000_001).counts_instructions() && of(2_000_004).counts_instructions());
        assert!(!of(2_002_000).counts_instructions() && !of(1_990_000).counts_instructions());
        assert!(!of(u64::MAX).counts_instructions());
        let text = r#"bench: {"calibration":{"instructions":2000001,"ticks":1000001,"ticks_per_instruction":0.500,"empty":3}}"#;
        assert_eq!(of(1_000_001).to_string(), text);
    }
}
