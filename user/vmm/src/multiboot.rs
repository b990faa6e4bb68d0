//! Loads a Multiboot (version 1) guest: a 32-bit ELF file, or one whose header says what goes where, with modules and a
//! command line. It finds the machine's ACPI tables where firmware has them.
//!
//! Invariants: any bytes are loaded or refused; nothing outside the guest's memory is written.
//! Concurrency: before the guest runs.
//! Source: Multiboot Specification 0.6.96; System V ABI, chapter "Object Files" (ELF32).

use alloc::vec::Vec;

use vm_memory::Memory;

use crate::acpi;
use crate::layout::{BOOT_PARAMETERS, COMMAND_LINE, COMMAND_LINE_MAX, HIGH_START, LOW_END, UART};
use crate::linux::{LoadError, descriptors, memory_map, put};
use crate::start::Boot;

const MAGIC: u32 = 0x1BAD_B002;
/// The header lies within this many bytes.
const SEARCH: usize = 8192;
/// Header: the addresses in it count, not those of the ELF file.
const ADDRESSES: u32 = 1 << 16;
/// What a loader must know of the lower flags: modules at pages, sizes of memory, (no) video mode.
const UNDERSTOOD: u32 = 0b111;
const PAGE: u64 = 0x1000;
/// Where information is: the structure, the list of modules, the memory map; then the text of the modules.
const LIST: u64 = BOOT_PARAMETERS + 0x80;
const MAP: u64 = BOOT_PARAMETERS + 0x400;
const MAX_MODULES: usize = 16;
/// The data of firmware: ports of serial lines; segment of its own data, KiB below that.
const FIRMWARE: u64 = 0x400;
/// Information: sizes of memory, command line, modules, map.
const FLAGS: u32 = 1 | 1 << 2 | 1 << 3 | 1 << 6;

/// Loads `kernel` into zeroed memory, with `modules` behind it (contents and command line of each), for a machine with
/// `cpus` processors.
///
/// # Errors
/// [`LoadError`].
pub fn load(
    memory: &impl Memory,
    kernel: &[u8],
    modules: &[(&[u8], &str)],
    command_line: &str,
    cpus: u32,
) -> Result<Boot, LoadError> {
    let header = check_header(kernel)?;
    acpi::write(memory, cpus).map_err(|_| LoadError::TooLarge)?;
    let (entry, mut end) = match header {
        Some(at) => load_as_told(memory, kernel, at)?,
        None => load_elf(memory, kernel)?,
    };
    if command_line.len() > COMMAND_LINE_MAX {
        return Err(LoadError::CommandLine);
    }
    if modules.len() > MAX_MODULES {
        return Err(LoadError::Modules);
    }
    let mut text = COMMAND_LINE;
    let mut line = |line: &str| {
        let at = text;
        put(memory, at, line.as_bytes())?;
        put(memory, at + line.len() as u64, &[0])?;
        text += line.len() as u64 + 1;
        Ok(at as u32)
    };
    let command = line(command_line)?;
    let mut list = LIST;
    for (contents, name) in modules {
        let start = end.next_multiple_of(PAGE);
        end = start + contents.len() as u64;
        put(memory, start, contents)?;
        let name = line(name)?;
        words(memory, list, &[start as u32, end as u32, name, 0])?;
        list += 16;
    }
    let size = memory.size();
    let upper = (size.saturating_sub(HIGH_START) >> 10) as u32;
    let map = memory_map(size);
    for (index, (start, end, kind)) in (0_u64..).zip(map) {
        let length = end - start;
        let entry = [20, start as u32, (start >> 32) as u32, length as u32, (length >> 32) as u32, kind];
        words(memory, MAP + 24 * index, &entry)?;
    }
    // What firmware tells of itself, where kernels of this kind look for the serial port.
    for (at, value) in
        [(FIRMWARE, UART), (FIRMWARE + 0xE, (LOW_END >> 4) as u16), (FIRMWARE + 0x13, (LOW_END >> 10) as u16)]
    {
        put(memory, at, &value.to_le_bytes())?;
    }
    let information = [
        FLAGS,
        (LOW_END >> 10) as u32,
        upper,
        0,
        command,
        modules.len() as u32,
        LIST as u32,
        0,
        0,
        0,
        0,
        24 * map.len() as u32,
        MAP as u32,
    ];
    words(memory, BOOT_PARAMETERS, &information)?;
    descriptors(memory, 0x00CF_9B00_0000_FFFF)?;
    Ok(Boot::Multiboot { entry, information: BOOT_PARAMETERS as u32 })
}

fn words(memory: &impl Memory, at: u64, words: &[u32]) -> Result<(), LoadError> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    put(memory, at, &bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// Where the header is, if it says what goes where.
fn check_header(kernel: &[u8]) -> Result<Option<usize>, LoadError> {
    let header = (0..SEARCH).step_by(4).find_map(|at| {
        let [magic, flags, sum] = [0, 4, 8].map(|more| word(kernel, at + more));
        (magic? == MAGIC && MAGIC.wrapping_add(flags?).wrapping_add(sum?) == 0).then_some((at, flags?))
    });
    let (at, flags) = header.ok_or(LoadError::Foreign)?;
    if flags & 0xFFFF & !UNDERSTOOD != 0 { Err(LoadError::Demands) } else { Ok((flags & ADDRESSES != 0).then_some(at)) }
}

/// Loads the part of the file that its header, at `header`, describes; entry point and end.
fn load_as_told(memory: &impl Memory, file: &[u8], header: usize) -> Result<(u32, u64), LoadError> {
    let field = |more: usize| word(file, header + more).ok_or(LoadError::Short);
    let [own, start, end, clear, entry] = [field(12)?, field(16)?, field(20)?, field(24)?, field(28)?];
    // The header's address and place in the file tell where in the file the first byte is.
    let before = own.checked_sub(start).ok_or(LoadError::Foreign)?;
    let rest = header.checked_sub(before as usize).and_then(|first| file.get(first..)).ok_or(LoadError::Short)?;
    let bytes = match end {
        0 => rest,
        end => end.checked_sub(start).and_then(|size| rest.get(..size as usize)).ok_or(LoadError::Short)?,
    };
    let start = u64::from(start);
    let end = (start + bytes.len() as u64).max(clear.into());
    if end > memory.size() {
        return Err(LoadError::TooLarge);
    }
    put(memory, start, bytes)?;
    Ok((entry, end.max(HIGH_START)))
}

/// Loads the segments; entry point and end.
fn load_elf(memory: &impl Memory, file: &[u8]) -> Result<(u32, u64), LoadError> {
    const LOAD: u32 = 1;
    if !file.starts_with(b"\x7FELF\x01\x01") {
        return Err(LoadError::Foreign);
    }
    let field = |at: usize| word(file, at).ok_or(LoadError::Short);
    let (entry, table) = (field(0x18)?, field(0x1C)? as usize);
    let (size, count) = (field(0x2A)? as usize & 0xFFFF, field(0x2C)? as usize & 0xFFFF);
    let mut end = HIGH_START;
    for index in 0..count {
        let at = index.checked_mul(size).and_then(|offset| offset.checked_add(table)).ok_or(LoadError::Short)?;
        if field(at)? != LOAD {
            continue;
        }
        let part = |more: usize| at.checked_add(more).ok_or(LoadError::Short).and_then(field);
        let (offset, address) = (part(4)? as usize, u64::from(part(12)?));
        let (in_file, in_memory) = (part(16)? as usize, u64::from(part(20)?).max(in_file_size(part(16)?)));
        let bytes = offset.checked_add(in_file).and_then(|end| file.get(offset..end)).ok_or(LoadError::Short)?;
        if address + in_memory > memory.size() {
            return Err(LoadError::TooLarge);
        }
        put(memory, address, bytes)?;
        end = end.max(address + in_memory);
    }
    Ok((entry, end))
}

const fn in_file_size(size: u32) -> u64 {
    size as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vm_memory::TestMemory;

    /// A file whose one segment is the file itself, at 1 MiB.
    fn kernel() -> Vec<u8> {
        let mut file = vec![0; 0x200];
        let mut put = |at: usize, word: u32| file[at..at + 4].copy_from_slice(&word.to_le_bytes());
        put(0, u32::from_le_bytes(*b"\x7FELF"));
        put(4, 0x0101);
        put(0x18, 0x10_0100);
        put(0x1C, 0x34);
        put(0x2C, 1);
        put(0x28, 0x20 << 16 | 0x34);
        for (index, word) in [1, 0, 0x10_0000, 0x10_0000, 0x200, 0x1000, 7, 0].into_iter().enumerate() {
            put(0x34 + 4 * index, word);
        }
        for (index, word) in [MAGIC, 3, 0_u32.wrapping_sub(MAGIC + 3)].into_iter().enumerate() {
            put(0x80 + 4 * index, word);
        }
        file
    }

    #[test]
    fn modules_lie_behind_the_kernel_at_pages() {
        let memory = TestMemory::new(0x20_0000);
        let boot = load(&memory, &kernel(), &[(b"one", "first a"), (b"two", "")], "kernel line", 2);
        let information = BOOT_PARAMETERS as u32;
        assert_eq!(boot, Ok(Boot::Multiboot { entry: 0x10_0100, information }));
        let field = |at: u64| memory.read_u32(BOOT_PARAMETERS + at).unwrap_or(0);
        assert_eq!((field(0), field(20), field(8)), (FLAGS, 2, 1024));
        assert_eq!([0x400, 0x40E, 0x413].map(|at| memory.read_u16(at)), [Some(0x3F8), Some(0x9FC0), Some(639)]);
        let list = u64::from(field(24));
        let module = |at: u64| memory.read_u32(list + at);
        assert_eq!((module(0), module(4), module(16)), (Some(0x10_1000), Some(0x10_1003), Some(0x10_2000)));
        let mut text = [0; 12];
        assert!(memory.read(field(16).into(), &mut text));
        assert_eq!(&text, b"kernel line\0");
    }

    #[test]
    fn a_header_with_addresses_counts_whatever_the_file_is() {
        let memory = TestMemory::new(0x20_0000);
        let mut file: Vec<u8> = (0..0x300_u32).map(|at| at as u8).collect();
        let told = [
            MAGIC,
            0x1_0003,
            0_u32.wrapping_sub(MAGIC + 0x1_0003),
            0x10_0020,
            0x10_0000,
            0x10_0200,
            0x10_3001,
            0x10_0080,
        ];
        for (index, word) in told.into_iter().enumerate() {
            file[0x60 + 4 * index..][..4].copy_from_slice(&word.to_le_bytes());
        }
        let boot = load(&memory, &file, &[(b"module", "")], "", 1);
        assert_eq!(boot, Ok(Boot::Multiboot { entry: 0x10_0080, information: BOOT_PARAMETERS as u32 }));
        // From 0x40 in the file on, up to the end that the header names; the module is behind what is to be cleared.
        assert_eq!(
            [0x10_0000, 0x10_01FC, 0x10_0200].map(|at| memory.read_u32(at)),
            [Some(0x4342_4140), Some(0x3F3E_3D3C), Some(0)]
        );
        assert_eq!(memory.read_u32(LIST), Some(0x10_4000));
        assert_eq!(memory.read_u64(crate::layout::TABLES), Some(u64::from_le_bytes(*b"RSD PTR ")));
        file[0x60 + 12] = 0xFF;
        assert_eq!(load(&memory, &file, &[], "", 1), Err(LoadError::Short));
        file[0x60 + 4] = 0x0B;
        file[0x60 + 8] = file[0x60 + 8].wrapping_sub(8);
        assert_eq!(load(&memory, &file, &[], "", 1), Err(LoadError::Demands));
    }

    #[test]
    fn other_files_are_refused() {
        let memory = TestMemory::new(0x20_0000);
        assert_eq!(load(&memory, b"text", &[], "", 1), Err(LoadError::Foreign));
        assert_eq!(load(&TestMemory::new(0x10_0800), &kernel(), &[], "", 1), Err(LoadError::TooLarge));
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(changes in proptest::collection::vec((0..0x60_usize, any::<u8>()), 0..10), length in 0..0x200_usize) {
            let mut file = kernel();
            for (at, byte) in changes {
                file[at] = byte;
            }
            file.truncate(length.max(0x90));
            static MEMORY: std::sync::LazyLock<TestMemory> = std::sync::LazyLock::new(|| TestMemory::new(0x20_0000));
            let _ = load(&*MEMORY, &file, &[(b"x", "y")], "z", 4);
        }
    }
}
