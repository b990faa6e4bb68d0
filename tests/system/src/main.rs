//! Runs the system tests; `cargo xtask test` calls it.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use system_tests::context::Context;
use system_tests::{cases, runner};
use xtask::test::{Counts, Tier};

/// Boots images and looks at them from outside; ends with `N passed, N failed`.
#[derive(Parser)]
struct Cli {
    /// Only cases whose name contains one of these
    filters: Vec<String>,
    /// How much is tested
    #[arg(long, value_enum, default_value = "fast")]
    tier: Tier,
    /// Only list the cases
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(counts) => {
            println!("{counts}");
            if counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<Counts> {
    let mut cases = cases();
    let meant = |name: &str| cli.filters.is_empty() || cli.filters.iter().any(|filter| name.contains(filter.as_str()));
    cases.retain(|case| meant(&case.name) && (cli.tier == Tier::Full || !case.full_only));
    if cli.list {
        for case in &cases {
            println!("{}", case.name);
        }
    }
    if cli.list || cases.is_empty() {
        return Ok(Counts::default());
    }
    Ok(runner::run(&Context::new()?, cases))
}
