//! The root partition: the first program, which owns what the kernel does not keep.
//!
//! So far: takes the I/O ports, describes the machine, greets, ends.
//! Concurrency: one thread on the boot core.
#![no_std]
#![no_main]

use root::machine::Machine;
use rt::ports::IoPorts;
use rt::serial::COM1;
use rt::{Environment, ExitStatus, arch, console, println};

rt::entry!(main);

fn main(environment: &Environment) -> ExitStatus {
    let ports = match IoPorts::acquire() {
        Ok(ports) => ports,
        Err(status) => panic!("no I/O ports from the hypervisor: {status}"),
    };
    console::open(ports, COM1);

    let machine = Machine::new(environment.hip());
    println!("root: {machine}");
    if machine.api_version != rt::abi::API_VERSION {
        println!("root: made for API version {}", rt::abi::API_VERSION);
        return ExitStatus::FAILURE;
    }
    if !environment.hip().checksum_is_right() {
        println!("root: the information page has a wrong checksum");
        return ExitStatus::FAILURE;
    }

    let segment = arch::cpu::code_segment();
    if segment & 3 != 3 {
        println!("root: not in ring 3 (code segment {segment:#x})");
        return ExitStatus::FAILURE;
    }
    println!("root: hello from ring 3 on core {} (code segment {segment:#x})", environment.cpu());
    ExitStatus::SUCCESS
}
