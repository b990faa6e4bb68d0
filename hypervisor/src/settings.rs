//! Settings from the command line, and what the log says first.
//!
//! Purpose: outputs, level, exit port; the platform in words.
//! Invariants: the log works before the command line is known, on the usual outputs.
//! Concurrency: boot core, before other cores start.
//! Source: `docs/src/command-line.md`; lecture-independent.
use crate::log::{debug, info, warning};
use crate::stop;
use abi::PhysAddr;
use arch::features::{Features, Vendor};
use arch::serial;
use arch::window::View;
use console::Level;
use firmware::boot_info::BootInfo;
use firmware::options::Options;
use memory::format::Attributes;

/// COM1 where the BIOS does not say otherwise.
const USUAL_PORT: u16 = 0x3F8;
/// Where the BIOS keeps the port of the first serial line.
const BIOS_SERIAL: u64 = 0x400;

/// Entries of the memory map that are logged; more than any sane machine has.
const SHOWN: usize = 128;

/// Starts the log on the usual outputs.
pub fn start_log() {
    serial::use_serial(bios_serial().unwrap_or(USUAL_PORT));
    serial::use_debug_console(true);
    console::start(serial::write);
}

/// The serial port that the BIOS found; under UEFI there is no such data, and anything but a known port is ignored.
fn bios_serial() -> Option<u16> {
    let view = View::new(PhysAddr::truncate(BIOS_SERIAL), 2, Attributes::READ)?;
    // SAFETY: memory below 1 MiB that only the BIOS wrote.
    let port = u16::from_le_bytes(*unsafe { view.bytes() }.first_chunk()?);
    [0x3F8, 0x2F8, 0x3E8, 0x2E8].contains(&port).then_some(port)
}

/// Understands and applies the command line.
pub fn apply(line: &str) -> Options<'_> {
    let mut unknown = 0;
    let options = Options::parse(line, |_| unknown += 1);
    if let Some(port) = options.serial {
        serial::use_serial(port);
    }
    if let Some(outputs) = options.console {
        let has = |name| outputs.split(',').any(|output| output == name);
        serial::use_debug_console(has("e9"));
        if !has("serial") {
            serial::use_serial(0);
        }
    }
    match options.log.map(|name| (name, Level::from_name(name))) {
        Some((_, Some(level))) => console::show_up_to(level),
        Some((name, None)) => warning!("command line: no log level is called {name}: error, warn, info or debug"),
        None => {}
    }
    if let Some(port) = options.exit {
        stop::use_exit_port(port);
    }
    if unknown != 0 {
        Options::parse(line, |token| warning!("command line: {token} means nothing to this kernel"));
    }
    #[cfg(not(feature = "selftest"))]
    if options.provoke.is_some() {
        warning!("command line: this kernel was built without self-tests, provoke= does nothing");
    }
    options
}

/// Says what the machine is.
pub fn describe(features: &Features, boot: &BootInfo<'_>) {
    let vendor = match features.vendor {
        Vendor::Intel => "Intel",
        Vendor::Amd => "AMD",
        Vendor::Other => "other",
    };
    let (family, model, stepping) = features.signature;
    let firmware = if boot.efi_system_table().is_some() { "UEFI" } else { "BIOS" };
    info!("Vela {}, API version {}", env!("CARGO_PKG_VERSION"), abi::API_VERSION);
    info!(
        "platform: {vendor} processor, family {family:#x} model {model:#x} stepping {stepping}, {} address bits, {firmware}, loaded by {}",
        features.physical_bits,
        boot.loader()
    );
    let flags = [
        (features.smep, "SMEP"),
        (features.smap, "SMAP"),
        (features.umip, "UMIP"),
        (features.global_pages, "global pages"),
        (features.x2apic, "x2APIC"),
        (features.tsc_deadline, "TSC deadline"),
        (features.invariant_tsc, "invariant TSC"),
        (features.xsave, "XSAVE"),
        (features.svm, "SVM"),
        (features.vmx, "VMX"),
    ];
    info!("features: NX{}", Listed(&flags));
    info!("command line: {}", boot.command_line());
    for area in boot.memory().take(SHOWN) {
        info!("memory map: {:#014x}-{:#014x} {}", area.base, area.base + area.length - 1, kind_name(area.kind));
    }
    for area in boot.oversized_memory().take(SHOWN) {
        warning!("memory map: {:#x} bytes at {:#x} reach beyond 2^52; cut off", area.length, area.base);
    }
    for module in boot.modules() {
        debug!("module: {:#x}-{:#x} {}", module.start, module.end, module.command_line);
    }
}

struct Listed<'a>(&'a [(bool, &'static str)]);

impl core::fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().filter(|(there, _)| *there).try_for_each(|(_, name)| write!(f, ", {name}"))
    }
}

fn kind_name(kind: u32) -> &'static str {
    match kind {
        1 => "usable",
        3 => "ACPI tables",
        4 => "ACPI storage",
        5 => "defective",
        _ => "reserved",
    }
}
