//! Settings from the command line, and what the log says first.
//!
//! Purpose: outputs, level, exit port; the platform in words.
//! Invariants: the log works before the command line is known, on the usual outputs.
//! Concurrency: boot core, before other cores start.
//! Source: `docs/src/command-line.md`; lecture-independent.
use crate::log::{debug, info, warning};
use crate::{stop, translations};
use arch::features::Features;
use arch::serial;
use console::Level;
use core::fmt;
use firmware::boot_info::BootInfo;
use firmware::options::Options;

/// COM1.
const USUAL_PORT: u16 = 0x3F8;

/// Entries of the memory map that are logged; more than any sane machine has.
const SHOWN: usize = 128;

/// Starts the log on the usual outputs.
pub fn start_log() {
    serial::use_serial(USUAL_PORT);
    serial::use_debug_console(true);
    console::start(serial::write);
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
    if options.naive_shootdown {
        translations::be_naive();
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
    let Features { vendor, signature: (family, model, stepping), physical_bits, .. } = features;
    let (loader, firmware) = (boot.loader(), if boot.efi_system_table().is_some() { "UEFI" } else { "BIOS" });
    info!("Vela {}, API version {}", env!("CARGO_PKG_VERSION"), abi::API_VERSION);
    info!(
        "platform: {vendor:?} processor, family {family:#x} model {model:#x} stepping {stepping}, {physical_bits} address bits, {firmware}, loaded by {loader}"
    );
    let flags = [
        (features.smep, "SMEP"),
        (features.smap, "SMAP"),
        (features.umip, "UMIP"),
        (features.global_pages, "global pages"),
        (translations::has_tags(), "PCID"),
        (features.x2apic, "x2APIC"),
        (features.tsc_deadline, "TSC deadline"),
        (features.invariant_tsc, "invariant TSC"),
        (features.xsave, "XSAVE"),
        (features.svm, "SVM"),
        (features.vmx, "VMX"),
    ];
    let there = flags.iter().filter(|(there, _)| *there);
    info!("features: NX{}", fmt::from_fn(|f| there.clone().try_for_each(|(_, name)| write!(f, ", {name}"))));
    info!("command line: {}", boot.command_line());
    for area in boot.memory().take(SHOWN) {
        let kind =
            ["usable", "reserved", "ACPI tables", "ACPI storage", "defective"].get(area.kind.wrapping_sub(1) as usize);
        let (last, kind) = (area.base + area.length - 1, kind.unwrap_or(&"reserved"));
        info!("memory map: {:#014x}-{last:#014x} {kind}", area.base);
    }
    for module in boot.modules() {
        debug!("module: {:#x}-{:#x} {}", module.start, module.end, module.command_line);
    }
}
