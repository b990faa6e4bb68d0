//! Failures are reported in words and by the exit status.

use anyhow::{Result, bail};
use xtask::image::Module;
use xtask::machine::Machine;
use xtask::run::{self, Outcome};

use crate::case::Case;
use crate::context::{Context, expect_failure, expect_line};

/// What the kernel's self tests provoke, and words of the line that reports it.
const PROVOKED: [(&str, &[&str]); 8] = [
    ("stack-overflow", &["kernel stack overflow", "guard page"]),
    ("page-fault", &["kernel fault: #PF"]),
    ("double-fault", &["kernel fault: #DF"]),
    ("undefined", &["kernel fault: #UD"]),
    ("write-text", &["kernel fault: #PF"]),
    ("execute-data", &["kernel fault: #PF"]),
    ("panic", &["kernel panic:"]),
    // Each core stops the machine at the same time: one says so.
    ("stop-everywhere", &["machine stops: status 2", "provoked"]),
];

/// The root programs that end badly, and words of the line that reports it.
const PROGRAMS: [(&str, &[&str]); 10] = [
    ("call-gate", &["root program", "#GP", "error 0xc"]),
    ("ud2", &["root program", "#UD"]),
    ("divide", &["root program", "#DE"]),
    ("hip-write", &["root program", "#PF", "write"]),
    ("kernel-entry", &["root program", "#PF", "0xffffffff81001000"]),
    ("kernel-read", &["root program", "#PF", "0xffffffffbffff000"]),
    ("no-ports", &["root program", "#GP"]),
    ("run-data", &["root program", "#PF", "execute"]),
    ("some-ports", &["root program", "#GP"]),
    ("write-code", &["root program", "#PF", "write"]),
];

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("no-module", |context, name| {
            expect_failure(&boot(&context.machine(name, context.kernel(), Vec::new(), &[])?)?, &["error", "module"])
        }),
        Case::new("text-as-root-program", |context, name| {
            let module = Module { name: "root".into(), data: b"This is no program.\n".to_vec(), args: Vec::new() };
            let machine = context.machine(name, context.kernel(), vec![module], &[])?;
            expect_failure(&boot(&machine)?, &["error", "ELF"])
        }),
    ];
    for (program, words) in PROGRAMS {
        cases.push(Case::new(format!("program-{program}"), move |context, name| {
            expect_failure(&boot(&context.scenario(name, program)?)?, words)
        }));
    }
    cases.push(Case::new("last-port-byte", |context, name| {
        let outcome = boot(&context.scenario(name, "last-port")?)?;
        expect_line(&outcome, &["the byte was allowed"])?;
        expect_failure(&outcome, &["root program", "#GP"])
    }));
    for (provoke, words) in PROVOKED {
        cases.push(Case::new(format!("provoke-{provoke}"), move |context, name| {
            provoked(context, name, provoke, words)
        }));
    }
    cases
}

fn boot(machine: &Machine) -> Result<Outcome> {
    run::to_the_end(machine)
}

/// The kernel fails on purpose: it says so, and the report names the code.
fn provoked(context: &Context, name: &str, provoke: &str, words: &[&str]) -> Result<()> {
    let kernel = context.selftest_kernel()?;
    let argument = format!("provoke={provoke}");
    let machine = context.machine(name, &kernel, vec![context.program("root")?], &[&argument])?;
    let outcome = boot(&Machine { smp: 2, ..machine })?;
    expect_failure(&outcome, words)?;
    let named = outcome.log.iter().any(|line| line.contains(" = ") && line.contains(" at hypervisor/"));
    // A panic says itself where it was, and who stops the machine does not say it.
    if !["panic", "stop-everywhere"].contains(&provoke) && !named {
        bail!("the report names no function of the kernel: {}", outcome.explain(60));
    }
    Ok(())
}
