//! Scenarios: which root program a boot starts, with which boot configuration, and what it shows.
//!
//! Invariants: names are unique; the first scenario is the default; a configuration that the root partition would refuse
//! is refused here, before anything boots.
//! Concurrency: constants.

use std::fs;

use anyhow::{Context, Result, anyhow, bail};
use boot_config::Config;

use crate::build::Built;
use crate::image::Module;
use crate::{guest, workspace};

/// Where boot configurations lie, below the workspace.
const CONFIGURATIONS: &str = "user/root/scenarios";

/// One boot configuration.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What `--scenario` takes.
    pub name: &'static str,
    /// One line for the help.
    pub about: &'static str,
    /// The root program: a binary of `user/root`, `user/bench` or `user/demos`.
    pub program: &'static str,
    /// The file with the boot configuration, for the root partition.
    pub configuration: Option<&'static str>,
    /// Another one for a run without a terminal.
    pub headless: Option<&'static str>,
    /// Arguments of the kernel beside those of the command line.
    pub kernel_args: &'static [&'static str],
    /// Seconds after which a run without a terminal is given up, on QEMU and on Bochs; else the platform's limit.
    pub limits: Option<[u64; 2]>,
}

/// All scenarios; the first is the default.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "linux",
        about: "Debian's kernel in a virtual machine on two cores; a shell, or headless a script",
        program: "root",
        configuration: Some("linux.conf"),
        headless: Some("linux-check.conf"),
        kernel_args: &[],
        limits: Some([300, 1800]),
    },
    Scenario {
        name: "linux-revoke",
        about: "the guest's script on two cores, random delegations and revocations on the others",
        program: "root",
        configuration: Some("linux-revoke.conf"),
        headless: None,
        kernel_args: &[],
        limits: Some([300, 1800]),
    },
    Scenario {
        name: "hello",
        about: "three programs in domains of their own call each other on two cores",
        program: "root",
        configuration: Some("hello.conf"),
        headless: None,
        kernel_args: &[],
        limits: None,
    },
    Scenario {
        name: "counter",
        about: "the example of the book: a service that counts, and two clients",
        program: "root",
        configuration: Some("counter.conf"),
        headless: None,
        kernel_args: &[],
        limits: None,
    },
    Scenario {
        name: "idle",
        about: "a program that never ends, to look at the machine from outside",
        program: "idle",
        configuration: None,
        headless: None,
        kernel_args: &[],
        limits: None,
    },
    Scenario {
        name: "bench",
        about: "measures the kernel in the platform's ticks; `cargo xtask bench` makes tables of it",
        program: "bench",
        configuration: None,
        headless: None,
        kernel_args: &[],
        limits: None,
    },
    Scenario {
        name: "measure",
        about: "a Linux guest that measures its machine; `cargo xtask bench vm` makes tables of it",
        program: "root",
        configuration: Some("measure.conf"),
        headless: None,
        kernel_args: &[],
        limits: None,
    },
    Scenario {
        name: "ud2",
        about: "a root program of one undefined instruction: must fail",
        program: "ud2",
        configuration: None,
        headless: None,
        kernel_args: &[],
        limits: None,
    },
];

impl Scenario {
    /// The modules that the boot loader loads. `kills` are `NAME@MS`: programs that the root partition is to end; `guest`
    /// changes the guest.
    ///
    /// # Errors
    /// A program is not there, or the configuration is wrong, with the kills in it.
    pub fn modules(&self, built: &Built, kills: &[String], guest: &guest::Options) -> Result<Vec<Module>> {
        let mut modules = vec![Module::program(&built.program(self.program)?)?];
        let other = self.headless.filter(|_| guest.script && guest.multiboot.is_none() && !guest.alone);
        let Some(name) = other.or(self.configuration) else {
            if kills.is_empty() {
                return Ok(modules);
            }
            bail!("the scenario `{}` starts no programs that --kill could end", self.name);
        };
        let mut text = guest.adapt(&configuration(name)?)?;
        for kill in kills {
            text += &kill_line(kill)?;
        }
        modules.append(&mut configured(name, text, built, guest)?);
        Ok(modules)
    }
}

/// The text of a boot configuration.
///
/// # Errors
/// It cannot be read.
pub fn configuration(name: &str) -> Result<String> {
    let path = workspace::root().join(CONFIGURATIONS).join(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The configuration `text`, called `name`, and the modules that it names.
///
/// # Errors
/// It is wrong, or a program is not there.
pub fn configured(name: &str, text: String, built: &Built, guest: &guest::Options) -> Result<Vec<Module>> {
    let config = Config::parse(&text).map_err(|error| anyhow!("{name}: {error}"))?;
    let mut modules = vec![Module { name: name.into(), data: text.into_bytes(), args: Vec::new() }];
    for image in &config.images {
        modules.push(match guest.module(image)? {
            Some(module) => module,
            None => Module::program(&built.program(image)?)?,
        });
    }
    Ok(modules)
}

/// The line of the configuration for `NAME@MS`.
fn kill_line(kill: &str) -> Result<String> {
    let (name, after) = kill.split_once('@').with_context(|| format!("--kill needs NAME@MS, not `{kill}`"))?;
    Ok(format!("kill {name} {after}\n"))
}

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
        known += &format!("\n  {:12} {}", scenario.name, scenario.about);
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
    fn what_is_to_be_killed_is_written_into_the_configuration() {
        assert!(kill_line("beta@120").is_ok_and(|line| line == "kill beta 120\n"));
        assert!(kill_line("beta").is_err());
    }

    #[test]
    fn every_configuration_is_good_and_knows_its_programs() {
        for name in SCENARIOS.iter().flat_map(|scenario| [scenario.configuration, scenario.headless]).flatten() {
            let text = fs::read_to_string(workspace::root().join(CONFIGURATIONS).join(name)).unwrap();
            let config = Config::parse(&text).map_err(|error| error.to_string()).unwrap();
            assert!(config.programs.iter().any(|program| program.must_finish), "{name} would run for ever");
        }
    }

    #[test]
    fn names_are_unique() {
        for (index, scenario) in SCENARIOS.iter().enumerate() {
            assert!(SCENARIOS[..index].iter().all(|other| other.name != scenario.name));
        }
    }
}
