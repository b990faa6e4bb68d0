//! Purpose: what the boot information says is passed on; what is malformed is named.

use super::*;
use crate::physical::PHYSICAL_END;
use crate::synthetic::{Aligned, Random, boot_info, memory_map, rounds, rsdp_new, rsdp_old, tag};
use proptest::prelude::*;

fn ram() -> Vec<u8> {
    memory_map(24, &[(0, 0x9_fc00, 1), (0xf_0000, 0x1_0000, 2), (0x10_0000, 0x1ff0_0000, 1)])
}

fn module(start: u32, end: u32, text: &[u8]) -> Vec<u8> {
    tag(3, &[&start.to_le_bytes(), &end.to_le_bytes(), text])
}

/// What a loader passes, in its order, with tags that are not read here.
fn usual() -> Vec<u8> {
    boot_info(&[
        tag(21, &[&0x10_0000u32.to_le_bytes()]),
        tag(1, &[b"log=debug console=e9\0"]),
        tag(2, &[b"GRUB 2.06\0"]),
        module(0x20_0000, 0x20_3123, b"/boot/hello a b\0"),
        module(0x20_4000, 0x20_4000, b"\0"),
        tag(4, &[&[0; 8]]),
        ram(),
        tag(12, &[&0x7ff0_0000u64.to_le_bytes()]),
        tag(14, &[&rsdp_old(0x1234)]),
        tag(15, &[&rsdp_new(0x1234, 0x5678)]),
        tag(77, &[b"what is this"]),
    ])
}

/// Uses every getter; the sum keeps the calls from being removed.
fn read_all(bytes: &[u8]) -> Result<u64, Problem> {
    let info = BootInfo::parse(bytes)?;
    let mut sum = info.command_line().len() as u64 + info.loader().len() as u64;
    let mut usable = false;
    for area in info.memory() {
        assert!(area.length != 0 && area.base + area.length <= PHYSICAL_END);
        usable |= area.kind == AVAILABLE;
    }
    assert!(usable, "a parsed map has usable memory");
    for module in info.modules() {
        assert!(module.start <= module.end);
        sum += module.command_line.len() as u64;
    }
    sum += info.rsdp().ok().flatten().map_or(0, |rsdp| rsdp.rsdt.unwrap_or(0).into());
    Ok(sum ^ info.efi_system_table().unwrap_or(0))
}

fn error(bytes: &[u8]) -> String {
    BootInfo::parse(Aligned::new(bytes).bytes()).err().expect("malformed").to_string()
}

fn error_of(tags: &[Vec<u8>]) -> String {
    error(&boot_info(tags))
}

#[test]
fn everything_the_loader_passes_is_read() {
    let bytes = Aligned::new(&usual());
    let info = BootInfo::parse(bytes.bytes()).unwrap();
    assert_eq!((info.command_line(), info.loader()), ("log=debug console=e9", "GRUB 2.06"));
    let areas: Vec<_> = info.memory().map(|area| (area.base, area.length, area.kind)).collect();
    assert_eq!(areas, [(0, 0x9_fc00, 1), (0xf_0000, 0x1_0000, 2), (0x10_0000, 0x1ff0_0000, 1)]);
    let modules: Vec<_> = info.modules().collect();
    assert_eq!(
        modules,
        [
            Module { start: 0x20_0000, end: 0x20_3123, command_line: "/boot/hello a b" },
            Module { start: 0x20_4000, end: 0x20_4000, command_line: "" },
        ]
    );
    assert_eq!(info.rsdp(), Ok(Some(Rsdp { rsdt: Some(0x1234), xsdt: Some(0x5678) })));
    assert_eq!(info.efi_system_table(), Some(0x7ff0_0000));
}

#[test]
fn what_the_loader_leaves_out_is_absent() {
    let bytes = Aligned::new(&boot_info(&[ram()]));
    let info = BootInfo::parse(bytes.bytes()).unwrap();
    assert_eq!((info.command_line(), info.loader()), ("", ""));
    assert_eq!((info.modules().count(), info.efi_system_table()), (0, None));
    assert_eq!(info.rsdp(), Ok(None));
}

#[test]
fn total_size_is_bounded() {
    assert_eq!(total_size(&[16, 0, 0, 0, 9, 9, 9, 9]), Ok(16));
    assert_eq!(total_size(&[0, 0, 16, 0, 0, 0, 0, 0]), Ok(MAX_SIZE));
    for size in [0u32, 15, MAX_SIZE as u32 + 1, u32::MAX] {
        let mut header = [0; 8];
        header[..4].copy_from_slice(&size.to_le_bytes());
        let want = format!("total size {size:#x} is not between 16 bytes and 1 MiB");
        assert_eq!(total_size(&header).err().unwrap().to_string(), want);
        assert_eq!(error(&header), want);
    }
}

#[test]
fn every_cut_off_information_is_an_error() {
    let whole = usual();
    for length in (0..whole.len()).step_by(if cfg!(miri) { 7 } else { 1 }) {
        let need = whole.len();
        let want = format!("truncated: {length:#x} of {need:#x} bytes");
        let short = String::from("total size 0x0 is not between 16 bytes and 1 MiB");
        assert_eq!(error(&whole[..length]), if length < 4 { short } else { want });
        if length >= 16 {
            let mut cut = whole[..length].to_vec();
            cut[..4].copy_from_slice(&(length as u32).to_le_bytes());
            let error = error(&cut);
            assert!(error == "no end tag" || error.contains(" is truncated: "), "{error}");
        }
    }
}

#[test]
fn a_tag_of_impossible_size_is_named_with_its_place() {
    let mut bytes = boot_info(&[tag(77, &[]), ram()]);
    for (size, want) in [
        (0, "Custom(77) tag at offset 0x8 has 0 bytes, needs at least 8"),
        (7, "Custom(77) tag at offset 0x8 has 7 bytes, needs at least 8"),
        (0x1000, "Custom(77) tag at offset 0x8 is truncated: it has 4096 bytes, 104 are left"),
        (u32::MAX, "Custom(77) tag at offset 0x8 is truncated: it has 4294967295 bytes, 104 are left"),
    ] {
        bytes[12..16].copy_from_slice(&size.to_le_bytes());
        assert_eq!(error(&bytes), want);
    }
}

#[test]
fn a_tag_too_short_for_its_type_is_an_error() {
    for (kind, size) in [(1, 9), (2, 9), (3, 17), (6, 16), (11, 12), (12, 16), (14, 28), (15, 44)] {
        let error = error_of(&[ram(), tag(kind, &[])]);
        assert!(error.contains(&format!("({kind}) tag at offset 0x60 has 8 bytes, needs at least {size}")), "{error}");
    }
}

#[test]
fn a_text_must_end_and_be_text() {
    for kind in [1, 2] {
        let open = error_of(&[ram(), tag(kind, &[b"abc"])]);
        assert!(open.ends_with(&format!("({kind}) tag at offset 0x60 has no terminating zero")), "{open}");
        let bad = error_of(&[ram(), tag(kind, &[b"ab\xff\0"])]);
        assert!(bad.ends_with(&format!("({kind}) tag at offset 0x60 is not UTF-8 from byte 2 on")), "{bad}");
    }
    assert_eq!(
        error_of(&[ram(), module(0, 1, b"ab\xff\0")]),
        "text in the Module(3) tag at offset 0x60 is not UTF-8 from byte 2 on"
    );
    assert_eq!(
        error_of(&[ram(), module(0, 1, b"abc")]),
        "text in the Module(3) tag at offset 0x60 has no terminating zero"
    );
}

#[test]
fn a_module_must_not_end_before_its_start() {
    let error = error_of(&[ram(), module(1, 2, b"\0"), module(0x2000, 0x1000, b"\0")]);
    assert_eq!(error, "a module ends at 0x1000, before its start at 0x2000");
}

#[test]
fn a_memory_map_must_be_there_and_name_usable_memory() {
    assert_eq!(error_of(&[]), "no memory map: the boot loader must pass one");
    assert_eq!(error_of(&[memory_map(24, &[])]), "the memory map is empty");
    assert_eq!(
        error_of(&[memory_map(24, &[(0, 4096, 2), (0x1000, 0, 1), (PHYSICAL_END, 4096, 1)])]),
        "the memory map has 3 entries and none is usable memory"
    );
}

#[test]
fn the_entry_size_is_the_tags_own() {
    for size in [24, 32, 40, 64] {
        let bytes = Aligned::new(&boot_info(&[memory_map(size, &[(0, 4096, 1), (8192, 4096, 7)])]));
        let info = BootInfo::parse(bytes.bytes()).unwrap();
        assert_eq!(info.memory().map(|area| area.kind).collect::<Vec<_>>(), [1, 7]);
    }
    for size in [0, 1, 16, 23, 25, u32::MAX] {
        let mut map = ram();
        map[8..12].copy_from_slice(&size.to_le_bytes());
        let want = format!("memory map at offset 0x8 has entries of {size} bytes, needs a multiple of 8 from 24 on");
        assert_eq!(error_of(&[map]), want);
    }
}

#[test]
fn memory_beyond_the_address_space_is_cut_off() {
    let huge = [(0, 4096, 1), (PHYSICAL_END - 4096, 8192, 1), (PHYSICAL_END, 4096, 1), (4096, u64::MAX, 2)];
    let bytes = Aligned::new(&boot_info(&[memory_map(24, &huge)]));
    let info = BootInfo::parse(bytes.bytes()).unwrap();
    let areas: Vec<_> = info.memory().map(|area| (area.base, area.length)).collect();
    assert_eq!(areas, [(0, 4096), (PHYSICAL_END - 4096, 4096), (4096, PHYSICAL_END - 4096)]);
}

#[test]
fn only_the_map_that_every_boot_loader_passes_is_read() {
    assert_eq!(error_of(&[tag(17, &[&[0; 56]])]), "no memory map: the boot loader must pass one");
}

#[test]
fn the_new_rsdp_is_preferred_and_a_broken_one_passed_over() {
    let rsdp = |new: &[u8], old: &[u8]| {
        let bytes = Aligned::new(&boot_info(&[tag(14, &[old]), ram(), tag(15, &[new])]));
        BootInfo::parse(bytes.bytes()).unwrap().rsdp()
    };
    let (new, old) = (rsdp_new(1, 2), rsdp_old(3));
    let broken = |bytes: &[u8]| [&bytes[..16], &[0xee], &bytes[17..]].concat();
    assert_eq!(rsdp(&new, &old).unwrap().unwrap().xsdt, Some(2));
    assert_eq!(rsdp(&broken(&new), &old).unwrap().unwrap().rsdt, Some(3));
    let both = rsdp(&broken(&new), &broken(&old)).err().unwrap().to_string();
    assert!(both.starts_with("RSDP has a bad checksum: its first 20 bytes"), "{both}");
}

#[test]
fn a_32_bit_efi_table_is_taken_if_there_is_no_other() {
    let bytes = Aligned::new(&boot_info(&[ram(), tag(11, &[&0xf000_1000u32.to_le_bytes()])]));
    assert_eq!(BootInfo::parse(bytes.bytes()).unwrap().efi_system_table(), Some(0xf000_1000));
}

#[test]
fn mutated_informations_are_read_or_refused() {
    let (whole, mut random) = (usual(), Random(1));
    let (mut good, mut bad) = (0, 0);
    for _ in 0..rounds(120_000) {
        let mut bytes = whole.clone();
        random.mutate(&mut bytes);
        match read_all(Aligned::new(&bytes).bytes()) {
            Ok(_) => good += 1,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                bad += 1;
            }
        }
    }
    assert!(good > 0 && bad > 0, "{good} read, {bad} refused: the test lost its aim");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 8 } else { 2048 }, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let mut bytes = bytes;
        let length = bytes.len() as u32;
        if length > 16 {
            bytes[..4].copy_from_slice(&length.to_le_bytes());
        }
        let _ = read_all(Aligned::new(&bytes).bytes());
    }

    #[test]
    fn any_memory_map_comes_back(
        entries in prop::collection::vec((0..1u64 << 51, 1..1u64 << 50, 2..20u32), 0..40), spare in 0..4usize,
    ) {
        let all: Vec<_> = entries.into_iter().chain([(0, 4096, 1)]).collect();
        let bytes = Aligned::new(&boot_info(&[memory_map(24 + 8 * spare, &all)]));
        let info = BootInfo::parse(bytes.bytes()).unwrap();
        let read: Vec<_> = info.memory().map(|area| (area.base, area.length, area.kind)).collect();
        prop_assert_eq!(read, all);
    }
}

#[test]
fn the_command_line_is_found_in_an_information_that_is_otherwise_broken() {
    let mut info = Aligned::new(&boot_info(&[tag(1, &[b"exit=0xf4\0"]), tag(3, &[&[9; 3]])]));
    assert!(BootInfo::parse(info.bytes()).is_err());
    assert_eq!(command_line(info.bytes()), "exit=0xf4");
    info = Aligned::new(&boot_info(&[tag(3, &[&[9; 3]])]));
    assert_eq!(command_line(info.bytes()), "");
}
