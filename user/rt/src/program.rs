//! The program that the runtime starts, and the macros by which a binary declares itself to be one.
//!
//! Invariants: a binary declares exactly one; the linker refuses none and two.
//! Concurrency: read-only.
// UNSAFETY: the runtime and the program are separate crates; a symbol with a fixed name is how one finds the other.

use crate::startup::Startup;
use crate::{Environment, ExitStatus};

/// Name and main function; made by [`crate::entry!`] and [`crate::program!`].
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Name for messages.
    pub name: &'static str,
    /// What to run.
    pub main: Main,
}

/// Who starts the program, and its main function.
#[derive(Clone, Copy, Debug)]
pub enum Main {
    /// The kernel: the program is the first one.
    Root(fn(&Environment) -> ExitStatus),
    /// The root partition.
    Program(fn(&Startup) -> ExitStatus),
}

/// Makes `$main`, a `fn(&Environment) -> ExitStatus`, the main function of this root program.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        $crate::main_function!($crate::program::Main::Root($main));
    };
}

/// Makes `$main`, a `fn(&Startup) -> ExitStatus`, the main function of this program, which the root partition starts.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        $crate::main_function!($crate::program::Main::Program($main));
    };
}

/// What [`entry!`] and [`program!`] have in common.
#[doc(hidden)]
#[macro_export]
macro_rules! main_function {
    ($main:expr) => {
        // SAFETY: the runtime declares the symbol with this type, and nobody else defines it.
        #[expect(unsafe_code, reason = "the runtime finds the program by this symbol")]
        #[unsafe(no_mangle)]
        static RT_PROGRAM: $crate::Program = $crate::Program { name: env!("CARGO_BIN_NAME"), main: $main };
    };
}
