//! Purpose: of a MADT every well-formed entry is reported, every malformed one named.

use super::*;
use crate::synthetic::x2apic;
use proptest::prelude::*;

/// Runs `test` on the MADT of a machine that has only this one.
fn with_madt<T>(
    bytes: Vec<u8>,
    test: impl FnOnce(Result<Madt<crate::physical::recorded::Recorded<'_>>, Problem>) -> T,
) -> T {
    Machine::new(&[bytes]).with(|memory| test(Tables::open(memory, BOTH).unwrap().madt()))
}

fn cores(entries: &[Vec<u8>]) -> Vec<Core> {
    with_madt(madt(entries), |madt| madt.unwrap().cores().collect())
}

fn error(entries: &[Vec<u8>]) -> String {
    with_madt(madt(entries), |madt| madt.err().expect("must be refused").to_string())
}

fn core(acpi_id: u32, apic_id: u32, enabled: bool) -> Core {
    Core { apic_id, acpi_id, enabled }
}

#[test]
fn sparse_ids_are_reported_in_order() {
    let found = cores(&[local_apic(0, 0, 1), local_apic(1, 2, 1), local_apic(4, 0xfe, 0), local_apic(2, 8, 2)]);
    assert_eq!(found, [core(0, 0, true), core(1, 2, true), core(4, 0xfe, false), core(2, 8, false)]);
}

#[test]
fn ids_of_32_bits_and_more_than_256_cores_are_reported() {
    let count = if cfg!(miri) { 20 } else { 600 };
    let entries: Vec<_> = (0..count).map(|index| x2apic(index, index * 0x0012_3457, 1)).collect();
    let model: Vec<_> = (0..count).map(|index| core(index, index * 0x0012_3457, true)).collect();
    assert_eq!(cores(&entries), model);
}

#[test]
fn a_core_listed_twice_is_one_core() {
    let found = cores(&[
        local_apic(0, 0, 1),
        local_apic(1, 1, 0),
        x2apic(0, 0, 1),
        x2apic(9, 1, 1),
        x2apic(2, 2, 1),
        local_apic(2, 2, 2),
        local_apic(3, 0, 0),
    ]);
    assert_eq!(found, [core(0, 0, true), core(9, 1, true), core(2, 2, true)]);
}

#[test]
fn broadcast_ids_are_no_cores() {
    let found = cores(&[local_apic(0, 0xff, 1), local_apic(1, 1, 1), x2apic(2, u32::MAX, 1), x2apic(3, 0xff, 1)]);
    assert_eq!(found, [core(1, 1, true), core(3, 0xff, true)]);
}

#[test]
fn interrupt_controllers_and_overrides_are_reported() {
    let entries = vec![
        vec![1, 12, 3, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0],
        vec![2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0],
        vec![2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
        vec![2, 10, 0, 5, 5, 0, 0, 0, 0b0111, 0],
        vec![2, 10, 0, 6, 6, 0, 0, 0, 0b1010, 0],
        vec![3, 8, 0b0101, 0, 17, 0, 0, 0],
        vec![4, 6, 0xff, 0, 0, 1],
        vec![4, 6, 7, 0b1111, 0, 0],
        vec![10, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0],
        vec![10, 12, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0],
        vec![0x42, 2],
        vec![0x80, 5, 1, 2, 3],
    ];
    with_madt(madt(&entries), |madt| {
        let madt = madt.unwrap();
        let io_apics = madt.io_apics().map(|e| (e.io_apic_id, e.io_apic_address, e.global_system_interrupt_base));
        assert_eq!(io_apics.collect::<Vec<_>>(), [(3, 0xfec0_0000, 24)]);
        let overrides: Vec<_> = madt.overrides().collect();
        let usual = |source, gsi| Override { source, gsi, active_low: false, level: false };
        let level = Override { level: true, ..usual(9, 9) };
        let low = Override { active_low: true, ..usual(5, 5) };
        assert_eq!(overrides, [level, usual(0, 2), low, usual(6, 6)], "reserved modes count as usual");
        assert_eq!(madt.cores().count(), 0);
    });
}

#[test]
fn an_entry_of_length_zero_ends_in_an_error() {
    for kind in [0, 9, 0x42, 0xff] {
        let text = error(&[local_apic(0, 0, 1), vec![kind, 0, 0, 0, 0, 0, 0, 0]]);
        assert_eq!(text, format!("APIC entry at offset 0x34 (type {kind}) has length zero"));
    }
}

#[test]
fn an_entry_shorter_than_its_type_is_an_error() {
    for (kind, size) in [(0, 8), (1, 12), (2, 10), (3, 8), (4, 6), (5, 12), (9, 16), (10, 12), (0x42, 2)] {
        let mut entry = vec![0; size];
        (entry[0], entry[1]) = (kind, size as u8);
        assert!(with_madt(madt(&[entry.clone()]), |madt| madt.is_ok()), "type {kind}");
        entry[1] -= 1;
        let text = error(&[entry]);
        if kind != 0x42 {
            let have = size - 1;
            let want = format!("offset 0x2c (type {kind}) has {have} bytes, needs at least {size}");
            assert_eq!(text, format!("APIC entry at {want}"));
        }
    }
}

#[test]
fn an_entry_beyond_the_table_is_an_error() {
    let mut entry = local_apic(0, 0, 1);
    entry[1] = 9;
    assert_eq!(
        error(&[entry]),
        "APIC entry at offset 0x2c (type 0) has 9 bytes and reaches beyond the table's length 0x34"
    );
    assert_eq!(
        error(&[local_apic(0, 0, 1), vec![0]]),
        "APIC entry at offset 0x34 (type 0) has 255 bytes and reaches beyond the table's length 0x35"
    );
}

#[test]
fn a_table_without_its_fixed_part_is_an_error() {
    let text = with_madt(table(b"APIC", 1, &[0; 7]), |madt| madt.err().unwrap().to_string());
    assert_eq!(text, "APIC has length 0x2b, must be at least 0x2c");
}

// Eight thousand entries take an interpreter minutes.
#[cfg(not(miri))]
#[test]
fn more_entries_than_are_compared_are_an_error() {
    let entries = vec![vec![0x42, 2]; 8193];
    assert_eq!(error(&entries), "APIC has 8193 entries, at most 8192 are looked at");
    assert!(cores(&entries[1..]).is_empty());
}

fn config() -> ProptestConfig {
    let cases = if cfg!(miri) { 3 } else { 1024 };
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn cores_match_a_simple_model(
        listed in prop::collection::vec((any::<bool>(), 0..24u32, 0..4u32, any::<u8>()), 0..64),
    ) {
        let entries: Vec<_> = listed.iter().map(|&(wide, id, flags, acpi_id)| {
            if wide { x2apic(acpi_id.into(), id, flags) } else { local_apic(acpi_id, id as u8, flags) }
        }).collect();
        let mut model: Vec<Core> = Vec::new();
        for &(_, apic_id, flags, acpi_id) in &listed {
            let (enabled, acpi_id) = (flags & 1 != 0, acpi_id.into());
            match model.iter_mut().find(|core| core.apic_id == apic_id) {
                None => model.push(Core { apic_id, acpi_id, enabled }),
                Some(core) => {
                    if enabled && !core.enabled {
                        core.acpi_id = acpi_id;
                    }
                    core.enabled |= enabled;
                }
            }
        }
        prop_assert_eq!(cores(&entries), model);
    }

    #[test]
    fn any_entries_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let head = [0; 8];
        let machine = Machine::new(&[table(b"APIC", 1, &[&head[..], &body].concat())]);
        machine.with(|memory| read_all(memory, BOTH)).unwrap();
    }
}
