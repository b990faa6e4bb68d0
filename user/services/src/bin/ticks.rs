//! A small driver: counts ticks of the real-time clock.
//!
//! Needs the ports 0x70 and 0x71 and interrupt 8. Concurrency: one thread; nobody else has the device.
//! Source: data sheet of the MC146818, registers A to C.
#![no_std]
#![no_main]

use rt::abi::operation::InterruptFlags;
use rt::interrupt::Interrupt;
use rt::ports::IoPorts;
use rt::{ExitStatus, Startup, log, thread, time};

rt::program!(main);

/// Registers of the clock.
const RATE: u8 = 0x0A;
const CONTROL: u8 = 0x0B;
const FLAGS: u8 = 0x0C;
/// [`CONTROL`]: periodic interrupts.
const PERIODIC: u8 = 1 << 6;
/// [`RATE`]: 256 ticks a second; the upper half stays.
const RATE_256: u8 = 8;

/// Ticks to wait for.
const TICKS: u32 = 32;

struct Clock(IoPorts);

impl Clock {
    fn read(&self, register: u8) -> u8 {
        self.0.port8(0x70).write(register);
        self.0.port8(0x71).read()
    }

    fn write(&self, register: u8, value: u8) {
        self.0.port8(0x70).write(register);
        self.0.port8(0x71).write(value);
    }
}

fn main(_: &Startup) -> ExitStatus {
    let Some(clock) = IoPorts::acquired().map(Clock) else {
        log!("has no ports");
        return ExitStatus::FAILURE;
    };
    let interrupt = match Interrupt::new(0, thread::core(), InterruptFlags::empty()) {
        Ok(interrupt) => interrupt,
        Err(status) => {
            log!("has no interrupt: {status}");
            return ExitStatus::FAILURE;
        }
    };
    clock.write(RATE, clock.read(RATE) & 0xF0 | RATE_256);
    clock.write(CONTROL, clock.read(CONTROL) | PERIODIC);
    for tick in 0..TICKS {
        // Reading the flags lets the clock tick again.
        let _ = clock.read(FLAGS);
        if let Err(status) = interrupt.wait_until(time::after(60_000)) {
            log!("no tick after {tick}: {status}");
            return ExitStatus::FAILURE;
        }
    }
    clock.write(CONTROL, clock.read(CONTROL) & !PERIODIC);
    log!("the real-time clock has ticked {TICKS} times on core {}", thread::core());
    ExitStatus::SUCCESS
}
