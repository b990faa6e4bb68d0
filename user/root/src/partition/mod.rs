//! The program: what prepares everything, and the parts that do the work.
//!
//! Invariants: everything is taken before the first program starts.
//! Concurrency: the first thread prepares everything and then leaves it to the manager's thread, of higher priority.
// UNSAFETY: physical memory seen as slices, in `memory`.

mod agents;
mod launch;
mod manager;
#[expect(unsafe_code, reason = "physical memory as slices")]
mod memory;

use abi::qpd::Qpd;
use alloc::boxed::Box;
use alloc::vec::Vec;
use boot_config::Config;
use root::machine::Machine;
use rt::ports::IoPorts;
use rt::serial::COM1;
use rt::{Environment, ExitStatus, arch, console, println, thread, time};

use launch::Surroundings;
use manager::Manager;

/// Priority and quantum (in microseconds) of the manager's thread.
const MANAGER: (u8, u64) = (127, 10_000);

/// First port of the clock.
const CLOCK: u16 = 0x70;

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
    time::set_frequency(machine.tsc_khz);
    match prepare(environment, ports) {
        Ok(Some(manager)) => {
            let core = environment.cpu();
            let parameters = Qpd::new(MANAGER.0, MANAGER.1).unwrap_or(Qpd::ROOT);
            if let Err(status) = thread::spawn_in_root(core, parameters, move || manager::run(manager)) {
                println!("root: no thread for the manager: {status}");
                return ExitStatus::FAILURE;
            }
            thread::park()
        }
        Ok(None) => ExitStatus::SUCCESS,
        Err(status) => {
            println!("root: {status}");
            ExitStatus::FAILURE
        }
    }
}

/// Takes everything and reads the configuration; `None` without a module.
fn prepare(environment: &Environment, ports: IoPorts) -> Result<Option<Manager>, Trouble> {
    let hip = environment.hip();
    let mut frames = memory::take(hip).map_err(Trouble::Memory)?;
    let mut modules = memory::modules(hip).map_err(Trouble::Memory)?;
    if modules.is_empty() {
        return Ok(None);
    }
    let text = core::str::from_utf8(modules.remove(0).0).map_err(|_| Trouble::NotText)?;
    let config = Config::parse(text).map_err(Trouble::Configuration)?;
    // Further ones are nobody's.
    if modules.len() < config.images.len() {
        return Err(Trouble::Modules(config.images.len(), modules.len()));
    }
    let lock = frames.take(1).ok_or(Trouble::Memory(abi::Status::QuotaExhausted))?;
    let (console_page, console_lock) = (lock.first(), memory::shared_word(lock));
    console_lock.store(0, core::sync::atomic::Ordering::Relaxed);
    console::share(console_lock);
    let around = Surroundings {
        frames: Box::leak(Box::new(frames)),
        manager: manager::semaphore().map_err(Trouble::Memory)?,
        tsc_khz: hip.header().tsc_khz,
        date: date(ports, hip.header().tsc_khz),
        features: hip.header().features.bits(),
        files: config.images.iter().zip(&modules).map(|(name, (bytes, at))| (name.clone(), *bytes, *at)).collect(),
        interrupts: hip.cpu_slots() as u64,
        console_lock,
        console_page,
        desks: Vec::new(),
    };
    let cores: Vec<u32> = hip.cpus().filter(|(_, cpu)| cpu.is_enabled()).map(|(core, _)| core as u32).collect();
    let images = modules.into_iter().map(|(bytes, _)| bytes).collect();
    Ok(Some(Manager::new(config, images, cores, around)))
}

/// Seconds from 1970 to the moment when the time-stamp counter was 0, by the machine's clock.
fn date(ports: IoPorts, tsc_khz: u32) -> u64 {
    let now = root::date::read(|register| {
        ports.port8(CLOCK).write(register);
        ports.port8(CLOCK + 1).read()
    });
    now - time::seconds(time::now(), tsc_khz).min(now)
}

/// Why nothing can be started.
enum Trouble {
    Memory(abi::Status),
    NotText,
    Configuration(boot_config::Error),
    Modules(usize, usize),
}

impl core::fmt::Display for Trouble {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Memory(status) => write!(f, "memory cannot be taken: {status}"),
            Self::NotText => f.write_str("the boot configuration, the first module, is no text"),
            Self::Configuration(error) => write!(f, "boot configuration: {error}"),
            Self::Modules(named, found) => {
                write!(f, "the boot configuration names {named} images, but only {found} modules follow it")
            }
        }
    }
}
