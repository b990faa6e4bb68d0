//! The boot configuration: which programs the root partition starts, with which rights, on which cores.
//!
//! A text of lines; `#` starts a comment; words are separated by spaces. Lines at the top:
//!
//! | line | meaning |
//! |---|---|
//! | `images NAME…` | names of the modules behind the configuration, in their order |
//! | `program NAME` | the lines up to the next `program` describe this program |
//! | `kill NAME MS` | the program is ended MS milliseconds after the start of the system |
//!
//! Lines of a program, each at most once unless it says "again":
//!
//! | line | meaning | without it |
//! |---|---|---|
//! | `image NAME` | the module that holds it | the one of the program's name |
//! | `arguments TEXT` | what it is told | nothing |
//! | `cores all` or `cores N…` | where its threads may run; the first one there is runs its main function | core 0 |
//! | `memory SIZE` | its heap; `K` and `M` are understood | 256K |
//! | `quota PAGES` | kernel memory for its objects and mappings | 256 |
//! | `priority N` | of its threads, 1 to 127 | 2 |
//! | `may RIGHT …` | a right, again: see [`Right`] | none |
//! | `provides SERVICE` | it serves this, again | nothing |
//! | `restart never`, `on-failure` or `always` | what happens when it dies | never |
//! | `must finish` | the system's work is done when all of these say so | it need not |
//!
//! Invariants: a [`Config`] is consistent: what it names exists, and nothing is named twice.
//! Concurrency: plain values.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod error;
mod parse;
#[cfg(test)]
mod tests;

pub use error::{Error, Problem};

use alloc::string::String;
use alloc::vec::Vec;

/// Most programs in a configuration.
pub const MAX_PROGRAMS: usize = 64;
/// Longest name of a program, an image or a service, in bytes.
pub const MAX_NAME: usize = 32;
/// Longest arguments, in bytes.
pub const MAX_ARGUMENTS: usize = 256;

/// A boot configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Config {
    /// Names of the modules behind the configuration, in their order.
    pub images: Vec<String>,
    /// The programs, in their order.
    pub programs: Vec<Program>,
    /// Programs to be ended.
    pub kills: Vec<Kill>,
}

/// A program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// The image that holds it.
    pub image: String,
    /// What it is told.
    pub arguments: String,
    /// Where its threads may run.
    pub cores: Cores,
    /// Its heap in bytes.
    pub memory: u64,
    /// Kernel memory in pages.
    pub quota: u32,
    /// Priority of its threads, 1 to 127.
    pub priority: u8,
    /// What it may do beyond computing.
    pub rights: Vec<Right>,
    /// Services that it provides.
    pub provides: Vec<String>,
    /// What happens when it dies.
    pub restart: Restart,
    /// Whether the system's work is done only when it says so.
    pub must_finish: bool,
}

/// Where threads may run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cores {
    /// On all cores.
    All,
    /// On these; numbers of cores that the machine does not have are left out.
    These(Vec<u32>),
}

/// A right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Right {
    /// `may console`: print on the console.
    Console,
    /// `may ports FIRST-LAST` or `may ports N`: use these I/O ports.
    Ports(u16, u16),
    /// `may interrupt N`: take this interrupt.
    Interrupt(u32),
    /// `may use SERVICE`: call this service.
    Use(String),
    /// `may read IMAGE`: see the module of this name.
    Read(String),
    /// `may guest SIZE`: run a guest with so much memory, in bytes.
    Guest(u64),
    /// `may domains`: make domains of its own, and give time to their contexts.
    Domains,
}

/// What happens when a program dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// It stays dead.
    Never,
    /// It starts again, unless it ended with success.
    OnFailure,
    /// It starts again.
    Always,
}

/// A program to be ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kill {
    /// Its name.
    pub program: String,
    /// When, in milliseconds after the start of the system.
    pub after: u64,
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse::parse(text)
    }

    /// The program of this name.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<&Program> {
        self.programs.iter().find(|program| program.name == name)
    }
}

impl Program {
    /// Whether it may call `service`.
    #[must_use]
    pub fn may_use(&self, service: &str) -> bool {
        self.rights.iter().any(|right| matches!(right, Right::Use(name) if name == service))
    }
}
