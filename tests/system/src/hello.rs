//! The root partition: programs are killed, fault, or are configured wrongly, and the others go on.

use std::path::PathBuf;

use anyhow::{Result, bail};
use xtask::image::Module;
use xtask::machine::{Machine, Platform};
use xtask::run::{self, Outcome};

use crate::case::Case;
use crate::context::{Context, expect_failure, expect_line};

/// The programs of the scenario.
const PROGRAMS: [&str; 4] = ["log", "alpha", "beta", "gamma"];

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // At the start, when services are being found, and in the middle of the calls.
    for program in PROGRAMS {
        for after in [3, 30, 160] {
            let kill = format!("{program}@{after}");
            cases.push(killed(&format!("kill-{program}-{after}"), vec![kill], |machine| Machine { smp: 2, ..machine }));
        }
    }
    let all = || PROGRAMS.iter().zip([60, 90, 120, 150]).map(|(program, after)| format!("{program}@{after}")).collect();
    cases.push(killed("kill-all-1-core", all(), |machine| Machine { smp: 1, ..machine }));
    cases.push(killed("kill-all-4-cores", all(), |machine| machine));
    cases.push(killed("kill-all-bochs", all(), |machine| Machine { platform: Platform::Bochs, smp: 2, ..machine }));
    cases.push(Case::new("programs-that-die", programs_that_die));
    cases.push(Case::new("example-counter", example));
    cases.push(Case::new("program-with-interrupt", interrupts));
    cases.extend(MISTAKES.iter().map(|&(name, configuration, words)| {
        Case::new(name, move |context, name| {
            let machine = configured(context, name, configuration, &["peer"])?;
            expect_failure(&run::to_the_end(&machine)?, &[words])
        })
    }));
    cases
}

/// Configurations that cannot work, and what the root partition says to them.
const MISTAKES: [(&str, &str, &str); 4] = [
    ("config-unknown-right", "images peer\nprogram peer\nmay foo\n", "line 3: unknown right `foo`; known: console, "),
    ("config-empty", "# nothing\n", "no program; write `program NAME`"),
    ("config-modules", "images peer tea\nprogram peer\n", "names 2 images, but only 1 modules follow it"),
    (
        "config-too-much-memory",
        "images peer\nprogram peer\nmemory 1024M\nmust finish\n",
        "peer does not start: no 1048576 KiB of memory left",
    ),
];

/// A machine with this boot configuration, and these programs as modules.
fn configured(context: &Context, name: &str, configuration: &str, images: &[&str]) -> Result<Machine> {
    let data = configuration.as_bytes().to_vec();
    let mut modules = vec![context.program("root")?, Module { name: "configuration".into(), data, args: Vec::new() }];
    for image in images {
        modules.push(context.program(image)?);
    }
    let kernel: PathBuf = context.kernel().into();
    Ok(Machine { smp: 2, ..context.machine(name, &kernel, modules, &[])? })
}

/// The scenario with programs that are ended: it succeeds all the same, and says what happened.
fn killed(name: &str, kills: Vec<String>, adapt: fn(Machine) -> Machine) -> Case {
    Case::new(name, move |context, name| {
        let outcome = run::to_the_end(&adapt(context.configured("hello", name, &kills)?))?.success()?;
        for kill in &kills {
            let program = kill.split('@').next().unwrap_or_default();
            expect_line(&outcome, &["root: program", program, "died: ended as asked for; it starts again"])?;
        }
        expect_line(&outcome, &["3 programs have done their work", &format!("with {} deaths", kills.len())])?;
        quiet(&outcome)
    })
}

/// A program that faults, panics, overflows its stack or leaves its rights dies alone, and the reason is told.
fn programs_that_die(context: &Context, name: &str) -> Result<()> {
    let deeds = ["read", "write-code", "execute-data", "undefined", "divide", "panic", "overflow", "port", "status"];
    let mut text = String::from("images log unruly peer\n");
    text += "program log\nmay console\nprovides log\npriority 20\n";
    for deed in deeds {
        text += &format!("program {deed}\nimage unruly\narguments {deed}\nmay use log\ncores 0 1\n");
    }
    text += "program nonsense\nimage unruly\narguments nonsense\nmay use log\n";
    text += "program good\nimage peer\narguments good 20\nmay use log\nmay use good\nprovides good\nmust finish\n";
    let machine = configured(context, name, &text, &["log", "unruly", "peer"])?;
    let outcome = run::to_the_end(&machine)?.success()?;
    for (deed, reason) in [
        ("read", "page fault at 0x"),
        ("write-code", ": may not write 0x"),
        ("execute-data", ": may not execute 0x"),
        ("undefined", "undefined instruction at 0x"),
        ("divide", "division by zero at 0x"),
        ("panic", "it ended with status 1"),
        ("overflow", ": may not write 0x"),
        ("port", "general protection fault at 0x"),
        ("status", "it ended with status 7"),
    ] {
        expect_line(&outcome, &[&format!("root: program `{deed}` died: "), reason])?;
    }
    expect_line(&outcome, &["panic: panicked: what panics say at user/services/src/bin/unruly.rs"])?;
    expect_line(&outcome, &["0x", " = main at user/services/src/bin/unruly.rs:"])?;
    expect_line(&outcome, &["root: program `nonsense` is over with status 0"])?;
    expect_line(&outcome, &["good: 20 of 20 answers of good are right"])?;
    quiet(&outcome)
}

/// A program with the right to them uses the ports and the interrupt of the real-time clock.
fn interrupts(context: &Context, name: &str) -> Result<()> {
    let text = "images log ticks\nprogram log\nmay console\nprovides log\npriority 20\n\
                program ticks\ncores 1\nmay ports 0x70-0x71\nmay interrupt 8\nmay use log\nmust finish\n";
    let machine = configured(context, name, text, &["log", "ticks"])?;
    let outcome = run::to_the_end(&machine)?.success()?;
    expect_line(&outcome, &["ticks: the real-time clock has ticked 32 times on core 1"])?;
    quiet(&outcome)
}

/// The example of the book does what the book says.
fn example(context: &Context, name: &str) -> Result<()> {
    let outcome = run::to_the_end(&context.configured("counter", name, &[])?)?.success()?;
    expect_line(&outcome, &["once: counted to 3"])?;
    expect_line(&outcome, &["tens: counted to 30"])?;
    quiet(&outcome)
}

/// The kernel had to kill nothing that the root partition should have ended.
fn quiet(outcome: &Outcome) -> Result<()> {
    match outcome.log.iter().find(|line| line.contains("context killed")) {
        Some(line) => bail!("the kernel had to step in: {line}: {}", outcome.explain(30)),
        None => Ok(()),
    }
}
