//! The I/O interrupt controllers: which interrupt goes where, and in which mode.
//!
//! Purpose: global interrupt numbers as pins of controllers; masking, routing, and what a message of an interrupt
//! without a pin looks like.
//! Invariants: an interrupt arrives only after it was assigned; a level-triggered one that has arrived is masked until
//! [`unmask`]; entries hold vector 32 plus the number, delivered to one core by its id.
//! Concurrency: index and data register belong together, so entries are written under one lock, by any core. The
//! registers are shown in the core's window for each access: that costs an entry and a flush, little beside the access,
//! and no address of the kernel's shows a device all the time.
//! Source: Intel 82093AA data sheet, §3; Intel SDM volume 3, §11.11 (messages); interface §5 ("assign_gsi") and §8.
use crate::{vector, window::View};
use abi::PhysAddr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use memory::format::Attributes;
use sync::Spin;

/// How many interrupts there are.
pub const INTERRUPTS: usize = (vector::DEVICE_LAST - vector::DEVICE_FIRST) as usize + 1;

const INDEX: usize = 0;
const DATA: usize = 0x10;
const VERSION: u32 = 1;
const FIRST_ENTRY: u32 = 0x10;
/// Of an entry: active low,
pub const LOW: u32 = 1 << 13;
/// triggered by level,
pub const LEVEL: u32 = 1 << 15;
const MASKED: u32 = 1 << 16;
const DESTINATION_SHIFT: u32 = 24;
const MESSAGES: u32 = 0xFEE0_0000;

static LOCK: Spin<()> = Spin::new(());
/// Of each interrupt: physical address of its controller, shifted by 8, and pin, 0 for none; [`LOW`], [`LEVEL`] and [`MASKED`]
/// as in the entry. What was never assigned is masked, pin or not.
static TABLE: [(AtomicU64, AtomicU32); INTERRUPTS] =
    [const { (AtomicU64::new(0), AtomicU32::new(MASKED | LEVEL | LOW)) }; INTERRUPTS];

fn of(number: u8) -> &'static (AtomicU64, AtomicU32) {
    &TABLE[usize::from(number) % INTERRUPTS]
}

fn show(base: u64) -> Option<View> {
    let attributes = Attributes::READ | Attributes::WRITE | Attributes::UNCACHED;
    View::new(PhysAddr::new(base)?, 0x20, attributes)
}

/// Takes over the controller at `base`, whose first pin is interrupt `first`: masks all its pins. False if it cannot be
/// reached. Boot core, before other cores start.
///
/// # Safety
/// The registers of an I/O interrupt controller, or nothing at all, are there, but no memory.
pub unsafe fn add(base: u64, first: u32) -> bool {
    let Some(view) = show(base) else { return false };
    // SAFETY: the caller vouches for the registers; masking an interrupt touches no memory.
    unsafe {
        view.set_register(INDEX, VERSION);
        let last = view.register(DATA) >> 16 & 0xFF;
        for pin in 0..=last {
            view.set_register(INDEX, FIRST_ENTRY + 2 * pin);
            view.set_register(DATA, MASKED);
            if let Some((place, _)) = TABLE.get(first.saturating_add(pin) as usize) {
                place.store(base << 8 | u64::from(pin), Relaxed);
            }
        }
    }
    true
}

/// Sets the mode of an interrupt that nobody has assigned yet: [`LOW`], [`LEVEL`].
pub fn set_default(number: u32, mode: u32) {
    if let Some((_, now)) = TABLE.get(number as usize) {
        now.store(MASKED | mode, Relaxed);
    }
}

/// Whether an interrupt comes from a pin; others are messages.
pub fn has_pin(number: u8) -> bool {
    of(number).0.load(Relaxed) != 0
}

/// Writes the entry of an interrupt, which has a pin; with `core`, the id of a local controller, where it goes as well.
fn write(number: u8, mode: u32, core: Option<u8>) {
    let pin = of(number).0.load(Relaxed);
    let Some(view) = show(pin >> 8) else { return };
    let set = |register: u32, value: u32| {
        // SAFETY: `add` was promised a controller; fixed delivery of a vector that the kernel knows touches no memory.
        unsafe {
            view.set_register(INDEX, FIRST_ENTRY + 2 * (pin as u32 & 0xFF) + register);
            view.set_register(DATA, value);
        }
    };
    let mode = mode | u32::from(vector::DEVICE_FIRST + number);
    if let Some(core) = core {
        // Never half an address.
        set(0, mode | MASKED);
        set(1, u32::from(core) << DESTINATION_SHIFT);
    }
    set(0, mode);
}

/// An interrupt has arrived. A level-triggered one is masked. False if it was to be masked: nobody has assigned it, or it
/// was under way while another core took it; it comes again then if its device still wants it.
#[must_use]
pub fn arrive(number: u8) -> bool {
    let slot = &of(number).1;
    let level = |mode: u32| mode & (MASKED | LEVEL) == LEVEL;
    if level(slot.load(Relaxed)) {
        let _lock = LOCK.lock();
        let mode = slot.load(Relaxed);
        if level(mode) {
            slot.store(mode | MASKED, Relaxed);
            write(number, mode | MASKED, None);
            return true;
        }
    }
    slot.load(Relaxed) & MASKED == 0
}

/// Lets an interrupt that [`arrive`] has masked arrive again. A message is not masked, but before it is assigned.
pub fn unmask(number: u8) {
    let slot = &of(number).1;
    if slot.load(Relaxed) & MASKED != 0 && has_pin(number) {
        let _lock = LOCK.lock();
        let mode = slot.fetch_and(!MASKED, Relaxed) & !MASKED;
        write(number, mode, None);
    }
}

/// Has an interrupt delivered to the core with this id from now on; `mode` replaces [`LOW`] and [`LEVEL`] of one that has a
/// pin. Returns address and data of the message of one that has none, for its device.
#[must_use]
pub fn assign(number: u8, mode: Option<u32>, core: u8) -> Option<(u32, u32)> {
    let slot = &of(number).1;
    let _lock = LOCK.lock();
    if !has_pin(number) {
        slot.store(0, Relaxed);
        return Some((MESSAGES | u32::from(core) << 12, u32::from(vector::DEVICE_FIRST + number)));
    }
    let mode = mode.unwrap_or(slot.load(Relaxed)) & (LEVEL | LOW);
    slot.store(mode, Relaxed);
    write(number, mode, Some(core));
    None
}
