//! Tests of the local APIC.

use crate::*;
use proptest::prelude::*;

fn enabled(id: u32) -> (Lapic, Shared) {
    let (mut lapic, shared) = (Lapic::new(id == 0), Shared::new(id));
    lapic.write(&shared, register::SVR, 0x1FF, 0);
    (lapic, shared)
}

fn x2apic(id: u32) -> (Lapic, Shared) {
    let (mut lapic, shared) = enabled(id);
    let base = lapic.read_msr(&shared, APIC_BASE, 0).unwrap_or(0);
    assert_eq!(lapic.write_msr(&shared, APIC_BASE, base | msr::X2APIC, 0), Ok(Effect::Timer));
    (lapic, shared)
}

#[test]
fn the_highest_request_comes_first_and_lower_classes_wait_for_its_end() {
    let (mut lapic, shared) = enabled(0);
    for vector in [0x31, 0x52, 0x51] {
        assert!(shared.request(vector, false));
    }
    assert!(!shared.request(0x31, false), "one bit per vector");
    assert_eq!(lapic.pending(&shared), Some(0x52));
    lapic.accept(&shared, 0x52);
    assert_eq!(lapic.pending(&shared), None, "the same class waits");
    assert_eq!(lapic.write(&shared, register::EOI, 0, 0), Effect::None);
    assert_eq!(lapic.pending(&shared), Some(0x51));
    lapic.write(&shared, register::TPR, 0x50, 0);
    assert_eq!(lapic.pending(&shared), None);
}

#[test]
fn the_end_of_a_level_triggered_interrupt_is_told() {
    let (mut lapic, shared) = enabled(0);
    shared.request(0x40, true);
    lapic.accept(&shared, 0x40);
    assert_eq!(lapic.write(&shared, register::EOI, 0, 0), Effect::EndOfLevel(0x40));
    assert_eq!(lapic.write(&shared, register::EOI, 0, 0), Effect::None, "nothing is in service");
}

#[test]
fn the_boot_processor_starts_as_firmware_leaves_it() {
    let shared = Shared::new(0);
    let (first, other) = (Lapic::new(true), Lapic::new(false));
    assert!(first.takes_external() && !other.takes_external());
    assert_eq!([0x35, 0x36].map(|index| first.read(&shared, index, 0)), [0x700, 0x400]);
    let mut after = Lapic::new(true);
    after.init(&shared);
    assert!(!after.takes_external(), "an INIT masks all");
}

#[test]
fn nothing_is_delivered_while_it_is_off() {
    let (lapic, shared) = (Lapic::new(true), Shared::new(0));
    shared.request(0x40, false);
    assert_eq!(lapic.pending(&shared), None);
}

#[test]
fn a_command_becomes_a_message() {
    let (mut lapic, shared) = enabled(1);
    lapic.write(&shared, register::ICR_HIGH, 2 << 24, 0);
    let effect = lapic.write(&shared, register::ICR, 0x40FD, 0);
    let message =
        Message { delivery: Delivery::Fixed, vector: 0xFD, level: false, destination: Destination::Physical(2) };
    assert_eq!(effect, Effect::Send(message));
    let effect = lapic.write(&shared, register::ICR, 0xC_4500, 0);
    assert!(matches!(
        effect,
        Effect::Send(Message { delivery: Delivery::Init, destination: Destination::Others(1), .. })
    ));
    assert_eq!(lapic.write(&shared, register::ICR, 0x8500, 0), Effect::None, "the end of an INIT");
    assert_eq!(lapic.write(&shared, register::ICR, 0x4003, 0), Effect::None);
    lapic.write(&shared, register::ESR, 0, 0);
    assert_eq!(lapic.read(&shared, register::ESR, 0), SENT_ILLEGAL);
}

#[test]
fn logical_names_address_processors_in_every_mode() {
    let (_, cluster) = x2apic(0x12);
    assert!(cluster.is_addressed(Destination::Logical(0x1_0004)));
    assert!(!cluster.is_addressed(Destination::Logical(0x2_0004)));
    let (mut lapic, flat) = enabled(3);
    lapic.write(&flat, register::LDR, 0x0800_0000, 0);
    assert!(flat.is_addressed(Destination::Logical(0xFF)) && flat.is_addressed(Destination::Logical(8)));
    assert!(!flat.is_addressed(Destination::Logical(4)));
    lapic.write(&flat, register::DFR, 0x0FFF_FFFF, 0);
    lapic.write(&flat, register::LDR, 0x2200_0000, 0);
    assert!(flat.is_addressed(Destination::Logical(0x26)) && !flat.is_addressed(Destination::Logical(0x36)));
    assert!(flat.is_addressed(Destination::Physical(u32::MAX)));
}

#[test]
fn messages_of_devices_name_a_processor_and_a_vector() {
    let message = Message::from_device(0xFEE0_3000, 0x41);
    let expected =
        Message { delivery: Delivery::Fixed, vector: 0x41, level: false, destination: Destination::Physical(3) };
    assert_eq!(message, Some(expected));
    assert_eq!(Message::from_device(0xFED0_0000, 0x41), None);
}

#[test]
fn the_timer_counts_down_once_or_again_and_again() {
    let (mut lapic, shared) = enabled(0);
    lapic.write(&shared, register::DIVIDE, 0b1011, 0); // by 1
    lapic.write(&shared, register::LVT, 0x40, 0);
    assert_eq!(lapic.write(&shared, register::INITIAL, 100_000, 1000), Effect::Timer);
    assert_eq!(lapic.deadline(), Some(101_000));
    assert_eq!(lapic.read(&shared, register::CURRENT, 51_000), 50_000);
    assert!(!lapic.tick(&shared, 100_999));
    assert!(lapic.tick(&shared, 101_000));
    assert_eq!((lapic.pending(&shared), lapic.deadline()), (Some(0x40), None));
    lapic.write(&shared, register::LVT, 0x2_0040, 0);
    lapic.write(&shared, register::DIVIDE, 0, 0); // by 2
    lapic.write(&shared, register::INITIAL, 100_000, 0);
    assert!(lapic.tick(&shared, 200_001));
    assert_eq!(lapic.deadline(), Some(400_000));
    assert!(lapic.tick(&shared, 10_000_000));
    assert_eq!(lapic.deadline(), Some(10_200_000), "what was missed is not made up for");
}

#[test]
fn a_deadline_is_a_time_and_is_disarmed_when_it_has_passed() {
    let (mut lapic, shared) = x2apic(0);
    assert_eq!(lapic.write_msr(&shared, TSC_DEADLINE, 500, 0), Ok(Effect::Timer));
    assert_eq!(lapic.deadline(), None, "not in that mode");
    assert_eq!(lapic.write_msr(&shared, 0x832, 0x4_0041, 0), Ok(Effect::Timer));
    assert_eq!(lapic.write_msr(&shared, TSC_DEADLINE, 500, 0), Ok(Effect::Timer));
    assert_eq!(lapic.deadline(), Some(500));
    assert!(lapic.tick(&shared, 501));
    assert_eq!(lapic.read_msr(&shared, TSC_DEADLINE, 502), Ok(0));
    assert_eq!(lapic.pending(&shared), Some(0x41));
}

#[test]
fn modes_change_as_the_manual_draws_them() {
    let (mut lapic, shared) = x2apic(5);
    assert_eq!(lapic.read_msr(&shared, 0x802, 0), Ok(5));
    assert_eq!(lapic.write_msr(&shared, APIC_BASE, msr::BASE_ADDRESS | msr::ENABLE, 0), Err(Unknown));
    assert!(lapic.write_msr(&shared, APIC_BASE, msr::BASE_ADDRESS, 0).is_ok());
    assert!(!lapic.enabled() && lapic.takes_external());
    assert_eq!(lapic.read_msr(&shared, 0x802, 0), Err(Unknown));
    let both = msr::BASE_ADDRESS | msr::ENABLE | msr::X2APIC;
    assert_eq!(lapic.write_msr(&shared, APIC_BASE, both, 0), Err(Unknown));
    assert_eq!(lapic.write_msr(&shared, APIC_BASE, 0xFED0_0800, 0), Err(Unknown), "it cannot be moved");
}

#[test]
fn a_start_is_taken_once() {
    let shared = Shared::new(1);
    assert_eq!(shared.take_start(), None);
    shared.request_init();
    assert!(shared.has_start());
    assert_eq!(shared.take_start(), Some(None));
    shared.request_startup(0x9A);
    assert_eq!((shared.take_start(), shared.take_start()), (Some(Some(0x9A)), None));
    // Both come before the processor looks: neither is lost, and an INIT makes what came before it void.
    shared.request_startup(0x11);
    shared.request_init();
    shared.request_startup(0x22);
    let taken = [(); 3].map(|()| shared.take_start());
    assert_eq!(taken, [Some(None), Some(Some(0x22)), None]);
}

proptest! {
    #[test]
    fn no_guest_makes_it_panic(steps in proptest::collection::vec((0..4_u8, any::<u32>(), any::<u64>()), 0..200)) {
        let (mut lapic, shared) = enabled(0);
        let mut now = 0;
        for (kind, number, value) in steps {
            now += value & 0xFF_FFFF;
            match kind {
                0 => { let _ = lapic.write_msr(&shared, X2APIC_FIRST + number % 0x100, value, now); }
                1 => { let _ = lapic.write(&shared, number % 0x40, value as u32, now); }
                2 => { let _ = lapic.write_msr(&shared, [APIC_BASE, TSC_DEADLINE][number as usize % 2], value, now); }
                _ => { shared.request(value as u8, number & 1 != 0); }
            }
            let _ = lapic.read(&shared, number % 0x40, now);
            let _ = lapic.read_msr(&shared, X2APIC_FIRST + number % 0x100, now);
            lapic.tick(&shared, now);
            if let Some(vector) = lapic.pending(&shared) {
                lapic.accept(&shared, vector);
                prop_assert!(lapic.pending(&shared).is_none_or(|next| next >> 4 > vector >> 4));
            }
        }
    }
}
