//! Loads a Linux kernel image (bzImage), with its initial file system and command line, for the 64-bit entry point.
//!
//! Invariants: any bytes are loaded or refused; nothing outside the guest's memory is written.
//! Concurrency: before the guest runs.
//! Source: Linux, Documentation/arch/x86/boot and zero-page.

use core::fmt;

use vm_memory::Memory;

use crate::acpi;
use crate::layout::{
    BOOT_PARAMETERS, COMMAND_LINE, COMMAND_LINE_MAX, GDT, HIGH_START, LOW_END, PAGE_TABLES, PCI_CONFIG, TABLES,
};
use crate::start::Boot;

/// Offsets in the image and, from the header on, in the boot parameters.
mod offset {
    pub const HEADER: usize = 0x1F1;
    pub const MAGIC: usize = 0x202;
    pub const VERSION: usize = 0x206;
    pub const LOADER: u64 = 0x210;
    pub const FLAGS: u64 = 0x211;
    pub const START: u64 = 0x214;
    pub const INITIAL: u64 = 0x218;
    pub const INITIAL_SIZE: u64 = 0x21C;
    pub const COMMAND: u64 = 0x228;
    pub const INITIAL_MAX: usize = 0x22C;
    pub const EXTENDED_FLAGS: usize = 0x236;
    pub const COMMAND_MAX: usize = 0x238;
    pub const PREFERRED: usize = 0x258;
    pub const ROOM: usize = 0x260;
    pub const ACPI: u64 = 0x70;
    pub const MAP_COUNT: u64 = 0x1E8;
    pub const MAP: u64 = 0x2D0;
}
const MAGIC: [u8; 4] = *b"HdrS";
/// First version of the protocol with a 64-bit entry point.
const VERSION: u16 = 0x020C;
const ENTRY_64: u16 = 1;
const ENTRY_OFFSET: u64 = 0x200;
const PAGE: u64 = 0x1000;
const AVAILABLE: u32 = 1;
const RESERVED: u32 = 2;

/// Why a guest is not loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// Not an image of its kind.
    Foreign,
    /// It is cut short.
    Short,
    /// It has no 64-bit entry point, or is too old to have one.
    Old,
    /// It does not fit into the guest's memory.
    TooLarge,
    /// The command line is too long.
    CommandLine,
    /// There are too many modules.
    Modules,
    /// A Multiboot kernel demands what no loader knows.
    Demands,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "the image is none of the kind that was asked for",
            Self::Short => "the image is cut short",
            Self::Old => "the kernel has no 64-bit entry point (boot protocol 2.12)",
            Self::TooLarge => "the images do not fit into the guest's memory",
            Self::CommandLine => "the command line is too long",
            Self::Modules => "there are too many modules",
            Self::Demands => "the kernel's Multiboot header demands what this loader does not know",
        })
    }
}

/// What is loaded.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// The kernel image.
    pub kernel: &'a [u8],
    /// The initial file system, if any.
    pub initial: &'a [u8],
    /// The command line.
    pub command_line: &'a str,
    /// How many processors.
    pub cpus: u32,
}

/// Loads a guest into zeroed memory and says how it starts.
///
/// # Errors
/// [`LoadError`].
pub fn load(memory: &impl Memory, guest: &Guest<'_>) -> Result<Boot, LoadError> {
    let Guest { kernel, initial, command_line, cpus } = *guest;
    let header = Header::read(kernel)?;
    let end = header.address.checked_add(header.room).ok_or(LoadError::TooLarge)?;
    let size = memory.size();
    if end > size || header.address < HIGH_START {
        return Err(LoadError::TooLarge);
    }
    put(memory, header.address, header.body)?;
    // As high as the kernel allows, so that it is out of its way.
    let top = size.min(u64::from(header.initial_max).saturating_add(1));
    let start = top.checked_sub(initial.len() as u64).ok_or(LoadError::TooLarge)? & !(PAGE - 1);
    if !initial.is_empty() {
        if start < end {
            return Err(LoadError::TooLarge);
        }
        put(memory, start, initial)?;
    }
    if command_line.len() > COMMAND_LINE_MAX.min(header.command_max) {
        return Err(LoadError::CommandLine);
    }
    put(memory, COMMAND_LINE, command_line.as_bytes())?;
    put(memory, COMMAND_LINE + command_line.len() as u64, &[0])?;
    let tables = acpi::write(memory, cpus).map_err(|_| LoadError::TooLarge)?;

    put(memory, BOOT_PARAMETERS + offset::HEADER as u64, header.bytes)?;
    let field = |at: u64, value: u64, length: usize| {
        put(memory, BOOT_PARAMETERS + at, value.to_le_bytes().get(..length).unwrap_or_default())
    };
    field(offset::LOADER, 0xFF, 1)?; // a loader without a number
    field(offset::FLAGS, u64::from(header.flags | 1), 1)?;
    field(offset::START, header.address, 4)?;
    if !initial.is_empty() {
        field(offset::INITIAL, start, 4)?;
        field(offset::INITIAL_SIZE, initial.len() as u64, 4)?;
    }
    field(offset::COMMAND, COMMAND_LINE, 4)?;
    field(offset::ACPI, tables, 8)?;
    let map = memory_map(size);
    field(offset::MAP_COUNT, map.len() as u64, 1)?;
    for (index, (start, end, kind)) in (0_u64..).zip(map) {
        let at = offset::MAP + 20 * index;
        field(at, start, 8)?;
        field(at + 8, end - start, 8)?;
        field(at + 16, kind.into(), 4)?;
    }
    tables_for_entry(memory)?;
    Ok(Boot::Linux { entry: header.address + ENTRY_OFFSET })
}

/// Start, end and kind of the ranges of memory.
#[must_use]
pub const fn memory_map(size: u64) -> [(u64, u64, u32); 5] {
    [
        (0, LOW_END, AVAILABLE),
        (LOW_END, 0xA_0000, RESERVED),
        (TABLES, HIGH_START, RESERVED),
        (HIGH_START, size, AVAILABLE),
        (PCI_CONFIG, PCI_CONFIG + vm_pci::WINDOW_SIZE, RESERVED),
    ]
}

pub(crate) fn put(memory: &impl Memory, at: u64, bytes: &[u8]) -> Result<(), LoadError> {
    if memory.write(at, bytes) { Ok(()) } else { Err(LoadError::TooLarge) }
}

/// Segments of 64-bit code, 32-bit code where Multiboot needs it, and data.
pub(crate) fn descriptors(memory: &impl Memory, code: u64) -> Result<(), LoadError> {
    for (index, descriptor) in (0_u64..).zip([0, 0, code, 0x00CF_9300_0000_FFFF]) {
        put(memory, GDT + 8 * index, &descriptor.to_le_bytes())?;
    }
    Ok(())
}

/// The first 4 GiB mapped to themselves in 2 MiB pages, and segments.
fn tables_for_entry(memory: &impl Memory) -> Result<(), LoadError> {
    const TABLE: u64 = 3;
    const LARGE: u64 = 0x83;
    descriptors(memory, 0x00AF_9B00_0000_FFFF)?;
    let (pointers, directories) = (PAGE_TABLES + PAGE, PAGE_TABLES + 2 * PAGE);
    put(memory, PAGE_TABLES, &(pointers | TABLE).to_le_bytes())?;
    for index in 0..4 {
        put(memory, pointers + 8 * index, &((directories + PAGE * index) | TABLE).to_le_bytes())?;
    }
    for index in 0..2048 {
        put(memory, directories + 8 * index, &(index << 21 | LARGE).to_le_bytes())?;
    }
    Ok(())
}

struct Header<'a> {
    bytes: &'a [u8],
    body: &'a [u8],
    address: u64,
    room: u64,
    initial_max: u32,
    command_max: usize,
    flags: u8,
}

impl<'a> Header<'a> {
    fn read(image: &'a [u8]) -> Result<Self, LoadError> {
        let field = |at: usize| image.get(at..).and_then(|rest| rest.first_chunk::<8>()).ok_or(LoadError::Short);
        let word = |at: usize| field(at).map(|bytes| u64::from_le_bytes(*bytes));
        if image.get(offset::MAGIC..offset::MAGIC + 4).ok_or(LoadError::Foreign)? != MAGIC {
            return Err(LoadError::Foreign);
        }
        let version = word(offset::VERSION)? as u16;
        if version < VERSION || word(offset::EXTENDED_FLAGS)? as u16 & ENTRY_64 == 0 {
            return Err(LoadError::Old);
        }
        let sectors = match word(offset::HEADER)? as u8 {
            0 => 4,
            sectors => usize::from(sectors),
        };
        // The byte before the magic number is a jump's: the header ends where it goes.
        let end = offset::MAGIC + usize::from(word(offset::MAGIC - 1)? as u8);
        Ok(Self {
            bytes: image.get(offset::HEADER..end).ok_or(LoadError::Short)?,
            body: image.get((sectors + 1) * 512..).ok_or(LoadError::Short)?,
            address: word(offset::PREFERRED)?,
            room: word(offset::ROOM)? & 0xFFFF_FFFF,
            initial_max: word(offset::INITIAL_MAX)? as u32,
            command_max: match word(offset::COMMAND_MAX)? as u32 {
                0 => COMMAND_LINE_MAX,
                most => most as usize,
            },
            flags: word(offset::FLAGS as usize)? as u8,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vm_memory::TestMemory;

    fn image() -> Vec<u8> {
        let mut image = vec![0; 0x1000];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(offset::HEADER, &[1]);
        put(offset::MAGIC - 1, &[0x6A]);
        put(offset::MAGIC, &MAGIC);
        put(offset::VERSION, &0x020F_u16.to_le_bytes());
        put(offset::INITIAL_MAX, &0x7FFF_FFFF_u32.to_le_bytes());
        put(offset::COMMAND_MAX, &2047_u32.to_le_bytes());
        put(offset::EXTENDED_FLAGS, &1_u16.to_le_bytes());
        put(offset::PREFERRED, &0x10_0000_u64.to_le_bytes());
        put(offset::ROOM, &0x10_0000_u32.to_le_bytes());
        put(0x400, b"kernel");
        image
    }

    #[test]
    fn kernel_file_system_and_command_line_are_where_the_parameters_say() {
        let memory = TestMemory::new(0x40_0000);
        let guest = Guest { kernel: &image(), initial: b"files", command_line: "quiet", cpus: 2 };
        assert_eq!(load(&memory, &guest), Ok(Boot::Linux { entry: 0x10_0200 }));
        let text = |at: u64, length: usize| {
            let mut bytes = vec![0; length];
            assert!(memory.read(at, &mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let field = |at| u64::from(memory.read_u32(BOOT_PARAMETERS + at).unwrap_or(0));
        assert_eq!(text(0x10_0000, 6), "kernel");
        assert_eq!(text(field(offset::INITIAL), field(offset::INITIAL_SIZE) as usize), "files");
        assert_eq!(text(field(offset::COMMAND), 6), "quiet\0");
        assert_eq!((field(offset::MAP_COUNT) & 0xFF, field(offset::ACPI)), (5, TABLES));
        assert_eq!(field(offset::MAP + 20 * 3 + 8), 0x30_0000);
        assert_eq!(memory.read_u64(PAGE_TABLES + 2 * PAGE + 8), Some(0x20_0083));
    }

    #[test]
    fn what_does_not_fit_or_is_too_old_is_refused() {
        let memory = TestMemory::new(0x20_0000);
        let kernel = image();
        let guest = Guest { kernel: &kernel, initial: &[], command_line: "", cpus: 1 };
        assert!(load(&memory, &guest).is_ok());
        assert_eq!(load(&memory, &Guest { initial: &[1], ..guest }), Err(LoadError::TooLarge));
        let long = "x".repeat(2048);
        assert_eq!(load(&memory, &Guest { command_line: &long, ..guest }), Err(LoadError::CommandLine));
        assert_eq!(load(&memory, &Guest { kernel: b"ELF", ..guest }), Err(LoadError::Foreign));
        let mut old = kernel.clone();
        old[offset::VERSION] = 9;
        old[offset::VERSION + 1] = 2;
        assert_eq!(load(&memory, &Guest { kernel: &old, ..guest }), Err(LoadError::Old));
    }

    proptest! {
        #[test]
        fn no_image_makes_it_panic(changes in proptest::collection::vec((0x1F0..0x270_usize, any::<u8>()), 0..12), length in 0..0x1000_usize) {
            let mut kernel = image();
            for (at, byte) in changes {
                kernel[at] = byte;
            }
            kernel.truncate(length.max(0x280));
            static MEMORY: std::sync::LazyLock<TestMemory> = std::sync::LazyLock::new(|| TestMemory::new(0x20_0000));
            let _ = load(&*MEMORY, &Guest { kernel: &kernel, initial: b"x", command_line: "y", cpus: 1 });
        }
    }
}
