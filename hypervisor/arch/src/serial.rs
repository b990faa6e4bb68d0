//! The serial line and the debug console port.
//!
//! Purpose: bytes out, for the log.
//! Invariants: no loop waits for ever: a transmitter that does not become empty loses bytes, not the machine.
//! Concurrency: the caller serialises (the log holds a lock per line).
//! Source: National Semiconductor PC16550D data sheet; Bochs and QEMU "port E9 hack".
use crate::port::Port;
use core::sync::atomic::{AtomicU16, Ordering};

const LINE_CONTROL: u16 = 3;
const LINE_STATUS: u16 = 5;
const HOLDING_EMPTY: u8 = 1 << 5;
const ALL_SENT: u8 = 1 << 6;
/// Reads of the status register before a byte is given up; each takes about a microsecond on real hardware.
const PATIENCE: u32 = 100_000;

static SERIAL: AtomicU16 = AtomicU16::new(0);
static DEBUG: AtomicU16 = AtomicU16::new(0);

/// Uses the 16550 at port `base` (0: none), 115 200 baud, 8 bits, no parity, one stop bit.
pub fn use_serial(base: u16) {
    SERIAL.store(base, Ordering::Relaxed);
    if base != 0 {
        // Interrupts off; divisor 1; 8n1; FIFOs on; DTR, RTS.
        for (register, value) in [(1, 0), (LINE_CONTROL, 0x80), (0, 1), (1, 0), (LINE_CONTROL, 3), (2, 7), (4, 3)] {
            port(base).above(register).write8(value);
        }
    }
}

/// Uses the debug console at port 0xE9, or stops using it.
pub fn use_debug_console(enable: bool) {
    DEBUG.store(if enable { 0xE9 } else { 0 }, Ordering::Relaxed);
}

/// Sends `bytes` to every output in use; a line feed is sent as carriage return and line feed on the serial line.
pub fn write(bytes: &[u8]) {
    let (serial, debug) = (SERIAL.load(Ordering::Relaxed), DEBUG.load(Ordering::Relaxed));
    for &byte in bytes {
        if debug != 0 {
            port(debug).write8(byte);
        }
        if serial != 0 {
            if byte == b'\n' {
                send(port(serial), b'\r');
            }
            send(port(serial), byte);
        }
    }
}

/// Waits until the last byte has left the serial line.
pub fn drain() {
    let serial = SERIAL.load(Ordering::Relaxed);
    if serial != 0 {
        await_status(port(serial), ALL_SENT);
    }
}

fn send(base: Port, byte: u8) {
    await_status(base, HOLDING_EMPTY);
    base.write8(byte);
}

fn await_status(base: Port, wanted: u8) {
    let status = base.above(LINE_STATUS);
    let _ready = (0..PATIENCE).any(|_| status.read8() & wanted != 0);
}

fn port(number: u16) -> Port {
    // SAFETY: a UART and the debug console move bytes between ports and a line, they do not access memory. The base
    // comes from the command line or the BIOS data area, which whoever boots the machine controls anyway.
    unsafe { Port::new(number) }
}
