//! The program on the machine: registry, order of work, output.
//!
//! Invariants: every operation of the registry that is wanted prints a line, whatever becomes of it.
//! Concurrency: the program's thread on the boot core, and the contexts that serve it.
// UNSAFETY: hypercalls, deliberate faults and message pages at addresses that only the kernel knows cannot be expressed
// safely; all of it is in the module `enter`.

mod churn;
mod crew;
mod cycle;
mod device;
#[expect(unsafe_code, reason = "loops around hypercalls and faults, message pages at fixed addresses")]
mod enter;
mod ipc;
mod latency;
mod measure;
mod memory;
mod objects;
mod operation;
mod remote;
mod resources;
mod semaphores;
mod vm;

use bench::line::{Calibration, Groups};
use bench::request::{MAX_LENGTH, Request};
use operation::Kind;
use resources::{Resources, Setting};
use rt::ports::IoPorts;
use rt::serial::COM1;
use rt::{Environment, ExitStatus, console, println};

rt::entry!(main);

/// The operations, by groups: one file and one line here for what belongs together; virtual CPUs are last.
const GROUPS: [(&str, &[operation::Operation]); 10] = [
    ("ipc", ipc::OPERATIONS),
    ("ipc", semaphores::OPERATIONS),
    ("memory", memory::OPERATIONS),
    ("memory", latency::OPERATIONS),
    ("shootdown", churn::OPERATIONS),
    ("shootdown", remote::OPERATIONS),
    ("sweep", remote::SWEEPS),
    ("objects", objects::OPERATIONS),
    ("objects", cycle::OPERATIONS),
    ("vm", vm::OPERATIONS),
];

fn main(environment: &Environment) -> ExitStatus {
    let ports = match IoPorts::acquire() {
        Ok(ports) => ports,
        Err(status) => panic!("no I/O ports from the hypervisor: {status}"),
    };
    console::open(ports, COM1);
    let mut line = [0; MAX_LENGTH];
    let request = device::request(ports, &mut line);
    let (request, asked) = (Request::parse(request), !request.is_empty());

    let calibration = Calibration { ticks: enter::calibrate(), empty: enter::empty() };
    let cores = environment.hip().enabled_cpus() as u64;
    let setting = Setting { cores, counting: calibration.counts_instructions(), exact: !request.any_interrupts };
    let mut resources = Resources::new(environment, setting);
    println!("{calibration}");
    if !calibration.counts_instructions() {
        println!("bench: this platform does not count instructions; the figures are ticks of its clock");
    }
    println!("{}", Groups(&GROUPS.map(|(name, _)| name)));
    // Where nobody can say what is wanted, and all takes long, those come first that there is no other place to measure.
    let mut groups = GROUPS;
    if resources.intel() {
        groups.rotate_right(1);
    }
    let all = || groups.iter().flat_map(|(group, operations)| operations.iter().map(move |each| (*group, each)));
    // A hundred thousand nodes are for those who ask.
    let can = |operation: &operation::Operation| operation.cores <= cores && (asked || operation.kind != Kind::Latency);
    let wanted = || all().filter(|(group, operation)| can(operation) && request.wants(group, operation.name));
    for (group, operation) in wanted() {
        match request.trace {
            Some(repetitions) => measure::trace(ports, group, operation, &mut resources, repetitions),
            None => println!("{}", measure::measure(group, operation, &mut resources, &request)),
        }
    }
    println!("bench: done, {} of {} operations", wanted().count(), all().count());
    ExitStatus::SUCCESS
}
