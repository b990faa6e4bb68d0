//! Boot informations, ACPI tables and numbers for tests.
//!
//! Purpose: inputs that are well-formed unless a test breaks them on purpose.
//! Invariants: the same in every run.
//! Concurrency: plain values.
//! Source: as of the parsers.

use crate::bytes::checksum;
use crate::physical::recorded::Recorded;

/// Numbers that are the same in every run (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Changes one to four bytes: to a random, an extreme or a near value.
    pub fn mutate(&mut self, bytes: &mut [u8]) {
        for _ in 0..=self.below(4) {
            let index = self.below(bytes.len());
            bytes[index] = match self.below(4) {
                0 => self.next() as u8,
                1 => [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                2 => bytes[index].wrapping_add(1),
                _ => bytes[index] ^ 1 << self.below(8),
            };
        }
    }
}

/// How often a randomised test runs; interpreted runs are far slower.
pub fn rounds(native: usize) -> usize {
    if cfg!(miri) { native / 5000 } else { native }
}

/// Bytes at an address that is a multiple of 8.
#[derive(Clone)]
pub struct Aligned {
    words: Vec<[u8; 8]>,
    skip: usize,
    length: usize,
}

impl Aligned {
    pub fn new(bytes: &[u8]) -> Self {
        let mut words = vec![[0; 8]; bytes.len() / 8 + 2];
        let skip = words.as_ptr().addr().wrapping_neg() % 8;
        words.as_flattened_mut()[skip..][..bytes.len()].copy_from_slice(bytes);
        Self { words, skip, length: bytes.len() }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.words.as_flattened()[self.skip..][..self.length]
    }
}

/// A multiboot2 tag without padding.
pub fn tag(kind: u32, body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    [&kind.to_le_bytes()[..], &(body.len() as u32 + 8).to_le_bytes(), &body].concat()
}

/// A boot information of the given tags and an end tag.
pub fn boot_info(tags: &[Vec<u8>]) -> Vec<u8> {
    let mut info = vec![0; 8];
    for tag in tags.iter().chain([&tag(0, &[])]) {
        info.extend_from_slice(tag);
        info.resize(info.len().next_multiple_of(8), 0);
    }
    let size = info.len() as u32;
    info[..4].copy_from_slice(&size.to_le_bytes());
    info
}

/// A memory map tag with entries of `entry_size` bytes.
pub fn memory_map(entry_size: usize, entries: &[(u64, u64, u32)]) -> Vec<u8> {
    let mut body = [(entry_size as u32).to_le_bytes(), [0; 4]].concat();
    for (base, length, kind) in entries {
        let start = body.len();
        body.extend(base.to_le_bytes());
        body.extend(length.to_le_bytes());
        body.extend(kind.to_le_bytes());
        body.resize(start + entry_size, 0);
    }
    tag(6, &[&body])
}

/// Makes the bytes sum to zero by changing the one at `at`.
pub fn seal(bytes: &mut [u8], at: usize) {
    bytes[at] = bytes[at].wrapping_sub(checksum(bytes));
}

/// The RSDP of ACPI 1.0.
pub fn rsdp_old(rsdt: u32) -> Vec<u8> {
    let mut bytes = [&b"RSD PTR \0OEM123\0"[..], &rsdt.to_le_bytes()].concat();
    seal(&mut bytes, 8);
    bytes
}

/// The RSDP since ACPI 2.0.
pub fn rsdp_new(rsdt: u32, xsdt: u64) -> Vec<u8> {
    let mut bytes = rsdp_old(rsdt);
    bytes[15] = 2;
    seal(&mut bytes, 8);
    bytes.extend(36u32.to_le_bytes());
    bytes.extend(xsdt.to_le_bytes());
    bytes.extend([0; 4]);
    seal(&mut bytes, 32);
    bytes
}

/// A table with header and checksum.
pub fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&signature[..], &(body.len() as u32 + 36).to_le_bytes(), &[revision, 0]].concat();
    bytes.extend(b"OEM123OEMTABLE\x01\0\0\0TEST\x01\0\0\0".iter().chain([&0; 1]).take(26));
    bytes.extend(body);
    seal(&mut bytes, 9);
    bytes
}

/// A MADT with the local APICs at 0xfee0_0000.
pub fn madt(entries: &[Vec<u8>]) -> Vec<u8> {
    let head = [0xfee0_0000u32.to_le_bytes(), 1u32.to_le_bytes()].concat();
    table(b"APIC", 4, &[head, entries.concat()].concat())
}

pub fn local_apic(acpi_id: u8, apic_id: u8, flags: u32) -> Vec<u8> {
    [&[0, 8, acpi_id, apic_id][..], &flags.to_le_bytes()].concat()
}

pub fn x2apic(acpi_id: u32, apic_id: u32, flags: u32) -> Vec<u8> {
    [&[9, 16, 0, 0][..], &apic_id.to_le_bytes(), &flags.to_le_bytes(), &acpi_id.to_le_bytes()].concat()
}

/// Physical memory with an RSDT, an XSDT and tables, to be broken at will.
pub struct Machine {
    pub ranges: Vec<(u64, Vec<u8>)>,
}

/// Where [`Machine`] puts its root tables.
pub const RSDT: u32 = 0x7_0000;
pub const XSDT: u64 = 0x7_8000;
/// Where it puts the first table; the next follow at distances of 1 MiB.
pub const FIRST: u64 = 0x10_0000;

impl Machine {
    /// Both root tables list all of `tables`.
    pub fn new(tables: &[Vec<u8>]) -> Self {
        let address = |index: usize| FIRST + ((index as u64) << 20);
        let narrow: Vec<u8> = (0..tables.len()).flat_map(|i| (address(i) as u32).to_le_bytes()).collect();
        let wide: Vec<u8> = (0..tables.len()).flat_map(|i| address(i).to_le_bytes()).collect();
        let mut ranges = vec![(RSDT.into(), table(b"RSDT", 1, &narrow)), (XSDT, table(b"XSDT", 1, &wide))];
        ranges.extend(tables.iter().cloned().enumerate().map(|(i, table)| (address(i), table)));
        Self { ranges }
    }

    /// Runs `test` on the memory.
    pub fn with<T>(&self, test: impl FnOnce(&Recorded<'_>) -> T) -> T {
        let ranges: Vec<_> = self.ranges.iter().map(|(base, bytes)| (*base, &bytes[..])).collect();
        test(&Recorded::new(&ranges))
    }
}
