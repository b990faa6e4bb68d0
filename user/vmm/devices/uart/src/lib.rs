//! Device model: a 16550A serial port with its FIFOs.
//!
//! What the guest sends leaves at once; what it is sent waits in a queue behind the FIFO until the guest reads it.
//! Invariants: no write by the guest panics; the queue is bounded, and what does not fit is lost, as on a wire.
//! Concurrency: plain value.
//! Source: data sheet of the PC16550D.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::VecDeque;

/// Bytes that wait for the guest at most.
const QUEUE: usize = 4096;
/// Depth of the FIFO as the guest sees it.
const FIFO: usize = 16;

const DATA: u16 = 0;
const ENABLE: u16 = 1;
const IDENTITY: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const MODEM_STATUS: u16 = 6;
const SCRATCH: u16 = 7;

const RECEIVED: u8 = 1 << 0;
const EMPTY: u8 = 1 << 1;
const LINE: u8 = 1 << 2;
const MODEM: u8 = 1 << 3;

const DIVISOR_ACCESS: u8 = 1 << 7;
const LOOP: u8 = 1 << 4;
/// Line status.
const READY: u8 = 1 << 0;
const OVERRUN: u8 = 1 << 1;
const IDLE: u8 = 1 << 5 | 1 << 6;
/// Modem status: carrier, data set ready, clear to send.
const CONNECTED: u8 = 0xB0;

/// The port.
#[derive(Debug, Default)]
pub struct Uart {
    enabled: u8,
    fifo: bool,
    line_control: u8,
    modem_control: u8,
    scratch: u8,
    divisor: u16,
    input: VecDeque<u8>,
    overrun: bool,
    /// The interrupt of an empty transmitter is there until the guest has seen it.
    empty: bool,
    modem_changes: u8,
}

impl Uart {
    /// Whether the interrupt line is asserted.
    #[must_use]
    pub fn interrupt(&self) -> bool {
        self.cause() != 1
    }

    /// Takes a byte for the guest; whether it fits.
    pub fn receive(&mut self, byte: u8) -> bool {
        // In loop-back mode the wire is cut.
        let fits = self.modem_control & LOOP == 0 && self.input.len() < QUEUE;
        if fits {
            self.input.push_back(byte);
        }
        fits
    }

    /// Reads the register at `offset`, 0 to 7.
    pub fn read(&mut self, offset: u16) -> u8 {
        let divisor = self.line_control & DIVISOR_ACCESS != 0;
        match offset & 7 {
            DATA if divisor => self.divisor as u8,
            DATA => self.input.pop_front().unwrap_or(0),
            ENABLE if divisor => (self.divisor >> 8) as u8,
            ENABLE => self.enabled,
            IDENTITY => {
                let cause = self.cause();
                if cause == 2 {
                    self.empty = false;
                }
                cause | if self.fifo { 0xC0 } else { 0 }
            }
            LINE_CONTROL => self.line_control,
            MODEM_CONTROL => self.modem_control,
            LINE_STATUS => {
                let ready = if self.input.is_empty() { 0 } else { READY };
                let overrun = if core::mem::take(&mut self.overrun) { OVERRUN } else { 0 };
                IDLE | ready | overrun
            }
            MODEM_STATUS => self.modem_status() | core::mem::take(&mut self.modem_changes),
            _ => self.scratch,
        }
    }

    /// Writes the register at `offset`, 0 to 7; the byte that is sent.
    pub fn write(&mut self, offset: u16, value: u8) -> Option<u8> {
        let divisor = self.line_control & DIVISOR_ACCESS != 0;
        match offset & 7 {
            DATA if divisor => self.divisor = self.divisor & 0xFF00 | u16::from(value),
            DATA => {
                self.empty = true;
                if self.modem_control & LOOP == 0 {
                    return Some(value);
                }
                if self.input.len() < FIFO {
                    self.input.push_back(value);
                } else {
                    self.overrun = true;
                }
            }
            ENABLE if divisor => self.divisor = self.divisor & 0xFF | u16::from(value) << 8,
            ENABLE => {
                let value = value & 0xF;
                // To enable the interrupt of an empty transmitter raises it, since it is empty.
                self.empty |= value & EMPTY != 0 && self.enabled & EMPTY == 0;
                self.enabled = value;
            }
            IDENTITY => {
                self.fifo = value & 1 != 0;
                if value & 2 != 0 {
                    self.input.clear();
                }
            }
            LINE_CONTROL => self.line_control = value,
            MODEM_CONTROL => {
                let before = self.modem_status();
                self.modem_control = value & 0x1F;
                let changed = (before ^ self.modem_status()) >> 4;
                // The ring indicator counts when it ends only.
                self.modem_changes |= changed & 0b1011 | changed & 0b100 & before >> 4;
            }
            SCRATCH => self.scratch = value,
            _ => {}
        }
        None
    }

    /// Bytes that the guest has not read yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.input.len()
    }

    fn modem_status(&self) -> u8 {
        if self.modem_control & LOOP == 0 {
            return CONNECTED;
        }
        let out = self.modem_control;
        // Outputs come back: RTS as CTS, DTR as DSR, OUT1 as RI, OUT2 as DCD.
        (out & 2) << 3 | (out & 1) << 5 | (out & 4) << 4 | (out & 8) << 4
    }

    /// The cause of the highest priority that is enabled; 1 for none.
    fn cause(&self) -> u8 {
        if self.enabled & LINE != 0 && self.overrun {
            6
        } else if self.enabled & RECEIVED != 0 && !self.input.is_empty() {
            4
        } else if self.enabled & EMPTY != 0 && self.empty {
            2
        } else if self.enabled & MODEM != 0 && self.modem_changes != 0 {
            0
        } else {
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_leave_at_once_and_the_transmitter_is_always_empty() {
        let mut uart = Uart::default();
        assert_eq!(uart.write(DATA, b'x'), Some(b'x'));
        assert_eq!(uart.read(LINE_STATUS), IDLE);
        uart.write(LINE_CONTROL, DIVISOR_ACCESS | 3);
        assert_eq!(uart.write(DATA, 1), None, "the divisor");
        assert_eq!((uart.read(DATA), uart.read(LINE_CONTROL)), (1, 0x83));
    }

    #[test]
    fn an_empty_transmitter_interrupts_once_per_send_and_when_enabled() {
        let mut uart = Uart::default();
        assert!(!uart.interrupt());
        uart.write(ENABLE, EMPTY);
        assert!(uart.interrupt());
        assert_eq!((uart.read(IDENTITY), uart.read(IDENTITY)), (2, 1));
        assert!(!uart.interrupt());
        uart.write(DATA, b'x');
        assert!(uart.interrupt());
        uart.write(ENABLE, 0);
        assert!(!uart.interrupt());
    }

    #[test]
    fn input_interrupts_until_it_is_read() {
        let mut uart = Uart::default();
        uart.write(IDENTITY, 1);
        assert!(uart.receive(b'a') && uart.receive(b'b'));
        assert!(!uart.interrupt());
        uart.write(ENABLE, RECEIVED);
        assert!(uart.interrupt());
        assert_eq!(uart.read(IDENTITY), 0xC4);
        assert_eq!((uart.read(DATA), uart.read(LINE_STATUS) & READY, uart.read(DATA)), (b'a', 1, b'b'));
        assert!(!uart.interrupt());
        assert_eq!((uart.waiting(), uart.read(DATA)), (0, 0));
    }

    #[test]
    fn loop_back_shows_outputs_as_inputs() {
        let mut uart = Uart::default();
        assert_eq!(uart.read(MODEM_STATUS), CONNECTED);
        uart.write(MODEM_CONTROL, LOOP | 0xA);
        assert_eq!(uart.read(MODEM_STATUS) & 0xF0, 0x90, "how Linux finds that there is a port");
        assert_eq!(uart.write(DATA, b'x'), None);
        assert!(!uart.receive(b'y'));
        assert_eq!(uart.read(DATA), b'x');
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut uart = Uart::default();
        assert_eq!((0..10_000).filter(|_| uart.receive(0)).count(), QUEUE);
    }

    proptest! {
        #[test]
        fn no_guest_makes_it_panic(steps in proptest::collection::vec((0..9_u16, any::<u8>(), any::<bool>()), 0..300)) {
            let mut uart = Uart::default();
            for (offset, value, input) in steps {
                uart.write(offset, value);
                let _ = (uart.read(value.into()), uart.interrupt());
                if input {
                    uart.receive(value);
                }
            }
        }
    }
}
