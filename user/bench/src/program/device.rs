//! The devices by which the tool and the program talk: the firmware configuration for the request, and the scratch
//! register of the serial port, which nothing else uses, as a signal from the tool.
//!
//! Concurrency: one user.
//! Source: QEMU's documentation (fw_cfg: ports 0x510 and 0x511); data sheet of the PC16550D (scratch register).

use bench::firmware::{self, Device};
use bench::request::MAX_LENGTH;
use rt::ports::IoPorts;
use rt::println;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const SCRATCH: u16 = rt::serial::COM1 + 7;

struct FirmwareConfiguration(IoPorts);

impl Device for FirmwareConfiguration {
    fn select(&mut self, item: u16) {
        self.0.port16(SELECTOR).write(item);
    }
    fn read(&mut self) -> u8 {
        self.0.port8(DATA).read()
    }
}

/// What the tool asks for; empty on platforms without the device.
pub fn request(ports: IoPorts, line: &mut [u8; MAX_LENGTH]) -> &[u8] {
    firmware::read(&mut FirmwareConfiguration(ports), line)
}

/// Prints how far the program is and waits until the tool writes to the scratch register.
pub fn announce(ports: IoPorts, what: &str, name: &str) {
    let scratch = ports.port8(SCRATCH);
    scratch.write(0);
    println!("bench: {what} {name}");
    while scratch.read() == 0 {
        core::hint::spin_loop();
    }
}
