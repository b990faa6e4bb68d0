//! The program that the runtime starts, and the macro by which a binary declares itself to be one.
//!
//! Invariants: a binary declares exactly one; the linker refuses none and two.
//! Concurrency: read-only.
// UNSAFETY: the runtime and the program are separate crates; a symbol with a fixed name is how one finds the other.

use crate::{Environment, ExitStatus};

/// Name and main function; made by [`crate::entry!`].
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Name for messages.
    pub name: &'static str,
    /// What to run.
    pub main: fn(&Environment) -> ExitStatus,
}

/// Makes `$main`, a `fn(&Environment) -> ExitStatus`, the main function of this program.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // SAFETY: the runtime declares the symbol with this type, and nobody else defines it.
        #[expect(unsafe_code, reason = "the runtime finds the program by this symbol")]
        #[unsafe(no_mangle)]
        static RT_PROGRAM: $crate::Program = $crate::Program { name: env!("CARGO_BIN_NAME"), main: $main };
    };
}
