//! A machine's ACPI tables out of the input: a root table of four entries and
//! four tables, whose checksums are made right unless the input says otherwise,
//! and the input itself as a BIOS area.
//!
//! Input: one byte of flags, four table lengths of two bytes, then the tables.
#![no_main]

use firmware::acpi_tables::{Rsdp, Tables};
use firmware::physical::PhysicalMemory;
use libfuzzer_sys::fuzz_target;
use recorded::Recorded;

/// The stand-in for memory that the unit tests use.
#[path = "../../../hypervisor/firmware/src/physical/recorded.rs"]
mod recorded;

const NAMES: [&[u8; 4]; 4] = [b"APIC", b"FACP", b"HPET", b"MCFG"];
const FIRST: u64 = 0x10_0000;

/// A table of `body` behind a header; `honest` ones have the right length.
fn table(name: &[u8; 4], body: &[u8], honest: bool, sealed: bool) -> Vec<u8> {
    let mut bytes = [&name[..], &[0; 4], &[3], &[0; 27], body].concat();
    if honest {
        let length = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
    } else if let Some(length) = body.first_chunk::<4>() {
        bytes[4..8].copy_from_slice(length);
    }
    if sealed {
        let sum = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
        bytes[9] = bytes[9].wrapping_sub(sum);
    }
    bytes
}

fuzz_target!(|data: &[u8]| {
    let Some((&flags, rest)) = data.split_first() else { return };
    let Some((lengths, mut rest)) = rest.split_at_checked(8) else { return };
    let mut tables = Vec::new();
    for (index, length) in lengths.chunks_exact(2).enumerate() {
        let length = usize::from(u16::from_le_bytes([length[0], length[1]])).min(rest.len());
        let (body, after) = rest.split_at(length);
        rest = after;
        tables.push(table(NAMES[index], body, flags >> index & 1 == 0, flags & 0x10 == 0));
    }
    let mut entries: Vec<u8> =
        (0..tables.len() as u64).flat_map(|index| (FIRST + (index << 20)).to_le_bytes()).collect();
    if flags & 0x20 != 0 {
        entries.extend(rest);
    }
    let root = table(b"XSDT", &entries, flags & 0x40 == 0, true);
    // RSDT: whatever is left.
    let other = table(b"RSDT", rest, true, true);
    let mut ranges: Vec<(u64, &[u8])> = vec![(0x400, data), (0x7_0000, &other), (0x8_0000, &root)];
    ranges.extend(tables.iter().enumerate().map(|(index, bytes)| (FIRST + ((index as u64) << 20), &bytes[..])));
    let memory = Recorded::new(&ranges);

    let given = Rsdp { rsdt: Some(0x7_0000), xsdt: Some(0x8_0000).filter(|_| flags & 0x80 == 0) };
    for rsdp in [Rsdp::parse(data).ok(), Some(given)].into_iter().flatten() {
        read(&memory, rsdp);
    }
});

fn read(memory: &Recorded<'_>, rsdp: Rsdp) {
    let tables = match Tables::open(memory, rsdp) {
        Ok(tables) => tables,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    match tables.madt() {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(madt) => {
            let mut ids: Vec<_> = madt.cores().map(|core| core.apic_id).collect();
            let listed = ids.len();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), listed, "a core is listed twice");
            let _ = (madt.io_apics().count(), madt.overrides().count());
        }
    }
    let _ = (tables.fadt(), tables.hpet());
    for segment in tables.mcfg().unwrap_or_default() {
        assert!(segment.start < segment.end && segment.end <= 1 << 52);
    }
}
