//! The local interrupt controller of a core.
//!
//! Purpose: identity, end of interrupt, inter-processor interrupts, and the one-shot timer.
//! Invariants: the interface (page or MSRs) is chosen once, by the boot core, for all; every local vector is either
//! masked or one of [`crate::vector`].
//! Concurrency: acts on the calling core's own controller.
//! Source: AMD64 manual volume 2, chapter 16; Intel SDM volume 3, chapter 11; lecture D:207-240.
use crate::{cpu, ratio::Factor, vector};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use memory::layout;
use x86::apic::xapic::{
    XAPIC_EOI as END_OF_INTERRUPT, XAPIC_ESR as ERROR_STATUS, XAPIC_ICR0 as COMMAND, XAPIC_ICR1 as COMMAND_HIGH,
    XAPIC_ID as ID, XAPIC_IRR0 as REQUESTED, XAPIC_ISR0 as IN_SERVICE, XAPIC_LVT_CMCI as LVT_CORRECTED,
    XAPIC_LVT_ERROR as LVT_ERROR, XAPIC_LVT_LINT0 as LVT_LINT0, XAPIC_LVT_LINT1 as LVT_LINT1,
    XAPIC_LVT_PMI as LVT_PERFORMANCE, XAPIC_LVT_THERMAL as LVT_THERMAL, XAPIC_LVT_TIMER as LVT_TIMER,
    XAPIC_SVR as SPURIOUS, XAPIC_TIMER_CURRENT_COUNT as CURRENT_COUNT, XAPIC_TIMER_DIV_CONF as DIVIDE,
    XAPIC_TIMER_INIT_COUNT as INITIAL_COUNT, XAPIC_TPR as TASK_PRIORITY, XAPIC_VERSION as VERSION,
};
use x86::msr;

static MSR_INTERFACE: AtomicBool = AtomicBool::new(false);
static DEADLINE: AtomicBool = AtomicBool::new(false);
static FACTOR: AtomicU64 = AtomicU64::new(0);

const BASE_ENABLE: u64 = 1 << 11;
const BASE_X2APIC: u64 = 1 << 10;

const MASKED: u32 = 1 << 16;
const DELIVER_NMI: u32 = 4 << 8;
const TIMER_DEADLINE: u32 = 2 << 17;
const DIVIDE_BY_16: u32 = 3;
const BUSY: u32 = 1 << 12;
const ASSERT: u32 = 1 << 14;
const ALL_BUT_SELF: u32 = 3 << 18;
const DELIVER_INIT: u32 = 5 << 8;
const DELIVER_STARTUP: u32 = 6 << 8;

fn page(register: u32) -> *mut u32 {
    core::ptr::with_exposed_provenance_mut((layout::LOCAL_APIC + u64::from(register)) as usize)
}

fn read(register: u32) -> u32 {
    if by_msr() { read_msr(register) } else { read_page(register) }
}

fn read_msr(register: u32) -> u32 {
    // SAFETY: an x2APIC register; reading has no effect on memory.
    unsafe { msr::rdmsr(0x800 + (register >> 4)) as u32 }
}

fn read_page(register: u32) -> u32 {
    // SAFETY: the page is mapped uncached at this address on every core before this module is used.
    unsafe { page(register).read_volatile() }
}

fn write(register: u32, value: u32) {
    // SAFETY: local APIC registers cause interrupts, which the kernel is ready for, and nothing else. The page is mapped
    // as above.
    unsafe {
        if by_msr() {
            crate::msr::set(0x800 + (register >> 4), u64::from(value));
        } else {
            page(register).write_volatile(value);
        }
    }
}

/// Physical address at which the processor puts the controller's page.
pub fn base() -> u64 {
    // SAFETY: every 64-bit processor has this register.
    unsafe { msr::rdmsr(msr::IA32_APIC_BASE) & 0x000F_FFFF_FFFF_F000 }
}

/// Whether the firmware has switched on the MSR interface already; then there is no way back to the page.
pub fn in_msr_mode() -> bool {
    // SAFETY: as above.
    unsafe { msr::rdmsr(msr::IA32_APIC_BASE) & BASE_X2APIC != 0 }
}

/// Chooses the interface: MSRs with 32-bit ids, or else an uncached page with 8-bit ids. Called once, before [`enable`].
///
/// # Safety
/// CPUID announces x2APIC for MSRs; the controller's page is mapped uncached at [`layout::LOCAL_APIC`] before anything else
/// in this module is called for a page.
pub unsafe fn choose(by_msr: bool) {
    MSR_INTERFACE.store(by_msr, Ordering::Relaxed);
}

fn by_msr() -> bool {
    MSR_INTERFACE.load(Ordering::Relaxed)
}

/// Switches the calling core's controller on, with everything masked but its errors and NMI.
pub fn enable() {
    let mode = if by_msr() { BASE_ENABLE | BASE_X2APIC } else { BASE_ENABLE };
    // SAFETY: keeps base and boot-core flag, sets the mode that CPUID offers. From disabled to x2APIC the manual demands
    // a step through xAPIC mode, hence two writes.
    unsafe {
        let current = msr::rdmsr(msr::IA32_APIC_BASE);
        crate::msr::set(msr::IA32_APIC_BASE, current | BASE_ENABLE);
        crate::msr::set(msr::IA32_APIC_BASE, current | mode);
    }
    // First the switch: while it is off, writes that unmask local vectors are ignored.
    write(SPURIOUS, 1 << 8 | u32::from(vector::SPURIOUS));
    write(TASK_PRIORITY, 0);
    let last = read(VERSION) >> 16 & 0xFF;
    let other = MASKED | u32::from(vector::LOCAL_OTHER);
    for (register, number) in [(LVT_PERFORMANCE, 4), (LVT_THERMAL, 5), (LVT_CORRECTED, 6)] {
        if last >= number {
            write(register, other);
        }
    }
    write(LVT_TIMER, MASKED | u32::from(vector::TIMER));
    write(LVT_LINT0, other);
    write(LVT_LINT1, DELIVER_NMI);
    write(LVT_ERROR, u32::from(vector::ERROR));
    write(DIVIDE, DIVIDE_BY_16);
    write(ERROR_STATUS, 0);
    // Firmware may have left interrupts in service; each end takes the highest.
    for _ in 0..=u8::MAX {
        if (0..8).all(|word| read(IN_SERVICE + word * 0x10) == 0) {
            break;
        }
        end_of_interrupt();
    }
}

/// The calling core's id.
pub fn id() -> u32 {
    let id = read(ID);
    if by_msr() { id } else { id >> 24 }
}

/// Tells the controller that the interrupt in service is done.
pub fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

/// Whether an interrupt waits for the core to take it.
pub fn is_requested() -> bool {
    // Of the 256 the first 32 are exceptions.
    let mut words = (1..8).map(|word| REQUESTED + word * 0x10);
    if by_msr() { words.any(|word| read_msr(word) != 0) } else { words.any(|word| read_page(word) != 0) }
}

/// Whether the interrupt with this vector is in service, so that [`end_of_interrupt`] is due.
pub fn in_service(vector: u8) -> bool {
    let vector = u32::from(vector);
    read(IN_SERVICE + vector / 32 * 0x10) >> (vector % 32) & 1 != 0
}

/// The errors since the last call, as the controller's error status bits.
#[must_use]
pub fn take_errors() -> u32 {
    write(ERROR_STATUS, 0);
    read(ERROR_STATUS)
}

fn command(target: u32, low: u32) {
    if by_msr() {
        // SAFETY: an inter-processor interrupt. What was stored before must be visible to the target: WRMSR to the
        // x2APIC does not order memory accesses.
        unsafe {
            core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags));
            crate::msr::set(0x830, u64::from(target) << 32 | u64::from(low));
        }
        return;
    }
    for _ in 0..1_000_000 {
        if read(COMMAND) & BUSY == 0 {
            break;
        }
        sync::relax();
    }
    write(COMMAND_HIGH, target << 24);
    write(COMMAND, low);
}

/// Resets the core with this id; it waits for a start-up interrupt then.
///
/// # Safety
/// That core runs nothing that anybody relies on.
pub unsafe fn send_init(target: u32) {
    command(target, DELIVER_INIT | ASSERT);
}

/// Starts the core with this id, which waits after INIT, at physical address `page` × 4096, below 1 MiB.
///
/// # Safety
/// The page holds the trampoline.
pub unsafe fn send_startup(target: u32, page: u8) {
    command(target, DELIVER_STARTUP | ASSERT | u32::from(page));
}

/// Sends an NMI to all cores but this one.
pub fn send_nmi_to_others() {
    command(0, ASSERT | DELIVER_NMI | ALL_BUT_SELF);
}

/// Interrupts the core with this id, to make it look at what others ask of it.
pub fn send_request(target: u32) {
    command(target, ASSERT | u32::from(vector::REQUEST));
}

/// As [`send_request`], to all cores but this one.
pub fn send_request_to_others() {
    command(0, ASSERT | u32::from(vector::REQUEST) | ALL_BUT_SELF);
}

/// Starts the timer's counter, masked, at its maximum, for a calibration.
pub fn start_count() {
    write(INITIAL_COUNT, u32::MAX);
}

/// How far the counter has come since [`start_count`], in timer ticks.
pub fn count() -> u32 {
    u32::MAX - read(CURRENT_COUNT)
}

/// Sets how deadlines become timer programming on all cores: by TSC value, or by a count converted with `factor`.
pub fn set_timer(deadline_mode: bool, factor: Factor) {
    DEADLINE.store(deadline_mode, Ordering::Relaxed);
    FACTOR.store(factor.0, Ordering::Relaxed);
}

/// Prepares this core's timer for [`arm`].
pub fn enable_timer() {
    write(INITIAL_COUNT, 0);
    let mode = if DEADLINE.load(Ordering::Relaxed) { TIMER_DEADLINE } else { 0 };
    write(LVT_TIMER, mode | u32::from(vector::TIMER));
}

/// Asks for a timer interrupt when the TSC reaches `deadline`; at once if it has. With a 32-bit count a far deadline
/// gives an early interrupt, and the caller arms again. A deadline of 0 disarms.
#[inline(never)]
pub fn arm(deadline: u64) {
    if DEADLINE.load(Ordering::Relaxed) {
        // SAFETY: an x2APIC or xAPIC timer register that CPUID announced. The fence orders it after the mode change.
        unsafe {
            core::arch::asm!("mfence", options(nostack, preserves_flags));
            crate::msr::set(msr::IA32_TSC_DEADLINE, deadline);
        }
        return;
    }
    let factor = Factor(FACTOR.load(Ordering::Relaxed));
    let ticks = match deadline {
        0 => 0,
        _ => factor.timer_ticks(deadline.saturating_sub(cpu::time_stamp())),
    };
    write(INITIAL_COUNT, ticks);
}
