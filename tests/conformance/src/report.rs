//! What the checks of a program found: a line per row of the table, and counts.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::conformance::{Equipment, TRIPLES, find};
use abi::hip::Features;
use abi::{Hypercall, Status};
use rt::ports::IoPorts;
use rt::serial::COM1;
use rt::{Environment, ExitStatus, console, println};

use crate::sys::{ROOT, Registers, domain_usage, hypercall, objects, revoke, time_stamp};
use crate::world::World;

static SEEN: [AtomicU32; TRIPLES.len()] = [const { AtomicU32::new(0) }; TRIPLES.len()];

/// The checks of one program.
#[derive(Debug)]
pub struct Report {
    /// What the machine has.
    pub machine: Equipment,
    /// Clock cycles of a millisecond.
    pub millisecond: u64,
    program: &'static str,
    checks: u32,
    wrong: u32,
}

impl Report {
    /// Opens the console and says which program runs.
    #[must_use]
    pub fn new(program: &'static str, environment: &Environment) -> Self {
        if let Ok(ports) = IoPorts::acquire() {
            console::open(ports, COM1);
        }
        let hip = environment.hip();
        let features = hip.header().features;
        let machine = Equipment {
            cores: hip.enabled_cpus(),
            virtual_cpus: features.intersects(Features::VMX | Features::SVM) && serves_virtual_cpus(),
            iommu: features.contains(Features::IOMMU),
        };
        let Equipment { cores, virtual_cpus, iommu } = machine;
        println!("conformance {program}: {cores} cores, virtual CPUs {virtual_cpus}, IOMMU {iommu}");
        Self { machine, millisecond: hip.header().tsc_khz.into(), program, checks: 0, wrong: 0 }
    }

    /// The hypercall must have answered `expected`. `found` is its first register. Says so in a line.
    pub fn status(&mut self, call: Hypercall, form: &str, expected: Status, what: &str, found: Registers) {
        let answer = (found.rdi & 0xFF) as u8;
        let row = find(call, form, expected);
        let good = answer == expected.number() && row.is_some();
        self.checks += 1;
        let line = format_args!("triple {} {form} {}", call.name(), expected.number());
        match row {
            _ if !good => {
                self.wrong += 1;
                let known = if row.is_none() { ", and the table has no such row" } else { "" };
                println!("{line} FAIL {what}: got {answer}{known}");
            }
            Some(row) if SEEN[row].fetch_add(1, Relaxed) == 0 => println!("{line} ok {what}"),
            _ => {}
        }
    }

    /// The whole first register of a successful call must be as it was.
    pub fn call(&mut self, form: &str, what: &str, portal: u64, flags: u64, found: Registers) {
        self.status(Hypercall::Call, form, Status::Success, what, Registers { rdi: found.rdi & 0xF, ..found });
        self.equal("the register of a successful call", found.rdi, portal << 8 | flags << 4);
    }

    /// A side effect must be there.
    pub fn holds(&mut self, what: &str, holds: bool) {
        self.equal(what, u64::from(holds), 1);
    }

    /// A value must be as expected.
    pub fn equal(&mut self, what: &str, found: u64, expected: u64) {
        self.checks += 1;
        if found != expected {
            self.wrong += 1;
            println!("effect FAIL {}: {what}: {found:#x}, should be {expected:#x}", self.program);
        }
    }

    /// Runs a group of checks twice, each time in an empty world: the second time the kernel's memory must come back
    /// to what it was after the first.
    pub fn group(&mut self, name: &str, mut checks: impl FnMut(&mut Self, &mut World)) {
        println!("group {}: {name}", self.program);
        let mut after_first = None;
        World::forget();
        for round in 0..2 {
            let mut world = World::new();
            checks(self, &mut world);
            world.end();
            let usage = self.settled(after_first);
            if round == 1 {
                self.checks += 1;
                if usage > after_first {
                    self.wrong += 1;
                    println!("effect FAIL {}: {name}: usage {usage:?}, was {after_first:?}", self.program);
                }
            }
            after_first = usage;
        }
    }

    /// Usage of the root domain in pages, once it is at most `wanted` or, if nothing is wanted, has not changed for a while;
    /// `None` if nobody tells.
    fn settled(&self, wanted: Option<u64>) -> Option<u64> {
        let end = time_stamp() + 20_000 * self.millisecond;
        let (mut last, mut since) = (None, time_stamp());
        loop {
            let usage = domain_usage(ROOT).map(|(_, usage)| usage);
            let now = time_stamp();
            if usage != last {
                (last, since) = (usage, now);
            }
            let enough = match wanted {
                Some(_) => usage <= wanted,
                None => now - since > 20 * self.millisecond,
            };
            if enough || now >= end || usage.is_none() {
                return usage;
            }
            hypercall(Hypercall::ControlContext, 1, 0, [0; 4]);
        }
    }

    /// Says how many checks hold, and gives the status to end with.
    pub fn finish(&self) -> ExitStatus {
        println!("conformance {}: {} of {} checks hold", self.program, self.checks - self.wrong, self.checks);
        if self.wrong == 0 { ExitStatus::SUCCESS } else { ExitStatus::new(3) }
    }
}

/// Whether the kernel makes virtual CPUs at all: it may announce the hardware before it does.
fn serves_virtual_cpus() -> bool {
    let at = 0x0F00;
    let found = hypercall(Hypercall::CreateContext, 1, at, [ROOT, 0, 0, 0]);
    revoke(1, objects(at, 0, 0x1F), 0);
    found.status() != u64::from(Status::BadFeature.number())
}
