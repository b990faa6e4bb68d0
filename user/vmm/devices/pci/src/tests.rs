//! Tests of configuration space and message-signalled interrupts.

use crate::*;
use proptest::prelude::*;

fn identity() -> Identity {
    Identity { device: (0x1AF4, 0x1042), subsystem: (0x1AF4, 2), class: (1, 0, 0), revision: 1, pin: 1 }
}

#[test]
fn what_identifies_a_function_cannot_be_written() {
    let mut config = Config::new(&identity());
    config.write(0, 4, 0);
    assert_eq!((config.read(0, 4), config.read(8, 4), config.read(0x2C, 4)), (0x1042_1AF4, 0x0100_0001, 0x2_1AF4));
    assert_eq!((config.read(2, 2), config.read(0x3D, 1), config.read(0xFFF, 4)), (0x1042, 1, 0));
}

#[test]
fn a_window_tells_its_size_and_moves() {
    let mut config = Config::new(&identity());
    config.add_window(0, Window::Ports(0x40), 0xC000);
    config.add_window(1, Window::Memory(0x1000), 0xD000_0000);
    config.write(0x10, 4, u32::MAX);
    config.write(0x14, 4, u32::MAX);
    config.write(0x18, 4, u32::MAX);
    assert_eq!([0x10, 0x14, 0x18].map(|at| config.read(at, 4)), [0xFFC1, 0xFFFF_F000, 0]);
    config.write(0x14, 4, 0xD123_4567);
    assert_eq!(config.window(1), None, "not switched on");
    config.write(4, 2, 2);
    assert_eq!(config.find(false, 0xD123_4010), Some((1, 0x10)));
    assert_eq!(config.find(false, 0xD123_5000), None);
    assert_eq!(config.find(true, 0xFFC0), None);
    config.write(4, 2, 3);
    assert_eq!(config.find(true, 0xFFC4), Some((0, 4)));
}

#[test]
fn capabilities_are_a_list_that_ends() {
    let mut config = Config::new(&identity());
    assert_eq!(config.read(0x34, 1), 0);
    assert_eq!(config.add_capability(9, &[14; 14], &[]), Some(0x40));
    assert_eq!(config.add_capability(9, &[0; 10], &[]), Some(0x50));
    assert_eq!([0x34, 0x41, 0x51].map(|at| config.read(at, 1)), [0x40, 0x50, 0]);
    assert_eq!(config.read(6, 2) & 0x10, 0x10);
    assert_eq!(config.add_capability(9, &[0; 200], &[]), None);
}

#[test]
fn ports_and_window_name_the_same_places() {
    let mut bridge = Bridge::default();
    assert_eq!(bridge.place(0xCFC), None);
    bridge.set_address(0x8000_1810);
    assert_eq!(bridge.place(0xCFE), Some(Place { device: 3, offset: 0x12 }));
    bridge.set_address(0x8001_1810);
    assert_eq!(bridge.place(0xCFC), None, "there is one bus");
    assert_eq!(Place::in_window(3 << 15 | 0x12), Some(Place { device: 3, offset: 0x12 }));
    assert_eq!(Place::in_window(3 << 15 | 1 << 12), None);
}

#[test]
fn a_masked_message_is_sent_when_it_is_unmasked() {
    let mut config = Config::new(&identity());
    let Some(mut msix) = MsiX::new(&mut config, 3, 1, 0x1000) else { unreachable!("there is room") };
    assert_eq!(msix.signal(&config, 0), None, "off");
    config.write(0x42, 2, 0x8000);
    assert_eq!(config.read(0x42, 2), 0x8002);
    for (offset, value) in [(16, 0xFEE0_1000), (24, 0x41)] {
        msix.write(offset, value);
    }
    assert_eq!(msix.signal(&config, 1), None);
    assert_eq!((msix.read(0x800, 0x800), msix.unmasked(&config)), (2, None));
    msix.write(28, 0);
    let message = Vector { address: 0xFEE0_1000, data: 0x41 };
    assert_eq!(msix.unmasked(&config), Some(message));
    assert_eq!((msix.unmasked(&config), msix.signal(&config, 1)), (None, Some(message)));
    assert_eq!(msix.signal(&config, 3), None, "there is no such vector");
}

#[test]
fn the_interrupt_line_is_silent_when_switched_off() {
    let mut config = Config::new(&identity());
    assert!(config.show_interrupt(true) && config.read(6, 1) & 8 != 0);
    config.write(4, 2, 0x400);
    assert!(!config.show_interrupt(true));
}

proptest! {
    #[test]
    fn no_guest_makes_it_panic(steps in proptest::collection::vec((any::<u16>(), 0..5_usize, any::<u32>()), 0..200)) {
        let mut config = Config::new(&identity());
        config.add_window(1, Window::Memory(0x1000), 0);
        let msix = MsiX::new(&mut config, 2, 1, 0x1000);
        prop_assert!(msix.is_some());
        let Some(mut msix) = msix else { return Ok(()) };
        for (offset, size, value) in steps {
            config.write(usize::from(offset & 0x1FF), size, value);
            msix.write(u64::from(offset), value);
            let _ = (config.read(usize::from(offset), size), msix.read(u64::from(offset), 0x800));
            let _ = (config.find(size & 1 != 0, value.into()), msix.signal(&config, offset), msix.unmasked(&config));
            prop_assert!(Place::in_window(value.into()).is_none_or(|place| place.device < DEVICES));
        }
    }
}
