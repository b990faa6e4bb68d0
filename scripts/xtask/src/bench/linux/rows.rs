//! Rows of the comparison: guest, directly, and how they stand to each other; and exits.
//!
//! Invariants: a row needs both sides, or it is not there.
//! Concurrency: pure.

use std::fmt::Write;

use super::session::{Figure, Session};
use crate::bench::document::Operation;

/// The most that a row may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// Of guest over direct, in thousandths.
    Ratio(u64),
    /// Of the figure in the virtual machine, in the row's unit.
    Figure(u64),
}

/// One line.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Its name in the file; without `_guest`, `_direct` and `_ratio`.
    pub name: String,
    /// What the figures are.
    pub unit: &'static str,
    /// In the virtual machine.
    pub guest: u64,
    /// On the emulator directly; `None` where there is nothing to compare.
    pub direct: Option<u64>,
    /// The most that it may have.
    pub target: Option<Target>,
}

impl Row {
    /// Guest over direct in thousandths, if there is something to compare.
    pub fn ratio(&self) -> Option<u64> {
        let direct = self.direct?;
        Some((u128::from(self.guest) * 1000).checked_div(direct.into()).map_or(u64::MAX, |ratio| ratio as u64))
    }

    /// Whether it is within its target.
    pub fn is_met(&self) -> Option<bool> {
        self.target.map(|target| match target {
            Target::Ratio(most) => self.ratio().is_some_and(|ratio| ratio <= most),
            Target::Figure(most) => self.guest <= most,
        })
    }
}

/// Instructions per operation, which idle time has no part in.
pub fn counted(guest: &Session, direct: &Session) -> Vec<Row> {
    let ratio = |most| Some(Target::Ratio(most));
    let rows = [("init", ratio(1020)), ("user_loop", ratio(1030)), ("system_call", None), ("fork_exec", None)];
    let each = |figure: &Figure| figure.ticks / figure.count.max(1);
    let row = |(name, target): (&str, Option<Target>)| {
        let (guest, direct) = (guest.figures.get(name)?, direct.figures.get(name)?);
        let (name, direct) = (format!("linux_{name}"), Some(each(direct)));
        Some(Row { name, unit: "instructions", guest: each(guest), direct, target })
    };
    rows.into_iter().filter_map(row).collect()
}

/// Time per operation in nanoseconds, with `khz` ticks per millisecond.
pub fn timed(guest: &Session, direct: &Session, khz: u64, names: &[(&str, Option<Target>)]) -> Vec<Row> {
    let each = |figure: &Figure| figure.ticks.saturating_mul(1_000_000) / khz.max(1) / figure.count.max(1);
    let row = |(name, target): &(&str, Option<Target>)| {
        let (guest, direct) = match *name {
            "init" => (guest.boot.as_nanos() as u64, direct.boot.as_nanos() as u64),
            name => (each(guest.figures.get(name)?), each(direct.figures.get(name)?)),
        };
        Some(Row { name: format!("linux_{name}_time"), unit: "ns", guest, direct: Some(direct), target: *target })
    };
    names.iter().filter_map(row).collect()
}

/// Exits per operation, rounded up; the rows are called `linux_NAME_KIND`.
pub fn exits(session: &Session, kind: &str, names: &[(&str, Option<u64>)]) -> Vec<Row> {
    let row = |(name, target): &(&str, Option<u64>)| {
        let figure = session.figures.get(*name)?;
        let guest = figure.exits?.div_ceil(figure.count.max(1));
        let target = target.map(Target::Figure);
        Some(Row { name: format!("linux_{name}_{kind}"), unit: "exits", guest, direct: None, target })
    };
    names.iter().filter_map(row).collect()
}

/// Exits by reason up to the first process, from the monitor's first table.
pub fn reasons(log: &[String]) -> Vec<Row> {
    let lines =
        log.iter().filter_map(|line| line.split_once("vmm: exits: ")).filter_map(|(_, text)| text.split_once(": "));
    let mut rows: Vec<Row> = Vec::new();
    for (reason, counts) in lines {
        let name = format!("linux_init_exits_{}", reason.to_lowercase().replace(' ', "_"));
        if rows.iter().any(|row| row.name == name) {
            break;
        }
        let counts = counts.trim_matches(['[', ']']).split(", ").filter_map(|count| count.parse::<u64>().ok());
        rows.push(Row { name, unit: "exits", guest: counts.sum(), direct: None, target: None });
    }
    rows
}

/// The table on the terminal.
pub fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    let mut text = format!("{:width$} {:>13} {:>13} {:>7} {:>7}\n", "Linux", "guest", "direct", "ratio", "target");
    for row in rows {
        let thousandths = |value: u64| format!("{}.{:03}", value / 1000, value % 1000);
        let direct = row.direct.map_or_else(|| "-".into(), |direct| direct.to_string());
        let ratio = row.ratio().map_or_else(|| "-".into(), thousandths);
        let target = match row.target {
            Some(Target::Ratio(most)) => thousandths(most),
            Some(Target::Figure(most)) => most.to_string(),
            None => "-".into(),
        };
        let verdict = row.is_met().map_or("", |met| if met { "ok" } else { "over" });
        let Row { name, unit, guest, .. } = row;
        let line = format!("{name:width$} {guest:>13} {direct:>13} {ratio:>7} {target:>7}  {unit:12} {verdict}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The same for the file.
pub fn operations(rows: &[Row]) -> Vec<Operation> {
    let operation = |name: String, value, unit: &str| Operation { name, value, unit: unit.into(), counters: [].into() };
    let mut all = Vec::new();
    for row in rows {
        match (row.direct, row.ratio()) {
            (Some(direct), Some(ratio)) => {
                all.push(operation(format!("{}_guest", row.name), row.guest, row.unit));
                all.push(operation(format!("{}_direct", row.name), direct, row.unit));
                all.push(operation(format!("{}_ratio", row.name), ratio, "thousandths"));
            }
            _ => all.push(operation(row.name.clone(), row.guest, row.unit)),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn session(name: &str, figure: Figure) -> Session {
        Session { boot: Duration::from_secs(2), figures: [(name.to_owned(), figure)].into(), log: Vec::new() }
    }

    #[test]
    fn a_ratio_is_judged_and_so_is_a_number_of_exits() {
        let figure = |ticks, exits| Figure { count: 2, ticks, exits };
        let (guest, direct) = (session("init", figure(204, Some(7))), session("init", figure(200, None)));
        let rows = counted(&guest, &direct);
        assert_eq!((rows[0].ratio(), rows[0].is_met()), (Some(1020), Some(true)));
        let rows = exits(&guest, "exits", &[("init", Some(3)), ("pipe", Some(6))]);
        assert_eq!((rows.len(), rows[0].guest, rows[0].is_met()), (1, 4, Some(false)));
        let rows = exits(&guest, "time_exits", &[("init", None)]);
        assert_eq!((rows[0].name.as_str(), rows[0].is_met()), ("linux_init_time_exits", None));
        let rows = timed(&guest, &direct, 1000, &[("init", None)]);
        assert_eq!((rows[0].guest, rows[0].ratio(), rows[0].is_met()), (2_000_000_000, Some(1000), None));
        let most = |most| timed(&guest, &direct, 1000, &[("init", Some(Target::Figure(most)))])[0].is_met();
        assert_eq!((most(2_000_000_000), most(1_999_999_999)), (Some(true), Some(false)));
        let text = table(&rows);
        assert!(text.lines().nth(1).is_some_and(|line| line.contains("1.000") && line.ends_with("ns")), "{text}");
        let names: Vec<_> = operations(&rows).into_iter().map(|operation| operation.name).collect();
        assert_eq!(names, ["linux_init_time_guest", "linux_init_time_direct", "linux_init_time_ratio"]);
    }

    #[test]
    fn reasons_are_those_of_the_first_table() {
        let log = ["vmm: exits: CPUID: [7, 2]", "vmm: exits: other port: [1, 0]", "x", "vmm: exits: CPUID: [9, 9]"];
        let rows = reasons(&log.map(String::from));
        let found: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.guest)).collect();
        assert_eq!(found, [("linux_init_exits_cpuid", 9), ("linux_init_exits_other_port", 1)]);
    }
}
