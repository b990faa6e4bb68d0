//! The address space as the plan fixes it, seen from outside: QEMU's monitor
//! shows the page tables that are current on each core.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use xtask::machine::Machine;
use xtask::run::{self, Running};

use crate::case::Case;
use crate::tlb::{self, Page};

/// End of the user range.
const USER_END: u64 = 0x7fff_ffff_f000;
/// The local APIC's page; its successor is the core-local page.
const LOCAL_APIC: u64 = 0xffff_ffff_bfff_e000;
const CORE_LOCAL: u64 = 0xffff_ffff_bfff_f000;
/// The kernel stack's pages end below the local APIC's page.
const STACK_PAGES: u64 = 4;
const STACK: u64 = LOCAL_APIC - STACK_PAGES * 0x1000;
const STACK_GUARD: u64 = STACK - 0x1000;
/// What the kernel has for itself, in every address space: image, pool, a core's own pages; and the window, where other frames
/// are shown for a moment.
const OWN: std::ops::Range<u64> = 0xffff_ffff_8000_0000..0xffff_ffff_c000_0000;
const WINDOW: std::ops::Range<u64> = 0xffff_ffff_df00_0000..0xffff_ffff_e000_0000;
/// How long a machine may take until its program has begun.
const BOOT: Duration = Duration::from_secs(300);
/// How often a machine is stopped while programs come and go.
const STOPS: u32 = 20;
/// Pages whose type is compared.
const MEMORY_TYPES: u32 = 59;
/// Physical address of the local APIC's registers.
const APIC_REGISTERS: u64 = 0xfee0_0000;

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![
        Case::new("layout-4-cores", |context, name| examine(&context.scenario(name, "idle")?)),
        Case::new("layout-1-core", |context, name| examine(&Machine { smp: 1, ..context.scenario(name, "idle")? })),
        Case::new("layout-memory-types", |context, name| {
            memory_types(&Machine { smp: 1, ..context.scenario(name, "combining")? })
        }),
        Case::new("layout-global-churn", |context, name| {
            let machine = Machine { smp: 2, ..context.scenario(name, "churn-long")? };
            never_remapped(&machine, "come and go").map(drop)
        }),
        Case::new("layout-global-hunter", |context, name| {
            let machine = Machine { smp: 2, ..context.scenario(name, "hunter")? };
            let roots = never_remapped(&machine, "whether anybody reads")?;
            ensure!(roots > 2, "all was seen in {roots} address spaces");
            Ok(())
        }),
    ]
}

/// Boots, stops the machine when the root program spins, looks at each core.
fn examine(machine: &Machine) -> Result<()> {
    let mut running = run::start(machine)?;
    running.wait_for("idle", BOOT)?;
    // The remaining cores settle.
    std::thread::sleep(Duration::from_millis(300));
    running.monitor("stop")?;
    let mut frames = HashSet::new();
    let mut stacks = HashSet::new();
    for core in 0..machine.smp {
        running.monitor(&format!("cpu {core}"))?;
        let (local, stack) = core_layout(&mut running).with_context(|| format!("core {core}"))?;
        ensure!(frames.insert(local), "core {core}: another core has the core-local frame {local:#x} too");
        ensure!(stacks.insert(stack), "core {core}: another core has the stack frame {stack:#x} too");
    }
    Ok(())
}

/// Compares the type and the write bit of pages with what the program that has them says of each, `page ADDRESS BITS`.
fn memory_types(machine: &Machine) -> Result<()> {
    let mut running = run::start(machine)?;
    running.wait_for("combining: to be looked at", BOOT)?;
    running.monitor("stop")?;
    let pages = tlb::pages(&running.monitor("info tlb")?).context("`info tlb` is not understood")?;
    let mut compared = 0;
    for line in running.log() {
        let Some((_, said)) = line.split_once("combining: page 0x") else { continue };
        let (address, bits) = said.trim().split_once(' ').with_context(|| format!("not understood: {line}"))?;
        let address = u64::from_str_radix(address, 16)?;
        let page = pages.iter().find(|page| page.covers(address));
        let page = page.with_context(|| format!("no entry for {address:#x}"))?;
        let found = [(page.combining, 'T'), (page.writable, 'W')].map(|(bit, letter)| if bit { letter } else { '-' });
        ensure!(found.iter().eq(&bits.chars().collect::<Vec<_>>()), "{address:#x} should be {bits}: {page:?}");
        ensure!(!page.uncached, "{address:#x} is uncached");
        compared += 1;
    }
    ensure!(compared == MEMORY_TYPES, "{compared} pages compared");
    Ok(())
}

/// Global pages, which a load of CR3 keeps, are never mapped anew, whatever comes and goes: each core shows the same ones at
/// several times after this line, in whatever domain it is found. In how many address spaces cores were.
fn never_remapped(machine: &Machine, line: &str) -> Result<usize> {
    let mut running = run::start(machine)?;
    running.wait_for(line, BOOT)?;
    let (mut first, mut roots) = (BTreeMap::new(), HashSet::new());
    for _ in 0..STOPS {
        std::thread::sleep(Duration::from_millis(50));
        running.monitor("stop")?;
        for core in 0..machine.smp {
            let (root, own) = own_pages(&mut running, core).with_context(|| format!("core {core}"))?;
            roots.insert(root);
            let before = first.entry(core).or_insert_with(|| own.clone());
            ensure!(*before == own, "core {core}: pages of the kernel have changed: {before:?}, then {own:?}");
        }
        running.monitor("cont")?;
    }
    Ok(roots.len())
}

/// What a core has loaded in CR3, and the kernel's own pages there.
fn own_pages(running: &mut Running, core: u32) -> Result<(u64, Vec<Page>)> {
    running.monitor(&format!("cpu {core}"))?;
    let root = tlb::register(&running.monitor("info registers")?, "CR3").context("no CR3")?;
    let mut pages = tlb::pages(&running.monitor("info tlb")?).context("`info tlb` is not understood")?;
    global(&pages)?;
    pages.retain(|page| OWN.contains(&page.address));
    Ok((root, pages))
}

/// Exactly the kernel's own pages, and what its window shows, are global; not what it has for each domain.
fn global(pages: &[Page]) -> Result<()> {
    for page in pages {
        let own = OWN.contains(&page.address) || WINDOW.contains(&page.address);
        ensure!(page.global == own, "the page at {:#x} has global bit {}", page.address, page.global);
    }
    Ok(())
}

/// Checks the current core; returns the frames of its core-local page and of its stack's top page.
fn core_layout(running: &mut Running) -> Result<(u64, u64)> {
    let registers = running.monitor("info registers")?;
    control_bits(&registers)?;
    let answer = running.monitor("info tlb")?;
    let pages = tlb::pages(&answer).context("`info tlb` is not understood")?;
    rights(&pages)?;
    global(&pages)?;
    let ranges = tlb::ranges(&running.monitor("info mem")?).context("`info mem` is not understood")?;
    for (start, end, user) in ranges {
        ensure!(!user || end <= USER_END, "user memory from {start:#x} to {end:#x} reaches beyond the user range");
    }
    places(&pages)
}

/// Paging with NX, write protection; SMEP, SMAP and UMIP, which this machine has; no FSGSBASE.
fn control_bits(registers: &str) -> Result<()> {
    let value = |name| tlb::register(registers, name).with_context(|| format!("no {name} in {registers}"));
    let (cr0, cr4, efer) = (value("CR0")?, value("CR4")?, value("EFER")?);
    for (register, bit, name) in [
        (cr0, 31, "CR0.PG"),
        (cr0, 16, "CR0.WP"),
        (efer, 11, "EFER.NXE"),
        (efer, 10, "EFER.LMA"),
        (efer, 0, "EFER.SCE"),
    ] {
        ensure!(register >> bit & 1 == 1, "{name} is off");
    }
    for (bit, name) in [(7, "PGE"), (11, "UMIP"), (20, "SMEP"), (21, "SMAP")] {
        ensure!(cr4 >> bit & 1 == 1, "CR4.{name} is off (CR4={cr4:#x})");
    }
    ensure!(cr4 >> 16 & 1 == 0, "CR4.FSGSBASE is on (CR4={cr4:#x})");
    Ok(())
}

/// No page writable and executable; the user bit only in the user range, and all of that range with it.
fn rights(pages: &[Page]) -> Result<()> {
    ensure!(!pages.is_empty(), "no page is mapped");
    for page in pages {
        let at = page.address;
        ensure!(!page.writable_and_executable(), "the page at {at:#x} is writable and executable");
        ensure!(page.user == (at < USER_END), "the page at {at:#x} has user bit {}", page.user);
    }
    Ok(())
}

/// The fixed pages: core-local, stack with its guard, local APIC.
fn places(pages: &[Page]) -> Result<(u64, u64)> {
    let find = |address: u64| pages.iter().find(|page| page.covers(address));
    let data = |address: u64, what: &str| -> Result<u64> {
        let page = find(address).with_context(|| format!("{what} at {address:#x} is not mapped"))?;
        ensure!(!page.large && page.writable && page.no_execute, "{what} at {address:#x} has wrong rights: {page:?}");
        Ok(page.frame)
    };
    let local = data(CORE_LOCAL, "the core-local page")?;
    for index in 0..STACK_PAGES {
        data(STACK + index * 0x1000, "the kernel stack")?;
    }
    if let Some(page) = find(STACK_GUARD) {
        bail!("the guard page below the kernel stack is mapped: {page:?}");
    }
    // With x2APIC the page is unused and unmapped.
    if let Some(page) = find(LOCAL_APIC) {
        ensure!(page.frame == APIC_REGISTERS, "the local APIC's page leads to {:#x}", page.frame);
        ensure!(page.uncached, "the local APIC's page is cached");
        ensure!(page.writable && page.no_execute, "the local APIC's page has wrong rights: {page:?}");
    }
    Ok((local, data(LOCAL_APIC - 0x1000, "the kernel stack")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(address: u64, flags: &str) -> Vec<Page> {
        tlb::pages(&format!("{address:016x}: 0000000001234000 {flags}\n")).unwrap_or_default()
    }

    #[test]
    fn a_writable_and_executable_page_is_found() {
        assert!(rights(&page(0xffff_ffff_8100_0000, "-G-DA---W")).is_err());
        assert!(rights(&page(0xffff_ffff_8100_0000, "XG-DA---W")).is_ok());
        assert!(rights(&page(0xffff_ffff_8100_0000, "-G--A----")).is_ok());
    }

    #[test]
    fn a_user_bit_in_the_kernel_and_a_kernel_page_in_the_user_range_are_found() {
        assert!(rights(&page(0xffff_ffff_8100_0000, "XG-DA--UW")).is_err());
        assert!(rights(&page(0x40_0000, "X--DA--UW")).is_ok());
        assert!(rights(&page(0x40_0000, "X--DA---W")).is_err());
    }

    #[test]
    fn a_global_page_of_a_domain_and_another_one_of_the_kernel_are_found() {
        assert!(global(&page(0xffff_ffff_8100_0000, "-G-DA----")).is_ok());
        assert!(global(&page(0xffff_ffff_8100_0000, "---DA----")).is_err());
        assert!(global(&page(0x40_0000, "X--DA--UW")).is_ok());
        assert!(global(&page(0x40_0000, "XG-DA--UW")).is_err());
        assert!(global(&page(0xffff_ffff_e000_0000, "XG-DA---W")).is_err());
    }

    #[test]
    fn a_mapped_guard_and_a_cached_apic_are_found() {
        let fixed: Vec<Page> = (0..STACK_PAGES)
            .map(|index| STACK + index * 0x1000)
            .chain([CORE_LOCAL])
            .flat_map(|address| page(address, "X--DA---W"))
            .collect();
        assert!(places(&fixed).is_ok());
        let with = |address, flags| [fixed.clone(), page(address, flags)].concat();
        assert!(places(&with(STACK_GUARD, "X--DA---W")).is_err());
        assert!(places(&with(LOCAL_APIC, "X--DA---W")).is_err());
        assert!(places(&fixed[1..]).is_err());
    }
}
