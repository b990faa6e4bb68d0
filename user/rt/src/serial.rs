//! The serial port, a 16550 that the kernel has set up.
//!
//! Invariants: every wait is bounded, so an absent or stuck device cannot hang a program.
//! Concurrency: the kernel writes to the same device; its lines and ours may mix when both write at once.
//! Source: data sheet of the PC16550D, line status register.

/// First port of the first serial device of a PC.
pub const COM1: u16 = 0x3F8;

/// How often a status bit is read before the device counts as stuck. A byte takes 87 microseconds at 115200 baud, and a
/// read at most a few; the rest is for emulators on a busy host.
const POLLS: u32 = 1_000_000;

const DATA: u16 = 0;
const LINE_STATUS: u16 = 5;
const HOLDING_EMPTY: u8 = 1 << 5;
const ALL_SENT: u8 = 1 << 6;

/// The registers of the device.
pub trait Registers {
    /// Reads the register at `offset`, 0 to 7.
    fn read(&self, offset: u16) -> u8;
    /// Writes the register at `offset`, 0 to 7.
    fn write(&self, offset: u16, value: u8);
}

/// The device did not become ready in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stuck;

/// A serial port.
#[derive(Clone, Copy, Debug)]
pub struct Serial<R>(pub R);

impl<R: Registers> Serial<R> {
    /// Sends `byte` once the device can take it.
    ///
    /// # Errors
    /// [`Stuck`] if it cannot in time; the byte is lost.
    pub fn send(&self, byte: u8) -> Result<(), Stuck> {
        self.wait_for(HOLDING_EMPTY)?;
        self.0.write(DATA, byte);
        Ok(())
    }

    /// Waits until everything has left the device.
    ///
    /// # Errors
    /// [`Stuck`] if it does not in time.
    pub fn drain(&self) -> Result<(), Stuck> {
        self.wait_for(ALL_SENT)
    }

    fn wait_for(&self, bit: u8) -> Result<(), Stuck> {
        for _ in 0..POLLS {
            if self.0.read(LINE_STATUS) & bit != 0 {
                return Ok(());
            }
            core::hint::spin_loop();
        }
        Err(Stuck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    /// Ready after some reads of the status; remembers what was written.
    #[derive(Default)]
    struct Device {
        busy_for: Cell<u32>,
        delay: u32,
        sent: RefCell<Vec<(u16, u8)>>,
    }

    impl Registers for Device {
        fn read(&self, offset: u16) -> u8 {
            assert_eq!(offset, LINE_STATUS);
            match self.busy_for.get() {
                0 => HOLDING_EMPTY | ALL_SENT,
                left => {
                    self.busy_for.set(left.saturating_sub(1));
                    0
                }
            }
        }

        fn write(&self, offset: u16, value: u8) {
            assert_eq!(self.busy_for.get(), 0, "written before the device was ready");
            self.sent.borrow_mut().push((offset, value));
            self.busy_for.set(self.delay);
        }
    }

    #[test]
    fn a_byte_waits_until_the_one_before_has_left() {
        let serial = Serial(Device { delay: 3, ..Device::default() });
        for byte in *b"ab" {
            assert_eq!(serial.send(byte), Ok(()));
        }
        assert_eq!(serial.drain(), Ok(()));
        assert_eq!(*serial.0.sent.borrow(), [(DATA, b'a'), (DATA, b'b')]);
    }

    #[test]
    fn a_stuck_device_is_given_up() {
        let serial = Serial(Device { busy_for: Cell::new(u32::MAX), ..Device::default() });
        assert_eq!(serial.send(b'a'), Err(Stuck));
        assert_eq!(serial.drain(), Err(Stuck));
        assert!(serial.0.sent.borrow().is_empty());
    }
}
