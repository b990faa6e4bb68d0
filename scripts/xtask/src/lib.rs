//! The tool of the workspace: installs, builds, boots, tests and checks Vela.
//!
//! The binary `xtask` is a thin command line over this library, and the
//! system tests call the same functions, so that the desk and the tests take
//! one path. Principles:
//! 1. Nothing hangs: whatever starts an emulator owns it, bounds its time and
//!    ends it when dropped.
//! 2. A failure says what happened, why, and what to do next.
//! 3. Host-side and safe: the work is done by processes and files.

pub mod bench;
pub mod build;
pub mod c_root;
pub mod elf;
pub mod guest;
pub mod header;
pub mod image;
pub mod lint;
pub mod machine;
pub mod mutants;
pub mod process;
pub mod run;
pub mod scenario;
pub mod setup;
pub mod symbols;
pub mod test;
pub mod toolchain;
pub mod workspace;
