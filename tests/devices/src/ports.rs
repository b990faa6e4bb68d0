//! The serial port, and the configuration space of PCI.
//!
//! Invariants: input that the guest does not read is bounded; places in configuration space are those of a bus.
//! Concurrency: plain values.

use vm_pci::{Bridge, Config, DEVICES, Identity, MsiX, Place, Window};
use vm_uart::Uart;

use crate::Driven;

struct Serial(Uart);

pub fn uart() -> Box<dyn Driven> {
    Box::new(Serial(Uart::default()))
}

impl Driven for Serial {
    fn step(&mut self, first: u64, second: u64) {
        let Self(uart) = self;
        let offset = (first >> 8) as u16;
        match first & 3 {
            0 => _ = uart.write(offset & 7, second as u8),
            1 => _ = uart.read(offset & 7),
            2 => _ = uart.receive(second as u8),
            _ => _ = (uart.write(offset, second as u8), uart.read(offset >> 3)),
        }
        let _ = uart.interrupt();
        assert!(uart.waiting() <= 4096, "the queue has no end");
    }
}

struct Function {
    bridge: Bridge,
    config: Config,
    messages: Option<MsiX>,
}

pub fn pci() -> Box<dyn Driven> {
    let identity = Identity { device: (0x1AF4, 0x1042), subsystem: (0x1AF4, 2), class: (1, 0, 0), revision: 1, pin: 1 };
    let mut config = Config::new(&identity);
    config.add_window(0, Window::Ports(0x100), 0xC000);
    config.add_window(1, Window::Memory(0x1000), 0xD000_0000);
    let messages = MsiX::new(&mut config, 4, 1, 0x1000);
    Box::new(Function { bridge: Bridge::default(), config, messages })
}

impl Driven for Function {
    fn step(&mut self, first: u64, second: u64) {
        let Self { bridge, config, messages } = self;
        let (offset, size) = ((first >> 16) as usize & 0x1FF, (first >> 8) as usize & 7);
        let value = second as u32;
        match first & 7 {
            0 | 1 => config.write(offset, size, value),
            2 => _ = config.read(offset, size),
            3 => bridge.set_address(value),
            4 => {
                let place = bridge.place(0xCFC + (first >> 8) as u16 % 4);
                assert!(place.is_none_or(|place| place.device < DEVICES), "no such device: {place:?}");
            }
            5 => {
                let place = Place::in_window(second & 0x1FF_FFFF);
                assert!(place.is_none_or(|place| place.device < DEVICES && place.offset < 4096), "{place:?}");
            }
            kind => {
                let Some(messages) = messages else { unreachable!("there is room for it") };
                if kind == 6 {
                    messages.write(first >> 16 & 0xFFF, value);
                } else {
                    let _ = (messages.read(first >> 16 & 0xFFF, 0x800), messages.signal(config, second as u16 & 7));
                }
                let _ = messages.unmasked(config);
            }
        }
        for ports in [false, true] {
            if let Some((window, offset)) = config.find(ports, second & 0xFFFF_FFFF) {
                assert!(offset < if ports { 0x100 } else { 0x1000 }, "window {window} ends before {offset:#x}");
            }
        }
        let _ = config.show_interrupt(second & 1 != 0);
    }
}
