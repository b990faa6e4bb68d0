//! Device model: an I/O APIC with 24 pins.
//!
//! A change of a pin, or the end of a level-triggered interrupt, gives the message that follows from it, if any.
//! Invariants: no write by the guest panics; a level-triggered pin sends one message until its end is told.
//! Concurrency: plain value.
//! Source: Intel 82093AA data sheet; ICH9 data sheet (version 0x20 with the EOI register).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

use vm_lapic::Message;

/// Pins.
pub const PINS: usize = 24;
/// Physical address of the registers, one page.
pub const ADDRESS: u64 = 0xFEC0_0000;

const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const END: u64 = 0x40;
const VERSION: u32 = 0x20 | (PINS as u32 - 1) << 16;
const REDIRECTION: u32 = 0x10;

const DELIVERY_AND_MODE: u64 = 0xF00;
const LOW: u64 = 1 << 13;
const REMOTE: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;
/// What the guest can write of an entry; extended destination included.
const WRITABLE: u64 = 0xFFFE_0000_0001_AFFF;

/// The device.
#[derive(Debug)]
pub struct IoApic {
    id: u32,
    selected: u32,
    entries: [u64; PINS],
    /// Pins that are asserted.
    lines: u32,
}

impl Default for IoApic {
    fn default() -> Self {
        Self { id: 0, selected: 0, entries: [MASKED; PINS], lines: 0 }
    }
}

impl IoApic {
    /// Sets the level of `pin`; the message that this sends.
    pub fn set_line(&mut self, pin: usize, asserted: bool) -> Option<Message> {
        let entry = *self.entries.get(pin)?;
        let bit = 1 << pin;
        let was = self.lines & bit != 0;
        self.lines = if asserted { self.lines | bit } else { self.lines & !bit };
        if !asserted || was && entry & LEVEL == 0 {
            return None;
        }
        self.deliver(pin)
    }

    /// A message to the vector's pins has been dealt with; the messages that this sends.
    pub fn end_of_interrupt(&mut self, vector: u8) -> impl Iterator<Item = Message> + use<'_> {
        (0..PINS).filter_map(move |pin| {
            let entry = self.entries.get_mut(pin)?;
            if *entry as u8 != vector || *entry & REMOTE == 0 {
                return None;
            }
            *entry &= !REMOTE;
            if self.lines & 1 << pin != 0 { self.deliver(pin) } else { None }
        })
    }

    /// Reads 4 bytes at `offset`.
    #[must_use]
    pub fn read(&self, offset: u64) -> u32 {
        match offset {
            SELECT => self.selected,
            WINDOW => match self.selected {
                0 | 2 => self.id,
                1 => VERSION,
                index => {
                    let Some((entry, high)) = place(index) else { return 0 };
                    let entry = self.entries.get(entry).copied().unwrap_or(0);
                    if high { (entry >> 32) as u32 } else { entry as u32 }
                }
            },
            _ => 0,
        }
    }

    /// Writes 4 bytes at `offset`; the message that this sends. An end of interrupt by register may send more: see
    /// [`IoApic::end_of_interrupt`], which the caller uses for [`IoApic::is_end`].
    pub fn write(&mut self, offset: u64, value: u32) -> Option<Message> {
        match offset {
            SELECT => self.selected = value & 0xFF,
            WINDOW if self.selected == 0 => self.id = value & 0x0F00_0000,
            WINDOW => {
                let (pin, high) = place(self.selected)?;
                let entry = self.entries.get_mut(pin)?;
                let new = if high {
                    *entry & 0xFFFF_FFFF | u64::from(value) << 32
                } else {
                    *entry & 0xFFFF_FFFF_0000_0000 | u64::from(value)
                };
                *entry = *entry & !WRITABLE | new & WRITABLE;
                if *entry & LEVEL == 0 {
                    *entry &= !REMOTE;
                }
                if *entry & LEVEL != 0 && self.lines & 1 << pin != 0 {
                    return self.deliver(pin);
                }
            }
            _ => {}
        }
        None
    }

    /// The vector whose end a write of `value` at `offset` tells.
    #[must_use]
    pub const fn is_end(offset: u64, value: u32) -> Option<u8> {
        if offset == END { Some(value as u8) } else { None }
    }

    /// Whether `pin` is masked.
    #[must_use]
    pub fn is_masked(&self, pin: usize) -> bool {
        self.entries.get(pin).is_none_or(|entry| entry & MASKED != 0)
    }

    fn deliver(&mut self, pin: usize) -> Option<Message> {
        let entry = self.entries.get_mut(pin)?;
        if *entry & MASKED != 0 || *entry & (LEVEL | REMOTE) == LEVEL | REMOTE {
            return None;
        }
        let mut message = Message::from_device(
            0xFEE0_0000 | (*entry >> 56) << 12 | (*entry >> 49 & 0x7F) << 5 | (*entry >> 11 & 1) << 2,
            (*entry as u32 & 0x7FF) | (*entry & LEVEL) as u32,
        )?;
        message.level = *entry & LEVEL != 0;
        if message.level {
            *entry |= REMOTE;
        }
        Some(message)
    }
}

/// The entry that a register belongs to, and whether it is its upper half.
const fn place(index: u32) -> Option<(usize, bool)> {
    if index < REDIRECTION { None } else { Some(((index - REDIRECTION) as usize / 2, index & 1 != 0)) }
}

const _: () = assert!(
    WRITABLE & (REMOTE | 1 << 12) == 0 && WRITABLE & DELIVERY_AND_MODE == DELIVERY_AND_MODE && WRITABLE & LOW != 0
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vm_lapic::{Delivery, Destination};

    fn program(device: &mut IoApic, pin: u32, entry: u64) -> Option<Message> {
        device.write(SELECT, REDIRECTION + 2 * pin + 1);
        device.write(WINDOW, (entry >> 32) as u32);
        device.write(SELECT, REDIRECTION + 2 * pin);
        device.write(WINDOW, entry as u32)
    }

    #[test]
    fn an_edge_sends_one_message() {
        let mut device = IoApic::default();
        assert_eq!(device.set_line(4, true), None, "masked");
        device.set_line(4, false);
        program(&mut device, 4, 1 << 56 | 0x34);
        let message =
            Message { delivery: Delivery::Fixed, vector: 0x34, level: false, destination: Destination::Physical(1) };
        assert_eq!(device.set_line(4, true), Some(message));
        assert_eq!(device.set_line(4, true), None);
        device.set_line(4, false);
        assert_eq!(device.set_line(4, true), Some(message));
        assert_eq!(device.set_line(24, true), None, "there is no such pin");
    }

    #[test]
    fn a_level_sends_again_after_its_end_only() {
        let mut device = IoApic::default();
        program(&mut device, 9, LEVEL | 0x41);
        assert!(device.set_line(9, true).is_some_and(|message| message.level));
        assert_eq!(device.set_line(9, true), None);
        assert_eq!(device.end_of_interrupt(0x41).count(), 1, "still asserted");
        device.set_line(9, false);
        assert_eq!(device.end_of_interrupt(0x41).count(), 0);
        assert!(device.set_line(9, true).is_some());
    }

    #[test]
    fn a_level_that_was_asserted_while_masked_is_sent_when_unmasked() {
        let mut device = IoApic::default();
        program(&mut device, 10, MASKED | LEVEL | 0x42);
        assert_eq!(device.set_line(10, true), None);
        assert!(program(&mut device, 10, LEVEL | 0x42).is_some());
    }

    #[test]
    fn registers_read_as_written_except_what_is_read_only() {
        let mut device = IoApic::default();
        program(&mut device, 2, u64::MAX);
        assert_eq!(device.read(WINDOW), WRITABLE as u32);
        device.write(SELECT, 1);
        assert_eq!(device.read(WINDOW), 0x17_0020);
        assert!(device.is_masked(2) && device.is_masked(99));
    }

    proptest! {
        #[test]
        fn no_guest_makes_it_panic(steps in proptest::collection::vec((0..3_u8, any::<u8>(), any::<u32>()), 0..200)) {
            let mut device = IoApic::default();
            for (kind, number, value) in steps {
                match kind {
                    0 => { device.write(u64::from(number & 0x50), value); }
                    1 => { device.set_line(usize::from(number), value & 1 != 0); }
                    _ => { prop_assert!(device.end_of_interrupt(number).count() <= PINS); }
                }
                let _ = device.read(u64::from(number & 0x30));
            }
        }
    }
}
