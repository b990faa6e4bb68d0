//! Purpose: FADT, HPET and MCFG in the forms that firmware writes.

use super::*;

/// A segment of all buses: base address of bus 0, number, first and last bus.
pub const SEGMENT: (u64, u16, u8, u8) = (0xb000_0000, 0, 0, 255);

/// A FADT as old firmware (revision 1) or newer (3) writes it: PM timer at port
/// 0x608, control register at 0x604.
pub fn fadt(revision: u8) -> Vec<u8> {
    let mut bytes = vec![0; if revision == 1 { 116 } else { 244 }];
    let mut put = |offset: usize, value: &[u8]| bytes[offset..][..value.len()].copy_from_slice(value);
    put(40, &0x7ff_0000u32.to_le_bytes());
    put(46, &[9, 0, 0xb2, 0, 0, 0, 2, 3]);
    put(64, &0x604u32.to_le_bytes());
    put(76, &0x608u32.to_le_bytes());
    put(88, &[4, 2, 0, 4]);
    put(109, &[3, 0]);
    put(112, &(1u32 << 10 | 1 << 8).to_le_bytes());
    table(b"FACP", revision, &bytes[36..])
}

/// The fields of a HPET at 0xfed0_0000.
pub fn hpet_body() -> Vec<u8> {
    [&0x8086_a201u32.to_le_bytes()[..], &[0, 64, 0, 0], &0xfed0_0000u64.to_le_bytes(), &[0, 0x64, 0, 0]].concat()
}

pub fn mcfg(segments: &[(u64, u16, u8, u8)]) -> Vec<u8> {
    let mut body = vec![0; 8];
    for (base, segment, first_bus, last_bus) in segments {
        body.extend(base.to_le_bytes());
        body.extend(segment.to_le_bytes());
        body.extend([*first_bus, *last_bus, 0, 0, 0, 0]);
    }
    table(b"MCFG", 1, &body)
}

fn read_fadt(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Result<Fadt, Problem> {
    change(&mut bytes);
    seal(&mut bytes, 9);
    Machine::new(&[bytes]).with(|memory| Tables::open(memory, BOTH).unwrap().fadt()).map(|fadt| fadt.unwrap())
}

fn put(offset: usize, value: &[u8]) -> impl FnOnce(&mut Vec<u8>) + '_ {
    move |bytes| bytes[offset..][..value.len()].copy_from_slice(value)
}

#[test]
fn old_and_new_fadts_are_read() {
    let want = Fadt { pm_timer: Some(PmTimer { port: 0x608, wide: true }), pm1_control: [Some(0x604), None] };
    assert_eq!(read_fadt(fadt(3), |_| {}), Ok(want));
    // The old form ends before the 64-bit fields.
    assert_eq!(read_fadt(fadt(1), |_| {}), Ok(want));
}

#[test]
fn the_64_bit_fields_are_preferred() {
    let long = read_fadt(fadt(3), put(208, &[1, 32, 0, 3, 8, 0xB0])).unwrap();
    assert_eq!(long.pm_timer.unwrap().port, 0xB008);
    assert_eq!(read_fadt(fadt(3), put(184, &[1, 16, 0, 2, 5])).unwrap().pm1_control[1], Some(5));
}

#[test]
fn absent_hardware_is_absent() {
    assert_eq!(read_fadt(fadt(3), put(91, &[0])).unwrap().pm_timer, None);
    assert_eq!(read_fadt(fadt(3), put(76, &[0; 4])).unwrap().pm_timer, None);
    assert!(!read_fadt(fadt(3), put(113, &[4])).unwrap().pm_timer.unwrap().wide);
    assert_eq!(read_fadt(table(b"FACP", 1, &[]), |_| {}), Ok(Fadt { pm_timer: None, pm1_control: [None; 2] }));
}

#[test]
fn registers_elsewhere_are_not_taken_for_ports() {
    assert_eq!(read_fadt(fadt(3), put(208, &[0, 32, 0, 3, 0, 0x10])).unwrap().pm_timer, None, "in memory");
    assert_eq!(read_fadt(fadt(3), put(172, &[2, 16, 0, 2, 4])).unwrap().pm1_control[0], None, "in PCI configuration");
    assert_eq!(read_fadt(fadt(3), put(172, &[0x20, 8, 0, 1, 1])).unwrap().pm1_control[0], None, "nowhere");
    assert_eq!(read_fadt(fadt(3), put(66, &[1])).unwrap().pm1_control[0], None, "at port 0x10604");
}

fn read_hpet(body: &[u8]) -> Result<u64, Problem> {
    let machine = Machine::new(&[table(b"HPET", 1, body)]);
    machine.with(|memory| Tables::open(memory, BOTH).unwrap().hpet()).map(|hpet| hpet.unwrap())
}

#[test]
fn the_hpet_is_read() {
    assert_eq!(read_hpet(&hpet_body()), Ok(0xfed0_0000));
}

#[test]
fn an_hpet_that_is_not_in_memory_is_an_error() {
    let text = |offset: usize, value: u8| {
        let mut body = hpet_body();
        body[offset] = value;
        read_hpet(&body).err().unwrap().to_string()
    };
    let want = "HPET describes the timer's registers in a way that means nothing";
    assert_eq!((text(4, 1), text(15, 0xff)), (want.into(), want.into()));
    assert_eq!(read_hpet(&hpet_body()[..15]).err().unwrap().to_string(), want);
}

fn read_mcfg(bytes: Vec<u8>) -> Result<Vec<Segment>, Problem> {
    Machine::new(&[bytes]).with(|memory| Tables::open(memory, BOTH).unwrap().mcfg()).map(|segments| segments.to_vec())
}

#[test]
fn pci_segments_are_read() {
    let want = |segment, start, end| Segment { segment, start, end };
    let first = want(0, 0xb000_0000, 0xc000_0000);
    let other = want(1, (1 << 40) + (16 << 20), (1 << 40) + (32 << 20));
    assert_eq!(read_mcfg(mcfg(&[SEGMENT, (1 << 40, 1, 16, 31)])), Ok(vec![first, other]));
    assert_eq!(read_mcfg(mcfg(&[])), Ok(vec![]));
    assert_eq!(read_mcfg(table(b"MCFG", 1, &[0; 7])), Ok(vec![]));
    assert_eq!(read_mcfg(mcfg(&[SEGMENT; 20])), Ok(vec![first; 16]), "the others are left out");
}

#[test]
fn an_impossible_pci_segment_is_named() {
    assert_eq!(
        read_mcfg(mcfg(&[SEGMENT, (0xb000_0000, 1, 5, 4)])).err().unwrap().to_string(),
        "MCFG segment 1 at 0xb0000000 with buses 5 to 4 is not a possible range"
    );
    for base in [u64::MAX, (1 << 52) - (255 << 20)] {
        let error = read_mcfg(mcfg(&[(base, 0, 0, 255)])).err().unwrap().to_string();
        assert!(error.starts_with("MCFG segment 0 at "), "{error}");
    }
}
