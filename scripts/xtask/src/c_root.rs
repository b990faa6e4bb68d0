//! Builds the root program in C, `tests/c-root`, which is written from the interface alone.
//!
//! Invariants: freestanding C11 with all warnings as errors; what is linked satisfies the rules for root programs.
//! Concurrency: each build writes under a name of its own, so several may run at a time.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{self, Command};

use anyhow::{Context, Result};

use crate::process::run;
use crate::workspace;

/// Flags of the compiler: no library, no start files, fixed addresses, nothing that the program does not ask for.
const FLAGS: &str = "-std=c11 -O2 -Wall -Wextra -Werror -ffreestanding -nostdlib -static -fno-pie -no-pie \
                     -fno-stack-protector -fno-asynchronous-unwind-tables -fcf-protection=none -Wl,--build-id=none";

/// Compiles and links the program; returns the ELF file.
///
/// # Errors
/// There is no compiler, or it refuses the program.
pub fn build() -> Result<PathBuf> {
    let directory = workspace::root().join("tests/c-root");
    let list = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut sources = Vec::new();
    for entry in list {
        let path = entry?.path();
        if path.extension().is_some_and(|suffix| suffix == OsStr::new("c") || suffix == OsStr::new("S")) {
            sources.push(path);
        }
    }
    sources.sort();
    let output = workspace::scratch("c-root")?.join("c-root.elf");
    let draft = output.with_extension(process::id().to_string());
    let mut script = std::ffi::OsString::from("-Wl,-T,");
    script.push(directory.join("root.ld"));
    let mut command = Command::new("gcc");
    command.args(FLAGS.split_whitespace()).arg(script).arg("-I").arg(workspace::root().join("include"));
    run(command.arg("-o").arg(&draft).args(sources)).context("the root program in C does not build")?;
    fs::rename(&draft, &output).with_context(|| format!("cannot write {}", output.display()))?;
    Ok(output)
}
