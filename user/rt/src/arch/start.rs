//! The first instructions of a program, of its threads, and of what serves its portals.
//!
//! A program starts with rsp = address of its information page, rdi = core number, and no stack. Other threads and serving
//! contexts start with rsp at their record (see `utcb`), the top of their stack.
//! Invariants: the first stack lies first in the writable segment, with an unmapped page below (linker script), so that an
//! overflow faults instead of writing over data.
//! Concurrency: `_start` runs once, the others per thread and call.
//! Source: classic interface, "Root start registers" and "call"; System V ABI for AMD64, §3.2.2 (stack alignment).

use core::arch::global_asm;

use abi::address::PAGE_SIZE;

use crate::arch::utcb::{RECORD_SIZE, STACK_SIZE, adopt, information, shared_word};
use crate::program::Main;
use crate::startup::{CONSOLE_LOCK, Startup};
use crate::{Environment, Program, console, parent, power};

global_asm!(
    ".pushsection .stack, \"aw\", @nobits",
    ".balign {size}",
    ".skip {size}",
    "rt_stack_top:",
    ".popsection",
    ".pushsection .text._start, \"ax\", @progbits",
    ".globl _start",
    ".type _start, @function",
    "_start:",
    "mov rsi, rdi",                            // core number: second argument
    "mov rdi, rsp",                            // information page: first argument
    "lea rsp, [rip + rt_stack_top - {record}]", // a multiple of 16 before the call
    "xor ebp, ebp",                            // where a walk over frames ends
    "call {start}",
    "ud2",
    ".size _start, . - _start",
    ".type rt_thread, @function",
    "rt_thread:",
    "mov rdi, rsp",
    "xor ebp, ebp",
    "call {thread}",
    "ud2",
    ".size rt_thread, . - rt_thread",
    // A call arrives with rdi = identity of the portal and rsp as it was at the reply before.
    ".type rt_serve, @function",
    "rt_serve:",
    "mov rsi, rsp",
    "xor ebp, ebp",
    "call {serve}",
    "mov edi, 1",
    "syscall",
    ".size rt_serve, . - rt_serve",
    ".popsection",
    size = const STACK_SIZE,
    record = const RECORD_SIZE,
    start = sym start,
    thread = sym crate::arch::contexts::run_thread,
    serve = sym crate::arch::contexts::run_server,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn rt_thread();
    fn rt_serve();
}

/// Where threads start.
pub(crate) fn thread_entry() -> u64 {
    rt_thread as *const () as u64
}

/// Where calls arrive.
pub(crate) fn serve_entry() -> u64 {
    rt_serve as *const () as u64
}

// SAFETY: `entry!` or `program!` defines the symbol, with this type and never written.
unsafe extern "Rust" {
    safe static RT_PROGRAM: Program;
}

/// The program that is running.
pub(crate) fn program() -> &'static Program {
    &RT_PROGRAM
}

extern "C" fn start(page: usize, core: u64) -> ! {
    adopt(page - PAGE_SIZE as usize, core as u32);
    match program().main {
        Main::Root(main) => {
            // SAFETY: the kernel passed the address; by the interface the information page is mapped there for as long
            // as the program lives, read-only.
            let area = unsafe { information(page) };
            let status = match Environment::new(area, page as u64, core as u32) {
                Ok(environment) => main(&environment),
                Err(error) => panic!("{error}"),
            };
            power::end(status)
        }
        Main::Program(main) => {
            let page = core::ptr::with_exposed_provenance::<u8>(page);
            // SAFETY: the root partition passed the address of a page that it mapped there, read-only, and does not
            // change.
            let page = unsafe { core::slice::from_raw_parts(page, PAGE_SIZE as usize) };
            let Some(startup) = Startup::read(page) else { super::cpu::undefined() };
            parent::adopt(&startup);
            if startup.console {
                // SAFETY: with the console's ports comes the page.
                console::share(unsafe { shared_word(CONSOLE_LOCK as usize) });
            }
            let status = main(&startup);
            parent::exit(status)
        }
    }
}
