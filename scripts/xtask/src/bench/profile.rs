//! Where the instructions of one operation go: an account by function and by line, and the instructions one by one.
//!
//! Invariants: the parts of an account sum up to the iteration.
//! Concurrency: pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::code::Code;
use super::trace::Iteration;
use crate::symbols::Frame;

/// Lines of source in the account; the rest is in the listing.
const LINES: usize = 40;
/// Where the sources of the repository lie.
const OURS: [&str; 4] = ["hypervisor/", "include/", "boot/", "user/"];

/// The account of an iteration, for the terminal.
pub fn account(name: &str, iteration: &Iteration, code: &Code) -> String {
    let total = iteration.0.len();
    let mut text = format!("{name}: {total} instructions\n");
    let mut functions: BTreeMap<String, (usize, Vec<&str>)> = BTreeMap::new();
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for address in &iteration.0 {
        let (function, place) = owner(code, *address);
        let entry = functions.entry(function).or_default();
        entry.0 += 1;
        entry.1.extend(code.event(*address));
        *lines.entry(place).or_default() += 1;
    }
    let mut functions: Vec<_> = functions.into_iter().collect();
    functions.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    text += "\n  count  function (inlined code counts for the function it is from, the language's library for who uses it)\n";
    for (function, (count, events)) in functions {
        let _ = writeln!(text, "  {count:5}  {function}{}", counted(&events));
    }
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let _ = writeln!(text, "\n  count  line of source (the first {LINES})");
    for (line, count) in lines.into_iter().take(LINES) {
        let _ = writeln!(text, "  {count:5}  {line}");
    }
    text
}

/// Events with their number, in brackets; nothing if there are none.
fn counted(events: &[&str]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for event in events {
        *counts.entry(event).or_default() += 1;
    }
    let counts: Vec<_> = counts.into_iter().map(|(event, count)| format!("{event} {count}")).collect();
    if counts.is_empty() { String::new() } else { format!("  [{}]", counts.join(", ")) }
}

/// The instructions one by one, with the functions they belong to.
pub fn listing(iteration: &Iteration, code: &Code) -> String {
    let mut text = String::new();
    let mut last = String::new();
    for (index, address) in iteration.0.iter().enumerate() {
        let frames: Vec<_> = code.frames(*address).iter().map(title).collect();
        let frames = frames.join(", inlined in ");
        if frames != last {
            let _ = writeln!(text, "; {frames}");
            last = frames;
        }
        let event = code.event(*address).map(|event| format!("  <- {event}")).unwrap_or_default();
        let _ = writeln!(text, "{index:6} {address:016x}  {}{event}", code.instruction(*address));
    }
    text
}

/// A function with its line, or, where there are no line tables, its name without the offset.
fn title(frame: &Frame) -> String {
    if frame.place.is_some() { frame.to_string() } else { name(&frame.function) }
}

/// The innermost function of this repository at an address with its file, and its line: what comes from the language's
/// library counts for the function that uses it.
fn owner(code: &Code, address: u64) -> (String, String) {
    let frames = code.frames(address);
    let ours = |frame: &&Frame| frame.place.as_ref().is_some_and(|place| OURS.iter().any(|dir| place.starts_with(dir)));
    let Some(frame) = frames.iter().find(ours).or(frames.first()) else {
        return (format!("unknown code at {address:#x}"), "unknown code".into());
    };
    let function = name(&frame.function);
    match &frame.place {
        None => (function.clone(), function),
        Some(place) => {
            let file = place.rsplit_once(':').map_or(place.as_str(), |(file, _)| file);
            (format!("{function}  ({file})"), format!("{place}  ({function})"))
        }
    }
}

/// A function's name without generic arguments and offset.
fn name(function: &str) -> String {
    let mut depth = 0;
    let mut name = String::new();
    for (index, c) in function.char_indices() {
        match c {
            // The arrow of a function type closes nothing.
            '>' if function[..index].ends_with('-') => {}
            // A path that begins with a type, as `<T as Trait>::f`, keeps it.
            '<' if index > 0 => depth += 1,
            '>' if depth > 0 => depth -= 1,
            _ if depth == 0 => name.push(c),
            _ => {}
        }
    }
    match name.rsplit_once("+0x") {
        Some((name, _)) => name.to_owned(),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_generic_arguments_and_offsets() {
        assert_eq!(name("core::iter::Iterator::map<u8, fn(u8) -> u8>"), "core::iter::Iterator::map");
        assert_eq!(name("syscall_entry+0x1c"), "syscall_entry");
        assert_eq!(name("objects::Store::get"), "objects::Store::get");
    }

    #[test]
    fn the_parts_sum_up_to_the_iteration() {
        let code = Code::load(&[], false).unwrap();
        let iteration = Iteration(vec![1, 2, 3, 2]);
        let text = account("x", &iteration, &code);
        assert!(text.starts_with("x: 4 instructions"), "{text}");
        assert!(text.contains("    2  unknown code at 0x2\n"), "{text}");
        assert_eq!(listing(&iteration, &code).lines().filter(|line| !line.starts_with(';')).count(), 4);
    }
}
