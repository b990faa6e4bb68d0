//! Purpose: tables are found, checked and refused by name.

mod fixed;
mod pointer;
mod processors;

use super::*;
use crate::physical::PHYSICAL_END;
use crate::synthetic::{
    FIRST, Machine, RSDT as RSDT_AT, Random, XSDT as XSDT_AT, local_apic, madt, rounds, seal, table,
};

/// A MADT with two cores, an unknown table, and the tables of `fixed`.
fn usual() -> Machine {
    let cores = [local_apic(0, 0, 1), local_apic(1, 2, 1)];
    let timer = table(b"HPET", 1, &fixed::hpet_body());
    Machine::new(&[table(b"SSDT", 2, b"code"), madt(&cores), fixed::fadt(3), timer, fixed::mcfg(&[fixed::SEGMENT])])
}

/// Uses everything; returns how much of it was there.
fn read_all(memory: &impl PhysicalMemory, rsdp: Rsdp) -> Result<usize, Problem> {
    let tables = Tables::open(memory, rsdp)?;
    let mut found = 0;
    if let Ok(madt) = tables.madt() {
        let cores: Vec<_> = madt.cores().collect();
        for (index, core) in cores.iter().enumerate() {
            assert!(cores[..index].iter().all(|other| other.apic_id != core.apic_id), "core listed twice");
        }
        found += cores.len() + madt.io_apics().count() + madt.overrides().count();
    }
    found += usize::from(tables.fadt().is_ok_and(|fadt| fadt.is_some()));
    found += usize::from(tables.hpet().is_ok_and(|hpet| hpet.is_some()));
    for segment in tables.mcfg().unwrap_or_default() {
        assert!(segment.start < segment.end && segment.end <= PHYSICAL_END);
    }
    Ok(found)
}

/// The fault of `open` on a machine changed by `change`.
fn open_error(rsdp: Rsdp, change: impl FnOnce(&mut Machine)) -> String {
    let mut machine = usual();
    change(&mut machine);
    machine.with(|memory| Tables::open(memory, rsdp).err().expect("must be refused").to_string())
}

const BOTH: Rsdp = Rsdp { rsdt: Some(RSDT_AT), xsdt: Some(XSDT_AT) };

#[test]
fn all_tables_are_found_through_either_root() {
    for rsdp in [BOTH, Rsdp { xsdt: None, ..BOTH }, Rsdp { rsdt: None, ..BOTH }] {
        usual().with(|memory| {
            let tables = Tables::open(memory, rsdp).unwrap();
            for name in [b"SSDT", b"APIC", b"FACP", b"HPET", b"MCFG"] {
                assert!(tables.table(*name).is_ok_and(|table| table.is_some_and(|table| table.starts_with(name))));
            }
            assert_eq!(tables.addresses().next(), Some(FIRST));
            assert_eq!(&tables.table(*b"SSDT").unwrap().unwrap()[36..], b"code");
        });
    }
}

#[test]
fn a_root_must_be_named() {
    let none = Rsdp { rsdt: None, xsdt: None };
    assert_eq!(open_error(none, |_| {}), "the RSDP names neither RSDT nor XSDT");
}

#[test]
fn instead_of_a_broken_xsdt_the_rsdt_is_used() {
    let mut machine = usual();
    machine.ranges[1].1[20] ^= 1;
    machine.with(|memory| {
        let tables = Tables::open(memory, BOTH).unwrap();
        assert!(tables.madt().is_ok());
    });
}

#[test]
fn two_broken_roots_are_an_error() {
    let text = open_error(BOTH, |machine| {
        machine.ranges[0].1[0] = b'X';
        machine.ranges[1].1[0] = b'\0';
    });
    assert_eq!(text, "expected XSDT at 0x78000, found \"\\x00SDT\"");
    let only_rsdt = Rsdp { xsdt: None, ..BOTH };
    let text = open_error(only_rsdt, |machine| machine.ranges[0].1[0] = b'X');
    assert_eq!(text, "expected RSDT at 0x70000, found \"XSDT\"");
}

#[test]
fn a_root_outside_memory_is_an_error() {
    for address in [1, 1 << 51, (1 << 52) - 1, u64::MAX, u64::MAX - 35] {
        let text = open_error(Rsdp { rsdt: None, xsdt: Some(address) }, |_| {});
        assert_eq!(text, format!("XSDT at {address:#x}, length 0x24, cannot be read"));
    }
}

#[test]
fn an_impossible_table_length_is_an_error() {
    for length in [0u32, 35, MAX_TABLE + 1, u32::MAX] {
        let text = open_error(Rsdp { xsdt: None, ..BOTH }, |machine| {
            machine.ranges[0].1[4..8].copy_from_slice(&length.to_le_bytes());
        });
        let want = "must be between 0x24 and 0x100000";
        assert_eq!(text, format!("RSDT at 0x70000 has length {length:#x}, {want}"));
    }
    let text = open_error(Rsdp { xsdt: None, ..BOTH }, |machine| machine.ranges[0].1[5] = 1);
    assert_eq!(text, "RSDT at 0x70000, length 0x138, cannot be read");
}

#[test]
fn of_too_many_tables_the_first_are_looked_at() {
    let mut machine = usual();
    machine.ranges[1].1 = table(b"XSDT", 1, &vec![1; 8 * (MAX_TABLES + 1)]);
    machine.with(|memory| assert_eq!(Tables::open(memory, BOTH).unwrap().addresses().count(), MAX_TABLES));
}

#[test]
fn broken_tables_that_nobody_needs_do_no_harm() {
    let mut machine = usual();
    machine.ranges[2].1[36] ^= 0x10;
    machine.ranges.pop();
    machine.with(|memory| assert!(Tables::open(memory, BOTH).unwrap().madt().is_ok()));
}

#[test]
fn a_broken_needed_table_is_an_error_and_not_absent() {
    let mut machine = usual();
    machine.ranges[3].1[40] ^= 1;
    machine.with(|memory| {
        let tables = Tables::open(memory, BOTH).unwrap();
        assert!(tables.madt().err().unwrap().to_string().starts_with("APIC at 0x200000 has a bad checksum"));
    });
}

#[test]
fn a_missing_table_is_named() {
    Machine::new(&[]).with(|memory| {
        let tables = Tables::open(memory, BOTH).unwrap();
        assert_eq!(tables.madt().err().unwrap().to_string(), "there is no APIC table");
        assert!(matches!((tables.fadt(), tables.hpet()), (Ok(None), Ok(None))));
        assert!(tables.mcfg().is_ok_and(|segments| segments.is_empty()));
    });
}

#[test]
fn the_first_of_several_tables_counts() {
    let machine = Machine::new(&[madt(&[local_apic(0, 7, 1)]), madt(&[local_apic(0, 8, 1)])]);
    machine.with(|memory| {
        let madt = Tables::open(memory, BOTH).unwrap().madt().unwrap();
        assert_eq!(madt.cores().next().unwrap().apic_id, 7);
    });
}

#[test]
fn null_entries_of_the_root_are_passed_over() {
    let mut machine = usual();
    let mut entries = machine.ranges[1].1[36..].to_vec();
    entries[..8].fill(0);
    machine.ranges[1].1 = table(b"XSDT", 1, &entries);
    machine.with(|memory| assert_eq!(Tables::open(memory, BOTH).unwrap().addresses().count(), 4));
}

#[test]
fn mutated_tables_are_read_or_refused() {
    let (whole, mut random) = (usual(), Random(2));
    let (mut good, mut bad) = (0, 0);
    for _ in 0..rounds(100_000) {
        let mut machine = Machine { ranges: whole.ranges.clone() };
        let index = random.below(machine.ranges.len());
        let bytes = &mut machine.ranges[index].1;
        random.mutate(bytes);
        if random.below(4) != 0 {
            seal(bytes, 9);
        }
        match machine.with(|memory| read_all(memory, BOTH)) {
            Ok(_) => good += 1,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                bad += 1;
            }
        }
    }
    // The RSDT stands in for a broken XSDT, so few are refused as a whole.
    assert!(good > 0 && bad == 0, "{good} read, {bad} refused");
}
