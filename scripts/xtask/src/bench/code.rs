//! The code of the kernel and of the benchmark program: bytes, names and places of an address.
//!
//! Invariants: an address outside both gives no bytes, no functions and no event, never an error.
//! Concurrency: belongs to one thread.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use object::{Object, ObjectSegment};

use super::count::Counts;
use super::events;
use super::trace::Iteration;
use crate::process;
use crate::symbols::{Frame, Symbols};

/// Kernel and program.
pub struct Code {
    images: Vec<Image>,
}

struct Image {
    symbols: Symbols,
    /// Address and bytes of the loadable segments.
    segments: Vec<(u64, Vec<u8>)>,
    /// Text of the instructions by address; empty without a disassembler.
    instructions: BTreeMap<u64, String>,
}

impl Code {
    /// Reads the ELF files; with `disassemble` also what `objdump` says, if it is there.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn load(files: &[&Path], disassemble: bool) -> Result<Self> {
        let image = |path: &&Path| -> Result<Image> {
            let data = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let file = object::File::parse(&*data).with_context(|| format!("{} is no ELF file", path.display()))?;
            let segments =
                file.segments().filter_map(|segment| Some((segment.address(), segment.data().ok()?.to_vec())));
            let instructions = if disassemble { disassembly(path) } else { BTreeMap::new() };
            Ok(Image { symbols: Symbols::load(path)?, segments: segments.collect(), instructions })
        };
        Ok(Self { images: files.iter().map(image).collect::<Result<_>>()? })
    }

    /// The bytes from `address` on, as far as they are known; none outside the images.
    fn bytes(&self, address: u64) -> &[u8] {
        let segments = self.images.iter().flat_map(|image| &image.segments);
        let mut found =
            segments.filter_map(|(start, data)| data.get(usize::try_from(address.checked_sub(*start)?).ok()?..));
        found.next().unwrap_or_default()
    }

    /// How often each event happens in an iteration.
    pub fn events(&self, iteration: &Iteration) -> Counts {
        let mut events = BTreeMap::<_, u64>::new();
        for event in iteration.0.iter().filter_map(|address| self.event(*address)) {
            *events.entry(event).or_default() += 1;
        }
        events.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
    }

    /// The event that the instruction at `address` is.
    pub fn event(&self, address: u64) -> Option<&'static str> {
        events::classify(self.bytes(address))
    }

    /// The functions at `address`, the innermost first.
    pub fn frames(&self, address: u64) -> Vec<Frame> {
        self.images.iter().find_map(|image| image.symbols.frames(address)).unwrap_or_default()
    }

    /// The instruction at `address` as text, or its first bytes.
    pub fn instruction(&self, address: u64) -> String {
        let text = self.images.iter().find_map(|image| image.instructions.get(&address));
        let bytes = || format!("{:02x?}", self.bytes(address).get(..8).unwrap_or_default());
        text.cloned().unwrap_or_else(bytes)
    }
}

/// What `objdump` prints, by address; nothing if it is missing, for the listing is a convenience.
fn disassembly(path: &Path) -> BTreeMap<u64, String> {
    let mut command = Command::new("objdump");
    command.args(["-d", "--no-show-raw-insn", "-M", "intel"]).arg(path);
    let text = process::output(&mut command).unwrap_or_default();
    text.lines().filter_map(instruction).collect()
}

fn instruction(line: &str) -> Option<(u64, String)> {
    let (address, text) = line.split_once(":\t")?;
    Some((u64::from_str_radix(address.trim(), 16).ok()?, text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_disassembler_gives_address_and_text() {
        let expected = Some((0xffff_ffff_8100_0010, "mov    edi,0x1".into()));
        assert_eq!(instruction("ffffffff81000010:\tmov    edi,0x1 "), expected);
        assert_eq!(instruction("  100727:\tud2"), Some((0x10_0727, "ud2".into())));
        assert_eq!(instruction("ffffffff81000010 <syscall_entry>:"), None);
    }

    #[test]
    fn an_address_has_bytes_and_functions() {
        let path = std::env::current_exe().unwrap();
        let code = Code::load(&[&path], false).unwrap();
        let header = code.images[0].segments.iter().find(|(_, data)| data.starts_with(b"\x7fELF")).unwrap().0;
        assert_eq!(code.bytes(header + 1).get(..3), Some(&b"ELF"[..]));
        assert!(code.bytes(u64::MAX).is_empty() && code.frames(u64::MAX).is_empty());
    }
}
