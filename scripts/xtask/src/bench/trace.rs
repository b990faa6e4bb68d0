//! The emulator's log of executed instructions, cut into the iterations of a loop.
//!
//! QEMU executes one instruction per translation block then, and logs the address of each block. The loop is found by the
//! first address of ring 3 that the log holds exactly as often as the operation was repeated.
//! Invariants: an iteration begins and ends at that address.
//! Concurrency: pure.
//! Source: QEMU's documentation, "-d exec"; a line is `Trace CPU: HOST [BASE/ADDRESS/FLAGS/…] SYMBOL`.

use std::collections::BTreeMap;
use std::io::BufRead;

use anyhow::{Context, Result, bail};

/// Addresses from here on belong to the kernel.
const KERNEL: u64 = 1 << 63;

/// One iteration of the loop: the addresses of its instructions in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Iteration(pub Vec<u64>);

/// The iteration of middle length in a log of `repetitions` iterations.
///
/// # Errors
/// The log cannot be read, or holds no such loop.
pub fn iteration(log: impl BufRead, repetitions: usize) -> Result<Iteration> {
    let mut addresses = Vec::new();
    for line in log.lines() {
        addresses.extend(address(&line.context("cannot read the emulator's log")?));
    }
    middle(&addresses, repetitions)
}

fn middle(addresses: &[u64], repetitions: usize) -> Result<Iteration> {
    let mut counts: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
    for (index, address) in addresses.iter().enumerate().filter(|(_, address)| **address < KERNEL) {
        counts.entry(*address).or_insert((index, 0)).1 += 1;
    }
    let anchors = counts.iter().filter(|(_, (_, count))| *count == repetitions);
    let Some((anchor, _)) = anchors.min_by_key(|(_, (first, _))| *first) else {
        bail!("the log of {} instructions holds no loop of {repetitions} iterations", addresses.len());
    };
    let starts: Vec<_> = addresses.iter().enumerate().filter(|(_, each)| *each == anchor).map(|(at, _)| at).collect();
    let mut iterations: Vec<_> = starts.windows(2).map(|pair| &addresses[pair[0]..pair[1]]).collect();
    iterations.sort_by_key(|iteration| iteration.len());
    match iterations.get(iterations.len() / 2) {
        Some(iteration) => Ok(Iteration(iteration.to_vec())),
        None => bail!("one iteration is too few to see where it begins"),
    }
}

/// The address in a line of the log.
fn address(line: &str) -> Option<u64> {
    let (_, rest) = line.strip_prefix("Trace ")?.split_once('[')?;
    u64::from_str_radix(rest.split('/').nth(1)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_second_field() {
        let line = "Trace 0: 0x7f4cb0000100 [00000000/ffffffff81001234/0000c0b0/ff000201] syscall_entry";
        assert_eq!(address(line), Some(0xffff_ffff_8100_1234));
        assert_eq!(address("Stopped execution of TB chain before 0x7f [00001000] "), None);
        assert_eq!(address("Trace 0: 0x7f [000"), None);
    }

    #[test]
    fn the_loop_is_the_one_with_the_right_count() {
        let (user, kernel) = (0x10_0000, 0xffff_ffff_8100_0000);
        let wait = [user; 7];
        // One of the iterations is longer, as when a table has to be allocated.
        let long = [user + 8, kernel, kernel + 1, kernel + 1, user + 9];
        let short = [user + 8, kernel, user + 9];
        let print = [user + 20; 5];
        let log = [&wait[..], &short, &long, &short, &short, &print].concat();
        assert_eq!(middle(&log, 4).unwrap(), Iteration(short.to_vec()));
        assert!(middle(&log, 3).is_err());
    }

    #[test]
    fn lines_of_other_kinds_are_skipped() {
        let line = |address: u64| format!("Trace 0: 0x7f [0/{address:016x}/0/0] x\n");
        let log = format!("CPU Reset\n{}{}noise\n{}{}", line(16), line(17), line(16), line(17));
        assert_eq!(iteration(log.as_bytes(), 2).unwrap(), Iteration(vec![16, 17]));
    }
}
