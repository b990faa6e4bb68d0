//! Port instructions.
//!
//! Invariants: reachable only through [`crate::ports`], whose capability a program gets from the kernel. Without it the
//! instruction faults in the kernel's eyes and the program is over; it does no harm.
//! Concurrency: each is one access.
//! Source: AMD64 manual volume 3 (IN, OUT).

use core::arch::asm;

macro_rules! instructions {
    ($read:ident, $write:ident, $value:ty, $register:tt) => {
        pub(crate) fn $read(port: u16) -> $value {
            let value: $value;
            // SAFETY: reads an I/O port into a register; no memory of this program is involved. Without the right to the
            // port it faults. That devices are not made to write over this program's memory is what holders of
            // `IoPorts` are trusted with.
            unsafe {
                asm!(concat!("in ", $register, ", dx"), in("dx") port, out($register) value,
                    options(nomem, nostack, preserves_flags));
            }
            value
        }

        pub(crate) fn $write(port: u16, value: $value) {
            // SAFETY: as above, in the other direction. Not `nomem`: what a driver left in memory for its device must be
            // there before the write that starts it.
            unsafe {
                asm!(concat!("out dx, ", $register), in("dx") port, in($register) value,
                    options(nostack, preserves_flags));
            }
        }
    };
}
instructions!(in8, out8, u8, "al");
instructions!(in16, out16, u16, "ax");
instructions!(in32, out32, u32, "eax");
