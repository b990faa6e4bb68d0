//! Boots the benchmark program: once for the figures, once more for what its instructions are.
//!
//! Invariants: figures come from a run without a tracer; every machine has a time limit.
//! Concurrency: one machine at a time, on the calling thread.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::code::Code;
use super::output::Output;
use super::trace::{self, Iteration};
use crate::build::Built;
use crate::image::{Image, Module, Protocol};
use crate::machine::{Machine, Media, Platform};
use crate::{run, workspace};

/// The item of the firmware configuration that the program reads.
const REQUEST: &str = "opt/vela/bench";
/// How often an operation is run under the tracer: no oftener than there is memory for the largest ranges.
const REPETITIONS: usize = 7;
/// How long the program may take from one operation to the next.
const PATIENCE: Duration = Duration::from_secs(120);
/// The serial port's scratch register, on which the program waits.
const GO: &str = "o /b 0x3ff 1";

/// What to boot, and on what.
#[derive(Clone, Debug)]
pub struct Drive {
    /// Kernel and program.
    pub built: Built,
    /// What runs the machine.
    pub platform: Platform,
    /// Whether it counts instructions.
    pub counting: bool,
    /// Further arguments of the kernel.
    pub kernel_args: Vec<String>,
}

impl Drive {
    /// The machine that runs the program with a request.
    ///
    /// # Errors
    /// There is no such program, or no image of it can be made.
    pub fn machine(&self, cores: u32, request: &str) -> Result<Machine> {
        let modules = vec![Module::program(&self.built.program("bench")?)?];
        let kernel_args = std::iter::once("exit=0xf4".to_owned()).chain(self.kernel_args.iter().cloned()).collect();
        let iso = Image { protocol: Protocol::Multiboot2, kernel: self.built.kernel.clone(), kernel_args, modules }
            .build()?;
        Ok(Machine {
            platform: self.platform,
            smp: cores,
            kernel: Some(self.built.kernel.clone()),
            counting: self.counting,
            timeout: Some(Duration::from_secs(600)),
            // QEMU takes a comma that is meant as two.
            qemu_args: vec!["-fw_cfg".into(), format!("name={REQUEST},string={}", request.replace(',', ",,"))],
            ..Machine::new("bench", Media::Iso(iso))
        })
    }

    /// Measures what the request says.
    ///
    /// # Errors
    /// The machine failed, or the program printed no calibration.
    pub fn measure(&self, cores: u32, request: &str) -> Result<Output> {
        let outcome = run::to_the_end(&self.machine(cores, request)?)?.success()?;
        let output = Output::parse(&outcome.log)?;
        let Some(calibration) = output.calibration else { bail!("the program measured no calibration loop") };
        if self.counting && !calibration.counts_instructions() {
            let ratio = calibration.ticks_per_instruction;
            bail!("the platform does not count instructions: {ratio:.3} ticks each; use --mode time");
        }
        Ok(output)
    }

    /// Traces operations that the request names: one iteration of each, without those that the kernel refuses and those
    /// that are no loop on one core.
    ///
    /// # Errors
    /// The machine failed, or an operation's log makes no sense.
    pub fn trace(&self, cores: u32, request: &str) -> Result<BTreeMap<String, Iteration>> {
        let machine = self.machine(cores, &format!("trace={REPETITIONS} {request}"))?;
        let directory = workspace::scratch("traces")?;
        let mut running = run::start(&machine)?;
        let mut found = BTreeMap::new();
        loop {
            let line = running.wait_for("bench: ", PATIENCE)?;
            let line = line.trim();
            if let Some(name) = line.strip_prefix("bench: ready ") {
                let log = directory.join(format!("{name}-{}.log", std::process::id()));
                // QEMU 7 knows the first, QEMU 9 and later the second.
                running.monitor("singlestep on")?;
                running.monitor("one-insn-per-tb on")?;
                running.monitor(&format!("logfile {}", log.display()))?;
                running.monitor("log exec,nochain")?;
                running.monitor(GO)?;
                running.wait_for(&format!("bench: traced {name}"), PATIENCE)?;
                running.monitor("log none")?;
                running.monitor("singlestep off")?;
                running.monitor("one-insn-per-tb off")?;
                found.insert(name.to_owned(), read(log).with_context(|| format!("trace of {name}"))?);
                running.monitor(GO)?;
            } else if line.starts_with("bench: done") {
                break;
            }
        }
        running.finish().success()?;
        Ok(found)
    }

    /// Kernel and program, to give names to addresses.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn code(&self, disassemble: bool) -> Result<Code> {
        Code::load(&[&self.built.kernel, &self.built.program("bench")?], disassemble)
    }
}

fn read(log: PathBuf) -> Result<Iteration> {
    let file = File::open(&log).with_context(|| format!("the emulator wrote no log {}", log.display()))?;
    let iteration = trace::iteration(BufReader::new(file), REPETITIONS)?;
    // Large, and of no further use.
    let _ = fs::remove_file(&log);
    Ok(iteration)
}
