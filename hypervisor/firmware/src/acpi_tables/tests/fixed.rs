//! Purpose: FADT, HPET and MCFG in the forms that firmware writes.

use super::*;

pub const SEGMENT: Segment = Segment { base: 0xb000_0000, segment: 0, first_bus: 0, last_bus: 255 };

/// A FADT as old firmware (revision 1) or newer (3) writes it: PM timer at port
/// 0x608, control register at 0x604, reset by writing 0x0f to port 0xcf9.
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
    if revision > 1 {
        put(116, &[1, 8, 0, 1, 0xf9, 0x0c]);
        put(128, &[0x0f]);
    }
    table(b"FACP", revision, &bytes[36..])
}

/// The fields of a HPET at 0xfed0_0000.
pub fn hpet_body() -> Vec<u8> {
    [&0x8086_a201u32.to_le_bytes()[..], &[0, 64, 0, 0], &0xfed0_0000u64.to_le_bytes(), &[0, 0x64, 0, 0]].concat()
}

pub fn mcfg(segments: &[Segment]) -> Vec<u8> {
    let mut body = vec![0; 8];
    for segment in segments {
        body.extend(segment.base.to_le_bytes());
        body.extend(segment.segment.to_le_bytes());
        body.extend([segment.first_bus, segment.last_bus, 0, 0, 0, 0]);
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
    let new = read_fadt(fadt(3), |_| {}).unwrap();
    let want = Fadt {
        sci_interrupt: 9,
        pm_timer: Some(PmTimer { register: Register::Port(0x608), wide: true }),
        reset: Some(Reset { register: Register::Port(0xcf9), value: 0x0f }),
        pm1a_control: Some(Register::Port(0x604)),
        pm1b_control: None,
    };
    assert_eq!(new, want);
    // The old form ends before the reset register, whatever its flag says.
    assert_eq!(read_fadt(fadt(1), |_| {}).unwrap(), Fadt { reset: None, ..want });
}

#[test]
fn the_64_bit_fields_are_preferred() {
    let long = read_fadt(fadt(3), put(208, &[0, 32, 0, 3, 0, 0x10, 0, 0xfe, 1])).unwrap();
    assert_eq!(long.pm_timer.unwrap().register, Register::Memory(0x1_fe00_1000));
    assert_eq!(read_fadt(fadt(3), put(184, &[1, 16, 0, 2, 5])).unwrap().pm1b_control, Some(Register::Port(5)));
}

#[test]
fn absent_hardware_is_absent() {
    assert_eq!(read_fadt(fadt(3), put(91, &[0])).unwrap().pm_timer, None);
    assert_eq!(read_fadt(fadt(3), put(76, &[0; 4])).unwrap().pm_timer, None);
    assert_eq!(read_fadt(fadt(3), put(113, &[0])).unwrap().reset, None);
    assert!(!read_fadt(fadt(3), put(113, &[4])).unwrap().pm_timer.unwrap().wide);
}

#[test]
fn registers_elsewhere_are_not_taken_for_ports() {
    assert_eq!(read_fadt(fadt(3), put(116, &[2])).unwrap().reset, None, "in PCI configuration space");
    assert_eq!(read_fadt(fadt(3), put(66, &[1])).unwrap().pm1a_control, None, "at port 0x10604");
}

#[test]
fn meaningless_registers_are_named() {
    for (offset, name) in
        [(116, "reset register"), (172, "PM1a control register"), (184, "PM1b control register"), (208, "PM timer")]
    {
        for bytes in [[0x20, 8, 0, 1, 1], [1, 8, 0, 9, 1]] {
            let error = read_fadt(fadt(3), put(offset, &bytes)).err().unwrap().to_string();
            assert_eq!(error, format!("FACP describes the {name} in a way that means nothing"));
        }
    }
    // Without its flag there is no such register, whatever the bytes say.
    let absent = |bytes: &mut Vec<u8>| (bytes[113], bytes[116]) = (0, 0x20);
    assert_eq!(read_fadt(fadt(3), absent).unwrap().reset, None);
}

#[test]
fn register_blocks_of_impossible_length_do_no_harm() {
    assert!(read_fadt(fadt(3), put(88, &[0xff; 8])).is_ok());
}

#[test]
fn a_fadt_needs_the_fields_of_the_first_revision() {
    let short = table(b"FACP", 1, &[0; 79]);
    let error = read_fadt(short, |_| {}).err().unwrap();
    assert_eq!(error.to_string(), "FACP at 0x100000 has length 0x73, must be between 0x74 and 0x100000");
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
    let short = read_hpet(&hpet_body()[..19]).err().unwrap().to_string();
    assert_eq!(short, "HPET at 0x100000 has length 0x37, must be between 0x38 and 0x100000");
}

fn read_mcfg(bytes: Vec<u8>) -> Result<Vec<Segment>, Problem> {
    Machine::new(&[bytes])
        .with(|memory| Tables::open(memory, BOTH).unwrap().mcfg().map(|mcfg| mcfg.unwrap().segments().collect()))
}

#[test]
fn pci_segments_are_read() {
    let other = Segment { base: 1 << 40, segment: 1, first_bus: 16, last_bus: 31 };
    assert_eq!(read_mcfg(mcfg(&[SEGMENT, other])), Ok(vec![SEGMENT, other]));
    assert_eq!(read_mcfg(mcfg(&[])), Ok(vec![]));
}

#[test]
fn an_impossible_pci_segment_is_named() {
    let backwards = Segment { first_bus: 5, last_bus: 4, ..SEGMENT };
    assert_eq!(
        read_mcfg(mcfg(&[SEGMENT, backwards])).err().unwrap().to_string(),
        "MCFG segment 1 at 0xb0000000 with buses 5 to 4 is not a possible range"
    );
    for base in [u64::MAX, (1 << 52) - (255 << 20)] {
        let error = read_mcfg(mcfg(&[Segment { base, ..SEGMENT }])).err().unwrap().to_string();
        assert!(error.starts_with("MCFG segment 0 at "), "{error}");
    }
    let short = read_mcfg(table(b"MCFG", 1, &[0; 7])).err().unwrap().to_string();
    assert_eq!(short, "MCFG at 0x100000 has length 0x2b, must be between 0x2c and 0x100000");
}
