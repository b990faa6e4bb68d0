//! Interrupts as semaphores.
//!
//! Purpose: each of the 192 interrupts, from a pin or by message, ups a semaphore of the hypervisor's own space, or what
//! that is chained to; the hypercall that assigns one to a core.
//! Invariants: the semaphores never end: their root capabilities stay in the hypervisor's space, which nobody can name.
//! What an interrupt is chained to has a reference from it.
//! Concurrency: an interrupt arrives on the core that it is assigned to; assigned and acknowledged from all cores.
//! Source: interface §5 ("assign_gsi", "sm_ctrl"), §7 and §8; `docs/src/decisions/0008-vectors.md`.
use crate::create::publish_new;
use crate::lifetime::{self, Counted};
use crate::log::warning;
use crate::mapping::lock;
use crate::slots::named;
use crate::tables::HARDWARE;
use crate::{cores, scheduler, semaphore};
use abi::hip::CPU_SLOTS;
use abi::operation::InterruptFlags;
use abi::rights::SemaphoreRights;
use abi::{Request, Rights, Selector, Status, VirtAddr};
use arch::io_apic::{self, INTERRUPTS, LEVEL, LOW};
use arch::vector::DEVICE_FIRST;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use memory::region::Region;
use objects::frame::Frame;
use objects::{Context, Domain, Ref, Semaphore, Store};
use sync::Spin;

static SEMAPHORES: [AtomicU64; INTERRUPTS] = [const { AtomicU64::new(0) }; INTERRUPTS];
/// Where devices that send messages have their configuration.
static DEVICES: Spin<[Region; 8]> = Spin::new([Region { start: 0, end: 0 }; 8]);
/// Largest id of a local controller that a message or an entry can name without interrupt remapping.
const LARGEST_ID: u32 = 254;
/// "Chain it to what it is chained to."
const LEAVE: u64 = u64::MAX;

/// Notes where devices have their configuration.
pub fn add_devices(region: Region) {
    match DEVICES.lock().iter_mut().find(|slot| slot.is_empty()) {
        Some(slot) => *slot = region,
        None => warning!("devices with configuration from {:#x} on cannot be assigned messages", region.start),
    }
}

/// Puts the semaphores of all interrupts into the hypervisor's space.
///
/// # Errors
/// Its quota is exhausted.
pub fn claim(store: &Store<'_>, hypervisor: Ref<Domain>) -> Result<(), Status> {
    for (number, slot) in (0..).zip(&SEMAPHORES) {
        let semaphore = lifetime::add(store, hypervisor, || Semaphore::interrupt(number))?;
        slot.store(semaphore.to_word(), Relaxed);
        let at = Selector::new(CPU_SLOTS as u64 + u64::from(number));
        publish_new(store, hypervisor, at, SemaphoreRights::all().into(), semaphore)?;
    }
    Ok(())
}

/// A device interrupt has arrived on this core; false if nobody wants it.
pub fn arrived(vector: u8) -> bool {
    let number = vector - DEVICE_FIRST;
    // SAFETY: in the kernel, interrupts off; the store is local to this function.
    let store = unsafe { arch::pool::store() };
    let word = SEMAPHORES.get(usize::from(number)).map_or(0, |slot| slot.load(Relaxed));
    let semaphore = store.reference(word).filter(|_| io_apic::arrive(number));
    semaphore.inspect(|&semaphore| semaphore::up(&store, semaphore)).is_some()
}

/// Assigns the interrupt at `selector` to the core in RDX and chains it to what RAX names. For an interrupt without a pin
/// RSI is 0, or where the caller sees the configuration of the device that is to send it.
///
/// # Errors
/// As the interface has them.
pub fn assign(store: &Store<'_>, caller: &Context, request: Request, frame: &Frame) -> Result<(), Status> {
    let core = u32::try_from(frame.rdx.get()).ok().and_then(cores::remote);
    let core = core.map(|(_, id)| id).filter(|&id| id <= LARGEST_ID).ok_or(Status::BadCpu)?;
    let semaphore_at = |selector| named::<Semaphore>(store, selector, Rights::NONE);
    let interrupt = semaphore_at(request.selector.number())?;
    let number = store.get(interrupt).number().ok_or(Status::BadCapability)?;
    let target = match frame.rax.get() {
        LEAVE => None,
        selector => Some(semaphore_at(selector)?),
    };
    if target == Some(interrupt) {
        chain(store, interrupt, None);
        return Ok(());
    }
    if target.is_some_and(|target| store.get(target).number().is_some()) {
        return Err(Status::BadCapability);
    }
    let device = frame.rsi.get();
    if device != 0 && (io_apic::has_pin(number) || !is_device(store.get(caller.identity().domain), device)) {
        return Err(Status::BadDevice);
    }
    if let Some(target) = target {
        if !store.get(target).references.acquire() {
            return Err(Status::BadCapability);
        }
        chain(store, interrupt, Some(target));
    }
    let flags = InterruptFlags::from_bits_retain(request.flags);
    let bit = |flag, bit| if flags.contains(flag) { bit } else { 0 };
    let mode = bit(InterruptFlags::LEVEL, LEVEL) | bit(InterruptFlags::LOW, LOW);
    let mode = flags.contains(InterruptFlags::CONFIGURE).then_some(mode);
    let (address, data) = io_apic::assign(number, mode, core as u8).unwrap_or((0, 0));
    frame.rsi.set(address.into());
    frame.rdx.set(u64::from(address) << 32 | u64::from(data));
    Ok(())
}

/// Chains an interrupt to `target`, with a reference to it, and passes on what has arrived.
fn chain(store: &Store<'_>, interrupt: Ref<Semaphore>, target: Option<Ref<Semaphore>>) {
    let it = store.get(interrupt);
    if let Some(before) = it.chain(target) {
        Counted::Semaphore(before).release(store);
    }
    while let Some(waiter) = it.replay(store) {
        scheduler::resume(store, waiter, Status::Success);
    }
}

/// Whether `domain` sees the configuration of a device at `address`.
fn is_device(domain: &Domain, address: u64) -> bool {
    let virt = VirtAddr::new(address);
    let _region = lock::of(domain, domain);
    // The upper half of the directory leads to capabilities.
    let shown = Some(virt).filter(|virt| virt.is_user()).and_then(|virt| domain.master().lookup(&HARDWARE, virt));
    shown.is_some_and(|(phys, ..)| DEVICES.lock().iter().any(|region| region.contains(phys.get())))
}
