//! Small root programs for tests and lectures: each does one thing, most of them something forbidden.
//!
//! A program that does what is forbidden is over at that point, and the kernel reports it. Where the kernel does not stop
//! it, the program says so and ends with a failure of its own ([`not_stopped`]).
//! Concurrency: one thread each.
#![cfg_attr(target_os = "none", no_std)]
// UNSAFETY: raw hypercalls and message pages at fixed addresses, in `raw`, for the programs that check the kernel.

#[cfg(target_os = "none")]
pub mod devices;
#[cfg(target_os = "none")]
pub mod fan;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "accesses that may fault, code that the kernel enters")]
pub mod probe;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "raw hypercalls, message pages at fixed addresses")]
pub mod raw;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "vector registers, in programs that are built without")]
pub mod registers;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "code that the kernel enters")]
pub mod servers;
#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "code that the kernel enters")]
pub mod threads;

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "code that the kernel enters, raw hypercalls, forbidden instructions")]
pub mod hostile;

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "entry points in assembly, accesses that may fault")]
pub mod shootdown;

#[cfg(target_os = "none")]
#[expect(unsafe_code, reason = "code that the kernel enters")]
pub mod churn;

#[cfg(target_os = "none")]
mod report {
    use rt::ports::IoPorts;
    use rt::serial::COM1;
    use rt::{ExitStatus, console, println};

    /// Exit status of a program that was not stopped.
    const NOT_STOPPED: ExitStatus = ExitStatus::new(3);

    /// Opens the console and prints what `program` is about to do.
    pub fn announce(program: &str, deed: &str) {
        match IoPorts::acquire() {
            Ok(ports) => {
                console::open(ports, COM1);
                println!("{program}: {deed}");
            }
            Err(status) => panic!("no I/O ports from the hypervisor: {status}"),
        }
    }

    /// Prints that `program` did the forbidden thing and lives, and gives the status to end with.
    pub fn not_stopped(program: &str) -> ExitStatus {
        announce(program, "was not stopped");
        NOT_STOPPED
    }
}
#[cfg(target_os = "none")]
pub use report::{announce, not_stopped};
