//! What the program needs of Linux and of the processor: entry point, system calls, output, ports, the counter.
//!
//! Invariants: pointers handed to the kernel are those of live slices, or of strings that end with a zero.
//! Concurrency: one thread.
//! Source: Linux, Documentation/ABI and arch/x86/entry/syscalls/syscall_64.tbl; System V ABI, "Process Initialization".

use core::arch::{asm, global_asm};
use core::ffi::{CStr, c_char};
use core::fmt::{self, Write};

/// Numbers of system calls.
pub mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const OPEN: usize = 2;
    pub const CLOSE: usize = 3;
    pub const IOCTL: usize = 16;
    pub const PREAD: usize = 17;
    pub const PIPE: usize = 22;
    pub const SOCKET: usize = 41;
    pub const SEND_TO: usize = 44;
    pub const FORK: usize = 57;
    pub const EXECVE: usize = 59;
    pub const EXIT: usize = 60;
    pub const WAIT: usize = 61;
    pub const GETPPID: usize = 110;
    pub const MOUNT: usize = 165;
    pub const IOPL: usize = 172;
    pub const SET_AFFINITY: usize = 203;
    pub const LOAD_MODULE: usize = 313;
}

/// The port where the monitor says how many exits there were; all zeros or ones where there is no monitor.
const EXITS: u16 = 0xEA;
/// The port that ends the machine.
const END: u16 = 0xF4;

global_asm!(
    ".globl _start",
    "_start:",
    // The second argument: behind the number of arguments and the first.
    "mov rdi, [rsp + 16]",
    "and rsp, -16",
    "call measure_main",
);

/// The program's entry, with its argument, if it has one.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn measure_main(argument: *const c_char) {
    // SAFETY: the kernel ends a list of strings, each of which ends with a zero, with a null pointer.
    let text = (!argument.is_null()).then(|| unsafe { CStr::from_ptr(argument) }.to_bytes());
    match text {
        Some(b"end") => {}
        Some(b"pipe") => super::work::run(&[super::work::processors]),
        _ => super::work::run(&super::work::ALL),
    }
    exit()
}

/// Ends the process.
pub fn exit() -> ! {
    loop {
        let _ = call(number::EXIT, [0; 6]);
    }
}

/// A system call; negative results are errors.
pub fn call(number: usize, [a, b, c, d, e, f]: [usize; 6]) -> Result<usize, Refusal> {
    let result: isize;
    // SAFETY: callers pass live slices and strings; the kernel changes these registers only.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    usize::try_from(result).map_err(|_| Refusal { number, error: result.unsigned_abs() })
}

/// What Linux refused.
#[derive(Clone, Copy)]
pub struct Refusal {
    number: usize,
    error: usize,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system call {}: error {}", self.number, self.error)
    }
}

/// The time-stamp counter.
pub fn ticks() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: reads a counter.
    unsafe { asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack)) };
    high << 32 | low
}

/// A loop of twice as many instructions.
pub fn spin(count: u64) {
    // SAFETY: counts a register down.
    unsafe { asm!("2:", "dec {0}", "jnz 2b", inout(reg) count => _, options(nostack, nomem)) };
}

/// How many exits there were; `None` without a monitor that counts.
pub fn exits() -> Option<u32> {
    let value: u32;
    // SAFETY: `allow_ports` was called first; reading changes nothing.
    unsafe { asm!("in eax, dx", in("dx") EXITS, out("eax") value, options(nostack, nomem)) };
    // Where nothing is, there are all zeros or all ones; a guest that runs has left once, to start.
    (value != u32::MAX && value != 0).then_some(value)
}

/// Has a monitor print its table of exits.
pub fn report_exits() {
    // SAFETY: as above; without a monitor nothing is there.
    unsafe { asm!("out dx, eax", in("dx") EXITS, in("eax") 0, options(nostack, nomem)) };
}

/// Lets the program use ports.
pub fn allow_ports() -> Result<(), Refusal> {
    call(number::IOPL, [3, 0, 0, 0, 0, 0]).map(drop)
}

/// Ends the machine.
pub fn end() {
    // SAFETY: ends the machine, or does nothing.
    unsafe { asm!("out dx, eax", in("dx") END, in("eax") 0, options(nostack, nomem)) };
}

/// A line that is being written.
struct Text {
    bytes: [u8; 256],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.length..).ok_or(fmt::Error)?;
        room.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        self.length += text.len().min(room.len());
        Ok(())
    }
}

/// Prints a line in one piece; the kernel may print between two.
pub fn print(text: fmt::Arguments<'_>) {
    let mut line = Text { bytes: [0; 256], length: 0 };
    // What does not fit is cut off; a console that takes nothing leaves nobody to tell.
    let _ = line.write_fmt(format_args!("measure: {text}\n"));
    let _ = call(number::WRITE, [1, line.bytes.as_ptr() as usize, line.length, 0, 0, 0]);
}

/// A panic is a line, and the end of the machine.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    print(format_args!("{info}"));
    end();
    exit()
}
