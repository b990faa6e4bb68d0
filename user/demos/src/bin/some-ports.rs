//! Owns the serial line's eight ports and reads another.
//!
//! The kernel reports #GP once; a retry that never ends would be the kernel's fault. Concurrency: none.
// UNSAFETY: the runtime gives ports only to those who have the capability; this program goes past it.
#![expect(unsafe_code, reason = "a port instruction without the capability")]
#![no_std]
#![no_main]

use core::arch::asm;

use abi::item::ItemFlags;
use abi::{Crd, Selector, TypedItem};
use rt::{Environment, ExitStatus, hypercall};

rt::entry!(main);

fn main(_: &Environment) -> ExitStatus {
    let own = Selector::ROOT_DOMAIN;
    let serial = Crd::ports(0x3F8, 3).unwrap_or(Crd::NULL);
    let item = TypedItem::delegate(serial, ItemFlags::HYPERVISOR, 0);
    let granted = hypercall::delegate(own, Crd::ALL_PORTS, own, &[item]).ok().is_ok();
    // SAFETY: reads the line status of the serial port, which this program owns now; no memory is involved.
    unsafe { asm!("in al, dx", in("dx") 0x3FD_u16, out("al") _, options(nomem, nostack, preserves_flags)) };
    if granted {
        // SAFETY: a port that it does not own; no memory is involved.
        unsafe { asm!("in al, dx", in("dx") 0x80_u16, out("al") _, options(nomem, nostack, preserves_flags)) };
    }
    demos::not_stopped("some-ports")
}
