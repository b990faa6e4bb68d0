//! Input: bytes from the machine's serial port go to the guest's.
//!
//! Invariants: without the interrupt in the boot configuration there is no input.
//! Concurrency: one thread.
//! Source: data sheet of the PC16550D.

use rt::interrupt::Interrupt;
use rt::ports::{IoPorts, PortRegisters};
use rt::serial::{COM1, Registers};
use rt::{thread, time};

use abi::operation::InterruptFlags;

use super::Ours;

const DATA: u16 = 0;
const ENABLE: u16 = 1;
const FIFO: u16 = 2;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const READY: u8 = 1;
const RECEIVED: u8 = 1;
/// DTR, RTS, and OUT2, which lets interrupts through.
const CONNECTED: u8 = 0x0B;
/// FIFOs on, interrupt for every byte.
const FIFOS: u8 = 1;
/// Milliseconds after which the port is looked at anyway.
const PATIENCE: u64 = 1000;

/// Starts the thread, if the program may take the serial port's interrupt. With `preferred` a virtio console gets it.
pub fn start(machine: &'static Ours, core: u32, preferred: bool) {
    let Some(ports) = IoPorts::acquired() else { return };
    let Ok(interrupt) = Interrupt::new(0, core, InterruptFlags::empty()) else { return };
    let port = PortRegisters::new(ports, COM1);
    let _ = thread::spawn(core, move || {
        port.write(FIFO, FIFOS);
        port.write(MODEM_CONTROL, CONNECTED);
        port.write(ENABLE, RECEIVED);
        loop {
            while port.read(LINE_STATUS) & READY != 0 {
                machine.input(port.read(DATA), preferred);
            }
            let _ = interrupt.wait_until(time::after(PATIENCE));
        }
    });
}
