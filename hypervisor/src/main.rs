//! Vela's kernel: what the boot core does from the first instruction of Rust to the root program.
//!
//! Purpose: bring the machine up, in the order of [`bring_up`], and say in words where that fails.
//! Invariants: each step uses only what the steps before have made; nothing that comes from the boot loader, the
//! firmware or a module can panic the kernel.
//! Concurrency: the boot core runs this alone; the others are started in the middle and halt until there is work.
//! Source: design plan §3; `docs/src/architecture.md`.
#![no_std]
#![no_main]
// UNSAFETY: entry points of assembly, and the steps of boot that hand memory from one owner to the next.
#![expect(unsafe_code, reason = "entry points and hand-over of memory at boot")]

mod accounts;
mod cache;
mod call;
mod clock;
mod context_control;
mod contexts;
mod cores;
mod create;
mod domain;
mod exhausted;
mod fast;
mod hypercall;
mod information;
mod interrupt;
mod items;
mod later;
mod lifetime;
mod log;
mod machine;
mod mapping;
mod migrate;
mod msr;
mod physical;
mod pool;
mod power;
#[cfg(feature = "selftest")]
mod provoke;
mod reclaim;
mod remote;
mod report;
mod root;
mod scheduler;
mod semaphore;
mod settings;
#[cfg(feature = "shadow")]
mod shadow;
mod slots;
mod stop;
mod svm;
mod switch;
mod tables;
mod tidy;
mod translations;
mod trap;
mod vcpu;
mod vectors;
mod views;
mod vmx;

use abi::PhysAddr;
use arch::apic;
use arch::boot::BootTable;
use arch::features::Features;
use arch::window::{self, View};
use arch::{control, cpu, descriptors, pic};
use firmware::boot_info::{self, BootInfo};
use firmware::options::Options;
use information::Facts;
use memory::format::Attributes;
use memory::region::Region;
use stop::give_up;
use tables::{CorePages, MachineTables};

/// First Rust code of the boot core: on its final stack, in the boot tables. `information` is the physical address of
/// the boot information.
// SAFETY: the name is used once, by the assembly that calls it with this signature.
#[unsafe(no_mangle)]
extern "C" fn kernel_start(information: u32) -> ! {
    let features = Features::detect();
    // SAFETY: boot/entry.s has set up no-execute tables, stacks and the core-local page; this runs once, alone.
    unsafe {
        descriptors::build_gates();
        control::enable(&features);
        descriptors::load();
        window::install(BootTable::Window.address(), 512);
    }
    window::set_physical_bits(features.physical_bits);
    settings::start_log();
    pic::silence();
    let address = PhysAddr::truncate(u64::from(information));
    let view = boot_information(address);
    // SAFETY: the boot loader is done with it, and the pool keeps clear of it.
    let bytes = unsafe { view.bytes() };
    // First of all, because it says how to report what is wrong with the rest.
    let options = settings::apply(boot_info::command_line(bytes));
    let boot = parse(bytes);
    bring_up(&features, &options, boot, Region::from_length(address.get(), bytes.len() as u64))
}

/// Shows the boot information at `address`.
fn boot_information(address: PhysAddr) -> View {
    let show = |length| View::new(address, length, Attributes::READ);
    let header = show(8).unwrap_or_else(|| give_up!("boot information: none at {address}"));
    // SAFETY: as in `kernel_start`.
    let size = boot_info::total_size(unsafe { header.bytes() });
    let size = size.unwrap_or_else(|problem| give_up!("boot information: {problem}"));
    show(size).unwrap_or_else(|| give_up!("boot information: truncated at {address}"))
}

fn parse(bytes: &[u8]) -> BootInfo<'_> {
    BootInfo::parse(bytes).unwrap_or_else(|problem| give_up!("boot information: {problem}"))
}

/// Everything from the boot information to the root program.
fn bring_up(features: &Features, options: &Options<'_>, boot: BootInfo<'_>, information: Region) -> ! {
    if features.tags && !options.no_tags {
        translations::use_tags();
    }
    settings::describe(features, &boot);
    let plan = pool::start(&boot, information, options, features.physical_bits);

    let by_msr = apic::in_msr_mode() || features.x2apic && !options.xapic;
    let largest_id = if by_msr { u32::MAX - 1 } else { 254 };
    let limit = options.cores.unwrap_or(cores::MOST).min(cores::MOST);
    let machine = machine::read(&boot, features.apic_id, largest_id, limit);
    let machine = machine.unwrap_or_else(|problem| give_up!("ACPI: {problem}"));

    // SAFETY: `by_msr` needs x2APIC, and otherwise the tables built next map the page before `start_boot_core` uses it.
    unsafe { apic::choose(by_msr) };
    let local_apic = (!by_msr).then(|| PhysAddr::truncate(apic::base()));
    let [stack, interrupt_stacks, local] = arch::boot::boot_core_pages();
    let shared = MachineTables::build((PhysAddr::truncate(plan.pool.start), plan.pool.length()), local_apic);
    let built = shared.and_then(|shared| {
        let core = shared.core(CorePages { stack, interrupt_stacks, local })?;
        Ok((shared, core))
    });
    let (shared, core) =
        built.unwrap_or_else(|error| give_up!("no kernel memory for page tables ({error:?}); raise kernel-memory="));
    // The boot information's view lives in the boot tables' window, so it is shown again in the core's own.
    // SAFETY: the tables map all that the boot tables map above the user range, stack and core-local page included.
    unsafe {
        cpu::load_root(core.root.get());
        window::install(arch::pool::virt(core.window).unwrap_or(0), tables::WINDOW_PAGES);
    }
    percpu::this().local.root.set(core.root.get());
    views::start_core(&core);
    let shared = views::start(shared);
    let view = boot_information(PhysAddr::truncate(information.start));
    // SAFETY: as in `kernel_start`.
    let boot = parse(unsafe { view.bytes() });

    if cores::start_boot_core(features, machine.cores).is_none() {
        give_up!("no kernel memory for the list of cores; raise kernel-memory=");
    }
    if clock::start(features, &machine).is_none() {
        give_up!("no clock counts: neither CPUID, PM timer nor interval timer tell the time");
    }
    translations::decide(options.flush_threshold, PhysAddr::truncate(plan.pool.start));
    cores::start_others(machine.cores, shared, PhysAddr::truncate(plan.trampoline));
    cores::check_timers();
    #[cfg(feature = "selftest")]
    if let Some(name) = Options::parse(boot.command_line(), |_| {}).provoke {
        provoke::fail(name);
    }
    let facts = Facts { boot, machine: &machine, features, plan: &plan };
    root::start(&facts)
}
