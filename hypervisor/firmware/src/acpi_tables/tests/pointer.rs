//! Purpose: the RSDP is checked in every byte.

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
