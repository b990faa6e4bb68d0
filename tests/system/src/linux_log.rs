//! What a guest's Linux shows of itself: warnings of its kernel, its command line, timers and exits of its processors.
//!
//! Everything is read from lines of the console; the scripts in `user/vmm/initramfs`, the monitor and the root partition
//! print them.

use anyhow::{Context as _, Result, bail, ensure};
use xtask::run::Outcome;

/// What Linux says, once, when handlers of its timer took longer than it expects: how long the host let the emulator wait. Each
/// time it is another number.
const HOST_IS_BUSY: &str = "hrtimer: interrupt took ";

/// What a command line may hold: where the console and the first process are, and the monitor's hints about time.
const WORDS: [&str; 8] =
    ["console=ttyS0", "quiet", "root=", "rdinit=", "tsc_early_khz=", "lpj=", "tsc=reliable", "no_timer_check"];

/// What a guest prints, put together where lines of others, which have one of these `marks`, stand in the middle of its
/// own; and how much of it there was at each of these lines.
pub fn apart(log: &[String], marks: &[&str]) -> (String, Vec<usize>) {
    let (mut text, mut places) = (String::new(), Vec::new());
    for line in log {
        if let Some(at) = marks.iter().filter_map(|mark| line.find(mark)).min() {
            text += &line[..at];
            places.push(text.len());
        } else {
            text += line;
            text.push('\n');
        }
    }
    (text, places)
}

/// What the guest's kernel says at level "warning" or above, without the time: the script shows it at its end.
pub fn warnings(log: &[String]) -> impl Iterator<Item = &str> {
    let lines = log.iter().filter_map(|line| line.split_once("check: warning: "));
    let texts = lines.map(|(_, text)| text.split_once("] ").map_or(text, |(_, text)| text));
    texts.filter(|text| !text.starts_with(HOST_IS_BUSY))
}

/// Fails if the log has a warning that is not known.
///
/// # Errors
/// The warning.
pub fn no_new_warnings(log: &[String], known: &[String]) -> Result<()> {
    match warnings(log).find(|line| !known.iter().any(|known| known == line)) {
        Some(line) => bail!("the guest's kernel warns, which it does not do without Vela: {line}"),
        None => Ok(()),
    }
}

/// Fails if the command line that the guest shows has a word that it need not have, or lacks the hints.
///
/// # Errors
/// The word.
pub fn plain_command_line(log: &[String]) -> Result<()> {
    let line = log.iter().find(|line| line.starts_with("console=ttyS0")).context("no command line is shown")?;
    let known = |word: &str| {
        WORDS.iter().any(|known| if known.ends_with('=') { word.starts_with(known) } else { word == *known })
    };
    if let Some(word) = line.split_whitespace().find(|word| !known(word)) {
        bail!("the guest's command line has {word:?}: {line}");
    }
    ensure!(line.ends_with("tsc=reliable no_timer_check"), "the guest's command line lacks the hints: {line}");
    Ok(())
}

/// Fails unless each of the guest's `processors` took interrupts of its timer while the script kept it busy, and nothing of the
/// script took them away.
///
/// # Errors
/// The processor.
pub fn interrupts_rise(log: &[String], processors: usize) -> Result<()> {
    let counts = |words: &str| -> Result<Vec<u64>> {
        let line = log.iter().find_map(|line| line.split_once(words)).with_context(|| format!("no line {words:?}"))?.1;
        Ok(line.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect())
    };
    let (before, after) = (counts("check: timers before:")?, counts("check: timers after:")?);
    ensure!(before.len() == processors && after.len() == processors, "{before:?} and {after:?} of {processors}");
    for (processor, (before, after)) in before.iter().zip(&after).enumerate() {
        ensure!(after > before, "processor {processor} took no interrupts of its timer: {before}, {after}");
    }
    Ok(())
}

/// Fails unless the guest's virtual CPUs ran on cores of their own, by what the kernel counted for each core: no less than the
/// monitor handled of the virtual CPU that it had put there.
///
/// # Errors
/// Says what was counted.
pub fn cores_of_their_own(outcome: &Outcome) -> Result<()> {
    let (exits, cores) = counted(&outcome.log, "vmm: exits [")?;
    let (all, machine) = counted(&outcome.log, "virtual CPUs have left their guests [")?;
    let of = |core: &u64| machine.iter().position(|other| other == core).and_then(|at| all.get(at)).copied();
    for (at, (core, exits)) in cores.iter().zip(&exits).enumerate() {
        ensure!(!cores[..at].contains(core), "two virtual CPUs on core {core}");
        // The first one starts the virtual CPU, and others may come after the last that the monitor has seen.
        ensure!(
            of(core).is_some_and(|count| count + 1 >= *exits),
            "core {core}: {exits} exits, of {all:?} on {machine:?}"
        );
    }
    Ok(())
}

/// The two lists of numbers in the last line with `words`, which end with the bracket of the first.
fn counted(log: &[String], words: &str) -> Result<(Vec<u64>, Vec<u64>)> {
    let line =
        log.iter().rev().find_map(|line| line.split_once(words)).with_context(|| format!("no line {words:?}"))?.1;
    let list = |text: &str| text.split(", ").map_while(|word| word.trim().parse().ok()).collect();
    let (first, rest) = line.split_once(']').context("no list")?;
    let second = rest.split_once('[').and_then(|(_, rest)| rest.split_once(']')).context("no second list")?.0;
    Ok((list(first), list(second)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[&str]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_line_that_another_stands_in_is_put_together() {
        let log = log(&["check: begins", "chrevoke: 680000 moves", "eck: done", "revoke: 690000 moves"]);
        assert_eq!(apart(&log, &["revoke: "]), ("check: begins\ncheck: done\n".into(), vec![16, 26]));
    }

    #[test]
    fn warnings_count_but_those_about_the_host() {
        let log = log(&[
            "check: warning: [    1.5] hrtimer: interrupt took 28363042 ns",
            "check: warning: [    1.6] no such thing",
            "check: done",
        ]);
        assert_eq!(warnings(&log).collect::<Vec<_>>(), ["no such thing"]);
    }

    #[test]
    fn a_command_line_with_another_word_is_refused() {
        let hints = "tsc_early_khz=2601636 lpj=10406544 tsc=reliable no_timer_check";
        assert!(plain_command_line(&log(&[&format!("console=ttyS0 quiet rdinit=/check {hints}")])).is_ok());
        assert!(plain_command_line(&log(&[&format!("console=ttyS0 quiet acpi=off {hints}")])).is_err());
        assert!(plain_command_line(&log(&["console=ttyS0 quiet"])).is_err());
    }

    #[test]
    fn timers_have_to_rise_on_each_processor() {
        let lines = |after: &str| {
            let before = "check: timers before: LOC:        917        637   Local timer interrupts";
            log(&[before, &format!("check: timers after:  LOC:  {after}   Local timer interrupts")])
        };
        assert!(interrupts_rise(&lines("1027 737"), 2).is_ok());
        assert!(interrupts_rise(&lines("1027 637"), 2).is_err());
        assert!(interrupts_rise(&lines("1027 737"), 1).is_err());
    }

    #[test]
    fn the_kernels_counts_are_those_of_the_monitors_cores() {
        let lines = |all: &str| {
            let all = format!(
                "root: virtual CPUs have left their guests [{all}] times on cores [0, 1, 2], as the kernel counts"
            );
            let log = log(&["vmm: exits [10088, 4677] on cores [0, 2]", &all]);
            Outcome { passed: true, ended_itself: true, reason: String::new(), log, file: "log".into() }
        };
        assert!(cores_of_their_own(&lines("12000, 3, 4676")).is_ok());
        assert!(cores_of_their_own(&lines("12000, 4700, 3")).is_err());
    }
}
