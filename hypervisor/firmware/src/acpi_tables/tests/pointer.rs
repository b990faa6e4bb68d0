//! Purpose: the RSDP is checked in every byte, and found where a BIOS puts it.

use super::*;
use crate::synthetic::{rsdp_new, rsdp_old};

#[test]
fn both_forms_are_read() {
    let old = Rsdp { rsdt: Some(0x1234_5678), xsdt: None };
    assert_eq!(Rsdp::parse(&rsdp_old(0x1234_5678)), Ok(old));
    let new = Rsdp { rsdt: Some(1), xsdt: Some(1 << 40) };
    assert_eq!(Rsdp::parse(&rsdp_new(1, 1 << 40)), Ok(new));
    assert_eq!(Rsdp::parse(&rsdp_new(0, 0)), Ok(Rsdp { rsdt: None, xsdt: None }));
}

#[test]
fn every_changed_byte_is_noticed() {
    for good in [rsdp_old(0x1000), rsdp_new(0x1000, 0x2000)] {
        for index in 0..good.len() {
            let mut bytes = good.clone();
            bytes[index] ^= 0x41;
            assert!(Rsdp::parse(&bytes).is_err(), "byte {index} of {}", good.len());
        }
    }
}

#[test]
fn each_fault_is_named() {
    let text = |bytes: &[u8]| Rsdp::parse(bytes).err().unwrap().to_string();
    assert_eq!(text(&[]), "RSDP has length 0x14 and 0x0 bytes, its revision needs 0x14");
    assert_eq!(text(&rsdp_new(1, 2)[..35]), "RSDP has length 0x24 and 0x23 bytes, its revision needs 0x24");
    assert_eq!(text(&[b'!'; 20]), "RSDP begins with \"!!!!!!!!\", not with \"RSD PTR \"");
    let mut changed = rsdp_new(1, 2);
    changed[9] ^= 1;
    assert!(text(&changed).starts_with("RSDP has a bad checksum: its first 20 bytes sum to 0x"));
    let mut changed = rsdp_new(1, 2);
    changed[24] ^= 3;
    assert!(text(&changed).starts_with("RSDP has a bad checksum: its first 36 bytes sum to 0x"));
}

#[test]
fn a_length_beyond_the_bytes_is_refused() {
    for length in [0u32, 35, 37, u32::MAX] {
        let mut bytes = rsdp_new(1, 2);
        bytes[20..24].copy_from_slice(&length.to_le_bytes());
        seal(&mut bytes, 32);
        let error = Rsdp::parse(&bytes).err().unwrap().to_string();
        assert!(
            error.starts_with(&format!("RSDP has length {length:#x} and 0x24 bytes, its revision needs 0x24")),
            "{error}"
        );
    }
}

/// A BIOS machine: the word at 0x40E, the data area and the ROM.
fn bios(segment: u16, extended: &[(usize, Vec<u8>)], rom: &[(usize, Vec<u8>)]) -> Machine {
    let area = |length: usize, parts: &[(usize, Vec<u8>)]| {
        let mut bytes = vec![0; length];
        for (offset, part) in parts {
            bytes[*offset..][..part.len()].copy_from_slice(part);
        }
        bytes
    };
    let word = (0x400, [&[0; 14][..], &segment.to_le_bytes()].concat());
    Machine { ranges: vec![word, (0x9_fc00, area(0x400, extended)), (0xe_0000, area(0x2_0000, rom))] }
}

#[test]
fn a_bios_is_searched_in_both_areas() {
    let found = |machine: Machine| machine.with(|memory| Rsdp::search(memory));
    let (one, two) = (rsdp_old(1), rsdp_old(2));
    assert_eq!(found(bios(0x9fc0, &[(0x3e0, one.clone())], &[(16, two.clone())])).unwrap().rsdt, Some(1));
    assert_eq!(found(bios(0x9fc0, &[], &[(0x1_ffe0, two.clone())])).unwrap().rsdt, Some(2));
    // An implausible or unreadable data area does not keep the ROM from being searched.
    let segments = [0x5000, 0, 0x20, 0xffff];
    for &segment in if cfg!(miri) { &segments[..1] } else { &segments[..] } {
        assert_eq!(found(bios(segment, &[(0, one.clone())], &[(16, two.clone())])).unwrap().rsdt, Some(2));
    }
    // A broken one is passed over, and so is one at another place.
    let mut broken = two.clone();
    broken[9] ^= 1;
    assert_eq!(found(bios(0x9fc0, &[], &[(16, broken.clone()), (64, two.clone())])).unwrap().rsdt, Some(2));
    let fault = found(bios(0x9fc0, &[], &[(8, two.clone())])).err().unwrap();
    assert_eq!(fault.to_string(), "no RSDP from the boot loader nor in the BIOS areas");
    let fault = found(bios(0x9fc0, &[(0, broken)], &[])).err().unwrap();
    assert!(fault.to_string().starts_with("RSDP has a bad checksum"), "{fault}");
}

#[test]
fn without_readable_areas_nothing_is_found() {
    let nothing = Machine { ranges: vec![] };
    let error = nothing.with(|memory| Rsdp::search(memory)).err().unwrap();
    assert_eq!(error.to_string(), "no RSDP from the boot loader nor in the BIOS areas");
}
