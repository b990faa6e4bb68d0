//! Drives device models with random steps; ends with `N passed, N failed`.
//!
//! A device that breaks a promise panics, which ends the program; the line before says which device it was, and its seed.
//! So every device runs in a process of its own.
//! Concurrency: one process after the other.

use std::process::{Command, ExitCode};

use clap::Parser;
use device_fuzz::{TARGETS, from_generator};

/// Drives device models with random steps.
#[derive(Parser)]
struct Cli {
    /// Only the device of this name
    #[arg(long)]
    only: Option<String>,
    /// Steps for each device
    #[arg(long, default_value_t = 100_000)]
    steps: u64,
    /// Where the generator starts
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    let Cli { only, steps, seed } = Cli::parse();
    if let Some(name) = only {
        let Some(target) = TARGETS.iter().find(|target| target.name == name) else {
            eprintln!("there is no device `{name}`");
            return ExitCode::FAILURE;
        };
        from_generator(target, seed, steps);
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed) = (0, 0);
    for target in &TARGETS {
        let words = ["--only", target.name, "--steps", &steps.to_string(), "--seed", &seed.to_string()];
        let own = std::env::current_exe().and_then(|own| Command::new(own).args(words).status());
        let well = own.is_ok_and(|status| status.success());
        println!("device {} ... {} ({steps} steps, seed {seed})", target.name, if well { "ok" } else { "FAILED" });
        *(if well { &mut passed } else { &mut failed }) += 1;
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
