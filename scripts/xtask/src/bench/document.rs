//! The JSON file of a run.
//!
//! Invariants: reading what was written gives the same; unknown fields are ignored.
//! Concurrency: pure, but for the files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::count::Counts;

/// A run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Document {
    /// `instructions` or `time`.
    pub mode: String,
    /// What ran it.
    pub platform: String,
    /// Number of cores; of several boots the greatest.
    pub cores: u32,
    /// What was measured.
    pub ops: Vec<Operation>,
}

/// One operation of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Operation {
    /// Its name.
    pub name: String,
    /// The figure.
    pub value: u64,
    /// Of what: `instructions` or `cycles`.
    pub unit: String,
    /// How often events happen in one operation, by the kernel's counters and by a trace; empty if nothing was counted.
    #[serde(default)]
    pub counters: Counts,
}

impl Operation {
    /// A figure in instructions, without counters.
    pub fn new(name: &str, value: u64) -> Self {
        Self { name: name.into(), value, unit: "instructions".into(), counters: Counts::new() }
    }
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no file of `bench --json`", path.display()))
    }

    /// Writes a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        fs::write(path, self.text()?).with_context(|| format!("cannot write {}", path.display()))
    }

    fn text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).context("the result cannot be written as JSON")? + "\n")
    }

    /// The figure of an operation.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.ops.iter().find(|operation| operation.name == name).map(|operation| operation.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let counters = Counts::from([("cr3_writes".to_owned(), 2.into())]);
        let operation = Operation { counters, ..Operation::new("a_1w", 541) };
        Document { mode: "instructions".into(), platform: "qemu".into(), cores: 1, ops: vec![operation] }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let document = document();
        assert_eq!(serde_json::from_str::<Document>(&document.text().unwrap()).unwrap(), document);
        assert_eq!((document.value("a_1w"), document.value("b")), (Some(541), None));
    }

    #[test]
    fn the_form_is_the_one_of_the_plan() {
        let text: String = document().text().unwrap().split_whitespace().collect();
        let operation = r#"{"name":"a_1w","value":541,"unit":"instructions","counters":{"cr3_writes":2}}"#;
        assert_eq!(text, format!(r#"{{"mode":"instructions","platform":"qemu","cores":1,"ops":[{operation}]}}"#));
    }
}
