//! What runs: the machine, a thread of control per virtual CPU, and the threads for time and input.
//!
//! Concurrency: exits of a virtual CPU are handled on its core by a context of its own, on the virtual CPU's time. Each core
//! has a thread of higher priority for timers; the first core has one for the devices' time, and one for input.

mod host;
mod input;
mod link;
mod timer;
mod vcpu;

use abi::Status;
use abi::hip::Features;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use rt::arch::windows::{GuestMemory, file};
use rt::capability::Semaphore;
use rt::{ExitStatus, Startup, println, time};
use vm_memory::Memory;
use vm_virtio::Pci;
use vmm::arguments::{Arguments, Disk};
use vmm::devices::Devices;
use vmm::exit::Backend;
use vmm::machine::{End, Host as _, Machine, Parts, leak};
use vmm::start::Boot;
use vmm::{layout, linux, multiboot};

use host::World;
use link::Link;

rt::program!(main);

/// The machine of this program.
pub type Ours = Machine<Ram, World>;

/// The guest's memory.
pub struct Ram(GuestMemory);

impl Memory for Ram {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read(&self, address: u64, to: &mut [u8]) -> bool {
        self.0.read(address, to)
    }

    fn write(&self, address: u64, from: &[u8]) -> bool {
        self.0.write(address, from)
    }
}

fn main(startup: &Startup) -> ExitStatus {
    match run(startup) {
        Ok(end) => verdict(startup, end),
        Err(why) => {
            println!("{}: {why}", startup.name);
            ExitStatus::FAILURE
        }
    }
}

/// Says how the guest ended.
fn verdict(startup: &Startup, end: End) -> ExitStatus {
    println!("{}: {end}", startup.name);
    match end {
        End::Off => ExitStatus::SUCCESS,
        End::Exit(value) => ExitStatus::new(u8::try_from(value).unwrap_or(u8::MAX)),
        _ => ExitStatus::FAILURE,
    }
}

fn run(startup: &Startup) -> Result<End, String> {
    let arguments = Arguments::parse(&startup.arguments).map_err(|word| format!("`{word}` is not understood"))?;
    let features = Features::from_bits_retain(startup.features);
    let backend = if features.contains(Features::SVM) {
        Backend::Svm
    } else if features.contains(Features::VMX) {
        Backend::Vmx
    } else {
        return Err("this machine has no virtual CPUs".into());
    };
    let memory = Ram(GuestMemory::granted().ok_or("the boot configuration gives it no memory for a guest")?);
    let boot = load(&memory, &arguments, startup.tsc_khz)?;
    let size = memory.size();
    let kernel = |status: Status| format!("the kernel refuses: {status}");
    let cores: Vec<u32> = startup.cores.iter().collect();
    let core = |cpu: u32| cores.get(cpu as usize % cores.len().max(1)).copied().unwrap_or(startup.core);

    let date = startup.date.saturating_add(time::seconds(time::now(), startup.tsc_khz));
    let link = if arguments.net.is_some() { Some(Link::new().map_err(kernel)?) } else { None };
    let world = World::new(arguments.cpus).map_err(kernel)?;
    let machine: &'static Ours = leak(Machine::new(Parts {
        memory,
        host: world,
        backend,
        cpus: arguments.cpus,
        devices: Devices::new(date, functions(&arguments, link)?),
        tsc_khz: startup.tsc_khz,
        boot,
    }));
    let domain = vcpu::domain(size).map_err(kernel)?;
    for cpu in 0..arguments.cpus {
        timer::start_for_cpu(machine, cpu as usize, core(cpu)).map_err(kernel)?;
    }
    timer::start_for_devices(machine, startup.core).map_err(kernel)?;
    if let Some(link) = link {
        link.start(machine, startup.core);
    }
    input::start(machine, startup.core, arguments.console);
    let ended: &'static Semaphore = machine.host().ended();
    for cpu in 0..arguments.cpus {
        vcpu::start(machine, domain, backend, cpu, core(cpu)).map_err(kernel)?;
    }
    if arguments.watchdog > 0 {
        timer::start_watchdog(machine, startup.core, arguments.watchdog).map_err(kernel)?;
    }
    let mut left = arguments.restarts;
    loop {
        let _ = ended.down();
        let Some(end) = machine.end() else { continue };
        if !end.is_restart(arguments.restart) || left == 0 {
            let exits: Vec<u64> = machine.cpus().iter().map(vmm::cpu::Cpu::exits).collect();
            if arguments.exits {
                vmm::count::report(machine.cpus(), |byte| machine.host().print(byte));
            }
            println!("vmm: exits {exits:?} on cores {:?}", (0..arguments.cpus).map(core).collect::<Vec<_>>());
            return Ok(end);
        }
        // The others come by.
        if machine.is_quiet() {
            left -= 1;
            println!("{}: {end}; it starts again", startup.name);
            machine.reset_devices();
            load(machine.memory(), &arguments, startup.tsc_khz)?;
            machine.restart();
        }
    }
}

/// The devices on the PCI bus, each with a place for its ports and its messages.
fn functions(arguments: &Arguments<'_>, link: Option<&'static Link>) -> Result<Vec<Box<dyn vm_pci::Device>>, String> {
    let mut all: Vec<Box<dyn vm_pci::Device>> = Vec::new();
    let place = |index: usize| {
        let index = index as u32;
        (layout::PCI_PORTS + 0x100 * index as u16, layout::PCI_WINDOW as u32 + 0x1000 * index)
    };
    for disk in &arguments.disks {
        let module = |name: &str| file(name).ok_or_else(|| format!("there is no module `{name}` that it may read"));
        let disk = match *disk {
            Disk::Module(name) => vm_block::Disk::Image(module(name)?),
            Disk::Changing(name, room) => vm_block::Disk::Changing(vm_block::Overlay::new(module(name)?, room)),
            Disk::Memory(size) => vm_block::Disk::Memory(vec![0; size].into_boxed_slice()),
        };
        let (ports, table) = place(all.len());
        all.push(Pci::boxed(vm_block::Block::new(disk), ports, table));
    }
    if let (Some(number), Some(link)) = (arguments.net, link) {
        let (ports, table) = place(all.len());
        // An address that its owner makes up, by its second bit.
        all.push(Pci::boxed(vm_net::Net::new(link::Plug(link), [2, 0, 0, 0, 0, number]), ports, table));
    }
    if arguments.rng {
        let (ports, table) = place(all.len());
        all.push(Pci::boxed(vm_rng::Entropy(host::Random::default()), ports, table));
    }
    if arguments.console {
        let (ports, table) = place(all.len());
        all.push(Pci::boxed(vm_console::Console::default(), ports, table));
    }
    Ok(all)
}

/// Loads what the arguments name.
fn load(memory: &Ram, arguments: &Arguments<'_>, tsc_khz: u32) -> Result<Boot, String> {
    let module = |name: &str| file(name).ok_or_else(|| format!("there is no module `{name}` that it may read"));
    let loaded = if let Some(name) = arguments.kernel {
        let initial = arguments.initial.map_or(Ok(&[][..]), module)?;
        let command_line = format!("{} {}", arguments.command_line, hints(tsc_khz));
        let guest = linux::Guest { kernel: module(name)?, initial, command_line: &command_line, cpus: arguments.cpus };
        linux::load(memory, &guest)
    } else if let Some(name) = arguments.multiboot {
        let modules: Result<Vec<_>, String> =
            arguments.modules.iter().map(|name| module(name).map(|bytes| (bytes, *name))).collect();
        multiboot::load(memory, module(name)?, &modules?, arguments.command_line, arguments.cpus)
    } else {
        return Err("its arguments name neither `kernel=` nor `multiboot=`".into());
    };
    loaded.map_err(|error| format!("{error}"))
}

/// What Linux need not measure.
fn hints(tsc_khz: u32) -> String {
    format!("tsc_early_khz={tsc_khz} lpj={} tsc=reliable no_timer_check", u64::from(tsc_khz) * 1000 / 250)
}
