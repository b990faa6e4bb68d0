//! Scenarios: which root program a boot starts, and what it shows.
//!
//! Invariants: names are unique; the first scenario is the default.
//! Concurrency: constants.

use anyhow::{Result, bail};

/// One boot configuration.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What `--scenario` takes.
    pub name: &'static str,
    /// One line for the help.
    pub about: &'static str,
    /// The root program: a binary of `user/root`, `user/bench` or `user/demos`.
    pub program: &'static str,
    /// Arguments of the kernel beside those of the command line.
    pub kernel_args: &'static [&'static str],
}

/// All scenarios; the first is the default.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "hello",
        about: "the root program greets from ring 3 and ends",
        program: "root",
        kernel_args: &[],
    },
    Scenario {
        name: "idle",
        about: "a program that never ends, to look at the machine from outside",
        program: "idle",
        kernel_args: &[],
    },
    Scenario {
        name: "bench",
        about: "measures the kernel in the platform's ticks; `cargo xtask bench` makes tables of it",
        program: "bench",
        kernel_args: &[],
    },
    Scenario {
        name: "ud2",
        about: "a root program of one undefined instruction: must fail",
        program: "ud2",
        kernel_args: &[],
    },
];

/// Finds a scenario by name.
///
/// # Errors
/// An unknown name, with the list of known ones.
pub fn find(name: &str) -> Result<&'static Scenario> {
    if let Some(found) = SCENARIOS.iter().find(|scenario| scenario.name == name) {
        return Ok(found);
    }
    let mut known = String::new();
    for scenario in SCENARIOS {
        known += &format!("\n  {:8} {}", scenario.name, scenario.about);
    }
    bail!("there is no scenario `{name}`; known are:{known}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_scenario_lists_the_known_ones() {
        let text = find("helo").map(|_| ()).map_err(|error| error.to_string());
        assert!(text.is_err_and(|text| text.contains("helo") && text.contains("hello") && text.contains("ud2")));
    }

    #[test]
    fn names_are_unique() {
        for (index, scenario) in SCENARIOS.iter().enumerate() {
            assert!(SCENARIOS[..index].iter().all(|other| other.name != scenario.name));
        }
    }
}
