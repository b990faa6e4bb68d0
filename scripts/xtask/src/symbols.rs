//! Names for addresses: function, file and line from the ELF files of the kernel and the programs.
//!
//! A fault report shows registers and raw stack words; [`Symbols::annotate`]
//! names every word of such a line that points into the kernel's code.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use addr2line::Context as Lines;
use anyhow::{Context, Result, anyhow};
use gimli::{Dwarf, EndianRcSlice, RunTimeEndian, SectionId};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};

use crate::workspace;

type Slice = EndianRcSlice<RunTimeEndian>;

/// Virtual minus physical address of the kernel.
const KERNEL_OFFSET: u64 = 0xffff_ffff_8000_0000;

/// The symbols of one kernel. Not shared between threads.
pub struct Symbols {
    /// Executable ranges: start and end.
    text: Vec<(u64, u64)>,
    /// Start address and name of every function, sorted.
    functions: Vec<(u64, String)>,
    lines: Lines<Slice>,
}

/// A function, as an address names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Its name; with an offset if only the symbol table knows it.
    pub function: String,
    /// File and line, if there are line tables for it.
    pub place: Option<String>,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{} at {place}", self.function),
            None => f.write_str(&self.function),
        }
    }
}

impl Symbols {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// The file cannot be read or is no object file.
    pub fn load(path: &Path) -> Result<Self> {
        let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = object::File::parse(&*data).with_context(|| format!("{} is no ELF file", path.display()))?;
        let code = file.sections().filter(|section| section.kind() == SectionKind::Text);
        let text = code.map(|section| (section.address(), section.address() + section.size())).collect();
        // Labels of assembly have no type.
        let kinds = [SymbolKind::Text, SymbolKind::Label, SymbolKind::Unknown];
        let symbols = file.symbols().filter(|symbol| kinds.contains(&symbol.kind()));
        let named = symbols.filter_map(|symbol| Some((symbol.address(), symbol.name().ok()?.to_owned())));
        let mut functions: Vec<_> = named.filter(|(_, name)| !name.is_empty()).collect();
        functions.sort();
        let section = |id: SectionId| -> Result<Slice> {
            let found = file.section_by_name(id.name());
            let data = found.and_then(|section| section.uncompressed_data().ok()).unwrap_or(Cow::Borrowed(&[]));
            Ok(EndianRcSlice::new(Rc::from(&*data), RunTimeEndian::Little))
        };
        let lines = Lines::from_dwarf(Dwarf::load(section)?).map_err(|error| anyhow!("line tables: {error}"))?;
        Ok(Self { text, functions, lines })
    }

    /// Function, file and line of an address in the kernel's code.
    pub fn describe(&self, address: u64) -> Option<String> {
        let frames = self.frames(address)?.into_iter();
        Some(frames.map(|frame| frame.to_string()).collect::<Vec<_>>().join(", inlined in "))
    }

    /// The functions that an address of the code belongs to, the innermost first; at least one.
    pub fn frames(&self, address: u64) -> Option<Vec<Frame>> {
        if !self.text.iter().any(|&(start, end)| (start..end).contains(&address)) {
            return None;
        }
        let mut found = Vec::new();
        let mut frames = self.lines.find_frames(address).skip_all_loads().ok()?;
        while let Ok(Some(frame)) = frames.next() {
            let raw = frame.function.as_ref().and_then(|function| Some(demangled(&function.raw_name().ok()?)));
            let function = raw.unwrap_or_else(|| self.function(address));
            let place = frame.location.and_then(|place| Some(format!("{}:{}", short(place.file?), place.line?)));
            found.push(Frame { function, place });
        }
        if found.is_empty() {
            found.push(Frame { function: self.function(address), place: None });
        }
        Some(found)
    }

    /// The same for an instruction pointer, which before paging is a physical address.
    pub fn place(&self, rip: u64) -> Option<String> {
        let early = || self.describe(rip.checked_add(KERNEL_OFFSET)?);
        self.describe(rip).or_else(early)
    }

    /// The function that holds `address`, with the offset, from the symbol table.
    fn function(&self, address: u64) -> String {
        let next = self.functions.partition_point(|(start, _)| *start <= address);
        match next.checked_sub(1).map(|index| &self.functions[index]) {
            Some((start, name)) => format!("{}+{:#x}", demangled(name), address - start),
            None => "an unknown function".into(),
        }
    }

    /// Lines that name the code addresses in `line`, when it is one of a
    /// fault report (level `error`); otherwise none.
    pub fn annotate(&self, line: &str) -> Vec<String> {
        if !line.contains("error]") {
            return Vec::new();
        }
        // A stack word is a return address: the call stands before it.
        let back = u64::from(line.contains("] stack "));
        let found = words(line).filter_map(|word| Some((word, self.describe(word - back)?)));
        found.map(|(word, text)| format!("           {word:#x} = {text}")).collect()
    }
}

/// Lines that name the addresses in `line`, when it is the backtrace of a program: `NAME: backtrace of PROGRAM: 0x…`.
/// `programs` is the directory with the programs' ELF files.
pub fn backtrace(line: &str, programs: &Path) -> Vec<String> {
    let Some((program, addresses)) = line.split_once(": backtrace of ").and_then(|(_, rest)| rest.split_once(':'))
    else {
        return Vec::new();
    };
    let Ok(symbols) = Symbols::load(&programs.join(program)) else { return Vec::new() };
    let addresses =
        addresses.split_whitespace().filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    // Return addresses: the call stands before. The place of a fault is the exception, and its first byte will do.
    let back = u64::from(!line.starts_with("root: "));
    let found = addresses.filter_map(|address| Some((address, symbols.describe(address - back)?)));
    found.map(|(address, text)| format!("    {address:#x} = {text}")).collect()
}

/// The 16-digit hexadecimal numbers of a line that lie in the top 2 GiB.
fn words(line: &str) -> impl Iterator<Item = u64> {
    let tokens = line.split(|c: char| !c.is_ascii_alphanumeric());
    let digits = tokens.map(|token| token.strip_prefix("0x").unwrap_or(token)).filter(|token| token.len() == 16);
    digits.filter_map(|token| u64::from_str_radix(token, 16).ok()).filter(|word| *word >= 0xffff_ffff_8000_0000)
}

fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// A source path without the directories that say nothing.
fn short(path: &str) -> &str {
    let root = workspace::root().to_string_lossy();
    if let Some(inside) = path.strip_prefix(&*root) {
        return inside.trim_start_matches('/');
    }
    let cut = |mark: &str| path.split_once(mark).map(|(_, rest)| rest);
    let registry = cut("/registry/src/").and_then(|rest| rest.split_once('/')).map(|(_, rest)| rest);
    registry.or_else(|| cut("/library/")).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_of_the_kernel_half_are_taken() {
        let line = "[ 2 error] stack 0xffffffffbfffdfc0: ffffffff8100abcd 0000000000000001 ffffffff 12";
        assert_eq!(words(line).collect::<Vec<_>>(), [0xffff_ffff_bfff_dfc0, 0xffff_ffff_8100_abcd]);
    }

    #[test]
    fn a_function_is_named_with_file_and_line() {
        let symbols = Symbols::load(&std::env::current_exe().unwrap()).unwrap();
        let named = |(_, name): &&(u64, String)| name.contains("a_function_is_named_with_file_and_line");
        let (address, _) = symbols.functions.iter().find(named).unwrap();
        let text = symbols.describe(*address).unwrap();
        assert!(text.contains("a_function_is_named_with_file_and_line"), "{text}");
        assert!(text.contains("src/symbols.rs:"), "{text}");
        assert_eq!(symbols.describe(1), None);
    }

    #[test]
    fn source_paths_lose_their_machine() {
        assert_eq!(short("/r/toolchain/lib/rustlib/src/rust/library/core/src/panic.rs"), "core/src/panic.rs");
        assert_eq!(short("/h/registry/src/index-1/x86-0.52.0/src/lib.rs"), "x86-0.52.0/src/lib.rs");
    }
}
