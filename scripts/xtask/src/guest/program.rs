//! Programs as guests: an ELF file becomes the image of a Linux kernel, whose 64-bit entry point is the program's.
//!
//! Invariants: what is no such program stays as it is.
//! Concurrency: none, pure.
//! Source: Linux, Documentation/arch/x86/boot (protocol 2.15); System V ABI, ELF-64 object file format.

use anyhow::{Result, ensure};
use object::elf::{FileHeader64, PT_LOAD};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader, ProgramHeader};

/// Where an image is loaded, and where in it the entry point is.
const ADDRESS: u64 = 0x10_0000;
const ENTRY: u64 = 0x200;
/// The boot sector and one sector of set-up, which nobody executes.
const SETUP: usize = 1024;
/// Most bytes of a program.
const LARGEST: u64 = 64 << 20;

/// The image for `file`; one that is no 64-bit ELF file is returned as it is.
///
/// # Errors
/// It is such a file, but not a program for this address and entry point.
pub fn image(file: Vec<u8>) -> Result<Vec<u8>> {
    if !file.starts_with(b"\x7FELF\x02\x01") {
        return Ok(file);
    }
    let header = FileHeader64::<LittleEndian>::parse(&*file)?;
    let endian = header.endian()?;
    let entry = header.e_entry(endian);
    ensure!(entry == ADDRESS + ENTRY, "a guest's program starts at {:#x}, not at {entry:#x}", ADDRESS + ENTRY);
    let mut body = Vec::new();
    for segment in header.program_headers(endian, &*file)?.iter().filter(|each| each.p_type(endian) == PT_LOAD) {
        let (start, size) = (segment.p_vaddr(endian), segment.p_memsz(endian));
        ensure!(start >= ADDRESS && size <= LARGEST && start - ADDRESS <= LARGEST, "a segment lies at {start:#x}");
        let data = segment.data(endian, &*file).map_err(|()| anyhow::anyhow!("a segment is cut short"))?;
        let start = (start - ADDRESS) as usize;
        body.resize(body.len().max(start + (size as usize).max(data.len())), 0);
        body[start..start + data.len()].copy_from_slice(data);
    }
    let mut image = setup(body.len() as u32);
    image.append(&mut body);
    Ok(image)
}

/// The header of a kernel of so many bytes.
fn setup(size: u32) -> Vec<u8> {
    let mut setup = vec![0; SETUP];
    let mut put = |at: usize, bytes: &[u8]| setup[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1F1, &[1]);
    put(0x1FE, &[0x55, 0xAA, 0xEB, 0x6A]);
    put(0x202, b"HdrS");
    put(0x206, &0x020F_u16.to_le_bytes());
    put(0x211, &[1]);
    put(0x22C, &0x7FFF_FFFF_u32.to_le_bytes());
    // It has the 64-bit entry point.
    put(0x236, &[1]);
    put(0x258, &ADDRESS.to_le_bytes());
    put(0x260, &size.next_multiple_of(0x1000).to_le_bytes());
    setup
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of one segment at `address`.
    fn program(address: u64) -> Vec<u8> {
        let mut file = vec![0; 0x78];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"\x7FELF\x02\x01\x01");
        put(0x10, &[2, 0, 0x3E, 0, 1]);
        put(0x18, &(address + ENTRY).to_le_bytes());
        put(0x20, &0x40_u64.to_le_bytes());
        put(0x34, &[0x40, 0, 0x38, 0, 1]);
        put(0x40, &[1, 0, 0, 0, 7]);
        for (at, word) in [(0x48, 0x78), (0x50, address + ENTRY), (0x60, 3), (0x68, 0x300)] {
            put(at, &u64::to_le_bytes(word));
        }
        file.extend_from_slice(b"xyz");
        file
    }

    #[test]
    fn a_program_lies_behind_the_header_as_in_memory() {
        let image = image(program(ADDRESS)).unwrap();
        assert_eq!(image.len(), SETUP + 0x500);
        assert_eq!(&image[SETUP + 0x200..SETUP + 0x204], b"xyz\0");
        assert_eq!(&image[0x202..0x206], b"HdrS");
        assert_eq!(image[0x260..0x264], 0x1000_u32.to_le_bytes());
    }

    #[test]
    fn other_files_stay_and_other_programs_are_refused() {
        assert_eq!(image(b"MZ".to_vec()).unwrap(), b"MZ");
        assert!(image(program(0x20_0000)).is_err());
        assert!(image(program(ADDRESS)[..0x50].to_vec()).is_err());
    }
}
