//! Ports.
//!
//! Concurrency: the machine's.

use core::arch::asm;

use super::memory;

macro_rules! ports {
    ($($read:ident, $write:ident: $type:ty, $register:tt;)+) => {
        $(
            /// Reads a port.
            pub fn $read(port: u16) -> $type {
                let value;
                // SAFETY: a port changes no memory but what a driver gave a device for that.
                unsafe { asm!(concat!("in ", $register, ", dx"), in("dx") port, out($register) value, options(nostack)) };
                value
            }

            /// Writes a port.
            pub fn $write(port: u16, value: $type) {
                // SAFETY: a port changes no memory but what a driver gave a device for that.
                unsafe { asm!(concat!("out dx, ", $register), in("dx") port, in($register) value, options(nostack)) };
            }
        )+
    };
}
ports! {
    in8, out8: u8, "al";
    in16, out16: u16, "ax";
    in32, out32: u32, "eax";
}

/// Reads a byte into a register that is all ones before; the whole register.
pub fn in8_wide(port: u16) -> u64 {
    let value;
    // SAFETY: a port changes no memory but what a driver gave a device for that.
    unsafe { asm!("in al, dx", in("dx") port, inout("rax") u64::MAX => value, options(nostack)) };
    value
}

/// Reads a word likewise.
pub fn in16_wide(port: u16) -> u64 {
    let value;
    // SAFETY: a port changes no memory but what a driver gave a device for that.
    unsafe { asm!("in ax, dx", in("dx") port, inout("rax") u64::MAX => value, options(nostack)) };
    value
}

/// Reads 4 bytes likewise.
pub fn in32_wide(port: u16) -> u64 {
    let value;
    // SAFETY: a port changes no memory but what a driver gave a device for that.
    unsafe { asm!("in eax, dx", in("dx") port, inout("rax") u64::MAX => value, options(nostack)) };
    value
}

macro_rules! strings {
    ($($read:ident: $code:literal;)+) => {
        $(
            /// Reads a port `count` times to `to`; where that ends.
            pub fn $read(port: u16, to: u64, count: u64) -> u64 {
                memory::own(to, 4 * count);
                let end;
                // SAFETY: the memory is the program's own.
                unsafe { asm!(concat!("rep ", $code), in("dx") port, inout("rdi") to => end, inout("rcx") count => _) };
                end
            }
        )+
    };
}
strings! {
    in_string8: "insb";
    in_string32: "insd";
}

/// Writes `count` bytes from `from` on to a port; where that ends.
pub fn out_string8(port: u16, from: u64, count: u64) -> u64 {
    memory::own(from, count);
    let end;
    // SAFETY: the memory is the program's own.
    unsafe { asm!("rep outsb", in("dx") port, inout("rsi") from => end, inout("rcx") count => _) };
    end
}
