//! A boot image that hands the kernel a boot information and ACPI tables of
//! the test's own making.
//!
//! QEMU loads a multiboot1 ELF32 file (`-kernel`). The file made here holds
//! the kernel's load segments at their physical addresses and one more
//! segment, the *blob*: a multiboot1 header, a few instructions that enter
//! the kernel as a multiboot2 boot loader would, the boot information, the
//! ACPI tables, and the root program. Pure: bytes in, bytes out.
//! Sources: Multiboot specifications 0.6.96 and 2.0; ELF (System V ABI).

pub mod acpi;
mod elf32;
pub mod info;

use anyhow::{Context, Result, ensure};
use object::LittleEndian;
use object::elf::{FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

/// Where the blob lies, in bytes; the kernel lies below.
pub const BLOB: u32 = 0x400_0000;
/// Places inside the blob.
const CODE: u32 = BLOB + 0x20;
const INFO: u32 = BLOB + 0x1000;
const TABLES: u32 = BLOB + 0x3000;
const MODULE: u32 = BLOB + 0x6000;
/// End of the memory that the memory map shows; the machine must have at least 256 MiB.
const MEMORY_END: u64 = 0xf00_0000;

/// What is wrong with what the kernel is handed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage {
    /// Nothing: the control.
    None,
    /// Neither event timer nor power management are described.
    NoClocks,
    /// The root program's file ends in its middle.
    TruncatedModule,
    /// One bit of the MADT is flipped, so that its checksum is wrong.
    MadtChecksum,
    /// An entry of the MADT has length zero.
    MadtZeroLength,
    /// An entry of the MADT reaches beyond the table.
    MadtOverLong,
    /// The memory map has no entry.
    EmptyMemoryMap,
    /// The last tag of the boot information reaches beyond its end.
    TagTooLong,
}

/// A segment of the file: where it goes, what it holds, how large it is in memory.
struct Segment {
    address: u32,
    data: Vec<u8>,
    size: u32,
}

/// Makes the file from the kernel and a root program (both ELF64), for a machine with `cores` cores.
///
/// # Errors
/// The kernel is no ELF file for a physical address below the blob.
pub fn image(kernel: &[u8], program: &[u8], arguments: &str, cores: u8, damage: Damage) -> Result<Vec<u8>> {
    let (entry, mut segments) = kernel_segments(kernel)?;
    let blob = blob(entry, program, arguments, cores, damage);
    let size = blob.len() as u32;
    segments.push(Segment { address: BLOB, data: blob, size });
    Ok(elf32::file(CODE, &segments))
}

fn kernel_segments(kernel: &[u8]) -> Result<(u32, Vec<Segment>)> {
    let header = FileHeader64::<LittleEndian>::parse(kernel).context("the kernel is no ELF64 file")?;
    let endian = header.endian()?;
    let entry = u32::try_from(header.e_entry(endian)).context("the kernel's entry is no physical address")?;
    let mut segments = Vec::new();
    for segment in header.program_headers(endian, kernel)?.iter().filter(|one| one.p_type(endian) == PT_LOAD) {
        let data = segment.data(endian, kernel).ok().context("a segment of the kernel lies outside its file")?;
        let address = u32::try_from(segment.p_paddr(endian)).context("a segment of the kernel lies above 4 GiB")?;
        let size = u32::try_from(segment.p_memsz(endian)).context("a segment of the kernel is too large")?;
        ensure!(address.checked_add(size).is_some_and(|end| end <= BLOB), "the kernel reaches into the blob");
        segments.push(Segment { address, data: data.to_vec(), size });
    }
    Ok((entry, segments))
}

fn blob(entry: u32, program: &[u8], arguments: &str, cores: u8, damage: Damage) -> Vec<u8> {
    let tables = acpi::tables(TABLES, cores, damage);
    let length = if damage == Damage::TruncatedModule { program.len() / 2 } else { program.len() };
    let module = (MODULE, MODULE + length as u32);
    let memory = [
        (0, 0x9_f000, info::USABLE),
        (0x10_0000, u64::from(TABLES) - 0x10_0000, info::USABLE),
        (u64::from(TABLES), u64::from(MODULE - TABLES), info::ACPI),
        (u64::from(MODULE), MEMORY_END - u64::from(MODULE), info::USABLE),
    ];
    let info = info::boot_info(arguments, module, &memory, &tables.rsdp, damage);
    let mut blob = multiboot1_header();
    place(&mut blob, CODE, &entry_code(entry));
    place(&mut blob, INFO, &info);
    place(&mut blob, TABLES, &tables.memory);
    place(&mut blob, MODULE, &program[..length]);
    blob
}

fn place(blob: &mut Vec<u8>, address: u32, data: &[u8]) {
    let start = (address - BLOB) as usize;
    assert!(blob.len() <= start, "parts of the blob overlap at {address:#x}");
    blob.resize(start, 0);
    blob.extend_from_slice(data);
}

/// Magic number, no flags, checksum.
fn multiboot1_header() -> Vec<u8> {
    const MAGIC: u32 = 0x1bad_b002;
    [MAGIC, 0, MAGIC.wrapping_neg()].iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// `mov eax, magic; mov ebx, information; mov ecx, entry; jmp ecx` in 32-bit mode.
fn entry_code(entry: u32) -> Vec<u8> {
    let load = |opcode: u8, value: u32| [&[opcode][..], &value.to_le_bytes()].concat();
    [load(0xb8, 0x36d7_6289), load(0xbb, INFO), load(0xb9, entry), vec![0xff, 0xe1]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::elf::FileHeader32;

    /// An ELF64 file with one segment, as the linker makes it.
    fn kernel() -> Vec<u8> {
        let mut file = vec![0; 0x100];
        file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        let mut set = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        set(16, &2u16.to_le_bytes());
        set(18, &62u16.to_le_bytes());
        set(24, &0x100_0040u64.to_le_bytes());
        set(32, &0x40u64.to_le_bytes());
        set(54, &56u16.to_le_bytes());
        set(56, &1u16.to_le_bytes());
        set(0x40, &1u32.to_le_bytes());
        set(0x40 + 24, &0x100_0000u64.to_le_bytes());
        set(0x40 + 32, &0x100u64.to_le_bytes());
        set(0x40 + 40, &0x3000u64.to_le_bytes());
        file
    }

    #[test]
    fn the_file_is_what_qemu_takes_for_a_multiboot1_kernel() {
        let file = image(&kernel(), &[7; 5000], "exit=0xf4", 2, Damage::None).unwrap_or_default();
        let magic = 0x1bad_b002u32.to_le_bytes();
        let at = file.windows(4).position(|window| window == magic);
        assert!(at.is_some_and(|at| at % 4 == 0 && at + 12 <= 8192), "{at:?}");
        let header = FileHeader32::<LittleEndian>::parse(&*file).ok();
        let segments = header.and_then(|header| header.program_headers(LittleEndian, &*file).ok()).unwrap_or_default();
        let places: Vec<_> =
            segments.iter().map(|one| (one.p_paddr(LittleEndian), one.p_memsz(LittleEndian))).collect();
        assert_eq!(places, [(0x100_0000, 0x3000), (BLOB, MODULE - BLOB + 5000)]);
        assert_eq!(segments[1].data(LittleEndian, &*file).map(<[u8]>::len), Ok((MODULE - BLOB + 5000) as usize));
    }

    #[test]
    fn every_damage_changes_the_image_and_nothing_else_does() {
        let make = |damage| image(&kernel(), &[7; 5000], "", 2, damage).unwrap_or_default();
        use Damage::{EmptyMemoryMap, MadtChecksum, MadtOverLong, MadtZeroLength, None, TagTooLong, TruncatedModule};
        assert_eq!(make(None), make(None));
        for damage in [TruncatedModule, MadtChecksum, MadtZeroLength, MadtOverLong, EmptyMemoryMap, TagTooLong] {
            assert_ne!(make(damage), make(None), "{damage:?}");
        }
    }

    #[test]
    fn a_kernel_that_does_not_fit_is_refused() {
        let mut high = kernel();
        high[0x40 + 24 + 4] = 1;
        assert!(image(&high, &[], "", 1, Damage::None).is_err());
        assert!(image(b"no kernel", &[], "", 1, Damage::None).is_err());
    }
}
