//! A case of the system tests.

use anyhow::Result;

use crate::context::Context;

/// What a case does; it is given its own name for the logs.
pub type Body = Box<dyn Fn(&Context, &str) -> Result<()> + Send + Sync>;

/// One case.
pub struct Case {
    /// Its name: letters, digits and `-`, unique.
    pub name: String,
    /// Whether it runs only with `--tier full`.
    pub full_only: bool,
    /// Whether it needs the whole host: its cores wait for each other all the time.
    pub alone: bool,
    /// What it does.
    pub body: Body,
}

impl Case {
    /// A case of both tiers.
    pub fn new(name: impl Into<String>, body: impl Fn(&Context, &str) -> Result<()> + Send + Sync + 'static) -> Self {
        Self { name: name.into(), full_only: false, alone: false, body: Box::new(body) }
    }

    /// The same case, only in the full tier.
    #[must_use]
    pub fn full(self) -> Self {
        Self { full_only: true, ..self }
    }

    /// The same case, while no other runs.
    #[must_use]
    pub fn alone(self) -> Self {
        Self { alone: true, ..self }
    }
}
