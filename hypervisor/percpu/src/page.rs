//! What stands in the core-local page.
//!
//! Purpose: the layout; assembly gets its offsets from `offset_of!` on these types.
//! Invariants: exactly one page; all-zero bytes are a valid value; what the exit paths read is in the first cache
//! line; the task state ends the page, so that its I/O-bitmap offset reaches [`layout::IO_BITMAP`] within 16 bits.
//! Concurrency: [`Local`] by its own core, [`Shared`] by all, through atomics, and a lock for the tags.
//! Source: lecture D:335-336; AMD64 manual volume 2, §12.2.5 (64-bit TSS); `docs/src/decisions/0005-core-local-page.md`.
use crate::task_state::{GDT_ENTRIES, SELECTOR_TSS, TaskState};
use abi::counter::Counter;
use abi::event::VCPU_EVENTS;
use core::cell::Cell;
use core::mem::{offset_of, size_of};
use guest::tags::Tags;
use memory::layout;
use memory::quota::Quota;
use memory::shootdown::Core;
use memory::space::cache::Ring;
use memory::space::empty::Emptied;
use memory::tags::Tags as Views;
use schedule::{Inbox, Reader, ReadyQueue};
use sync::atomic::{AtomicU64, Ordering};
use sync::{Chain, Hazards, Mark};
use timeouts::Timeouts;

/// Things that a core must look at before it leaves the kernel, one bit each.
///
/// The exit paths test the whole word against 0 and handle what is set; every path out of the kernel does, returns to
/// user level and VM entries alike (`docs/src/decisions/0006-hazards.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hazard {
    /// Another context may have to run.
    Schedule = 1,
    /// Somebody waits until this core has no borrow of an object from before.
    Grace = 1 << 5,
    /// Objects have ended on this core.
    Ended = 1 << 6,
    /// What this core has taken without waiting is used by nobody any more.
    Landed = 1 << 7,
}

/// State that only its own core touches.
#[repr(C)]
pub struct Local {
    frame: Cell<u64>,
    /// Number of this core, 0 for the one that booted; dense.
    pub id: Cell<u32>,
    /// Local APIC id.
    pub apic_id: Cell<u32>,
    /// Reference (see the context's store) to the current context, 0 if none.
    pub current: Cell<u64>,
    /// Physical address of the area whose contents are in the vector registers, 0 if nobody's are.
    pub vectors: Cell<u64>,
    window: Cell<Window>,
    /// Physical address of the core's own top-level table, which maps no user memory.
    pub root: Cell<u64>,
    /// Reference to the scheduling context on whose time the core runs, 0 if it idles.
    pub scheduling: Cell<u64>,
    /// Virtual address of the tables that are loaded, of a domain, while nothing but the frame changes when a context that
    /// runs on them is switched to; otherwise 0.
    pub plain: Cell<u64>,
    /// Reference to the context of `scheduling` while nothing is parked, otherwise all ones; 0 before a context runs only.
    pub payer: Cell<u64>,
    /// TSC value that the timer is set to; the greatest if it is not.
    pub armed: Cell<u64>,
    /// TSC value from which on that time is not charged yet.
    pub since: Cell<u64>,
    /// Scheduling contexts that can run.
    pub ready: ReadyQueue,
    /// Scheduling contexts that were chosen and found nothing to run.
    pub parked: ReadyQueue,
    /// Contexts that wait for a deadline.
    pub timeouts: Timeouts,
    /// What was taken out of the inbox.
    pub arrived: Reader,
    /// Nesting depth of fault reports, so that a fault within a report stops the machine at once.
    pub faults: Cell<u32>,
    /// Interrupts that nobody asked for.
    pub spurious: Cell<u32>,
    /// Whether ring 3 may use the vector registers: CR0.TS is clear.
    pub vectors_available: Cell<bool>,
    /// Whether `vectors` is of a virtual CPU, and no switch has to care.
    pub guest_vectors: Cell<bool>,
    /// Objects that this core has seen the last reference to go of, and that are not prepared to go yet.
    pub ended: Chain,
    /// Those that are prepared, and wait until no core can have a borrow of them.
    pub unseen: Chain,
    /// Tables that this core has taken out of domains, and that others may still walk.
    pub emptied: Emptied,
    /// SVM: physical address of what virtual CPUs leave of the host's state while they run. VMX: of the current control
    /// structure. 0 if there is none.
    pub host_state: Cell<u64>,
    /// VMX: an exit has cut the limit of the task register.
    pub task_cut: Cell<bool>,
    /// The tags of their translations.
    pub tags: Tags,
    /// All of them are to be given back now.
    pub tidy: Cell<bool>,
    /// Reference to the semaphore to be upped when that is so, 0 if none.
    pub awaiting: Cell<u64>,
    /// Whether something of another core was told to end, and may not know it yet.
    pub ends: Cell<bool>,
}

/// The temporal window of a core.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Window {
    /// Address of the window's tables, in the pool or the image.
    pub tables: u64,
    /// Number of pages that the window can show.
    pub pages: u32,
    /// First page of the window that is free, as are all after it.
    pub next: u32,
}

impl Local {
    /// The temporal window.
    pub fn window(&self) -> Window {
        self.window.get()
    }

    /// Replaces the temporal window.
    ///
    /// # Safety
    /// The tables are this core's, in use for the window, and have entries for all pages; no mapping at or above `next`
    /// is in use.
    pub unsafe fn set_window(&self, window: Window) {
        self.window.set(window);
    }
}

/// Tags that a core uses. Processors remember little of more domains than these.
const TAGS: usize = 32;

/// State that other cores write or read.
#[repr(C, align(64))]
pub struct Shared {
    /// The hazard word: bits of [`Hazard`].
    pub hazard: Hazards,
    /// What the core counts; only the core itself writes.
    counters: [AtomicU64; Counter::COUNT],
    exits: [AtomicU64; VCPU_EVENTS as usize],
    /// What it has loaded, and is to forget.
    pub core: Core,
    /// Which of its views has which tag.
    pub tags: Views<TAGS>,
    /// Those that have tables of user memory,
    pub views: Ring,
    /// and who pays for these.
    pub account: Quota,
    /// Directory of GiB 510 and tables of the temporal window, for new address spaces of this core; 0 before it has them.
    pub tables: [AtomicU64; 2],
    /// Whether it works on a part of the mapping tree.
    pub mark: Mark,
    /// Scheduling contexts of this core that other cores made ready.
    pub inbox: Inbox,
}

impl Shared {
    /// Counts what has happened on the calling core, whose page this is.
    #[inline]
    pub fn count(&self, counter: Counter, times: u64) {
        let counter = &self.counters[counter as usize];
        counter.store(counter.load(Ordering::Relaxed) + times, Ordering::Relaxed);
    }

    /// Counts that a virtual CPU has left, for the reason of `event`.
    #[inline(always)]
    pub fn count_exit(&self, event: u8) {
        let counter = &self.exits[usize::from(event)];
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// What the counter with this number says, if there is one.
    pub fn counted(&self, number: u64) -> Option<u64> {
        let exits = number.checked_sub(Counter::EXITS).and_then(|event| self.exits.get(event as usize));
        Some(exits.or_else(|| self.counters.get(number as usize))?.load(Ordering::Relaxed))
    }

    /// Makes the core look at `hazard` before it leaves the kernel the next time.
    pub fn raise(&self, hazard: Hazard) {
        self.hazard.raise(hazard as u32);
    }

    /// Takes `hazard`: whether it was pending. It is not any more.
    pub fn take(&self, hazard: Hazard) -> bool {
        self.hazard.take(hazard as u32)
    }

    /// Whether anything is pending.
    #[inline]
    pub fn any(&self) -> bool {
        self.hazard.raised() != 0
    }

    /// Whether `hazard` is pending.
    pub fn pending(&self, hazard: Hazard) -> bool {
        self.hazard.raised() & hazard as u32 != 0
    }
}

const FIXED: usize = size_of::<Local>().next_multiple_of(64) + size_of::<Shared>();
const TAIL: usize = size_of::<TaskState>() + GDT_ENTRIES * 8;

/// The page.
#[repr(C, align(4096))]
pub struct CoreLocal {
    /// What only this core touches.
    pub local: Local,
    /// What other cores may touch.
    pub shared: Shared,
    reserved: [u8; 4096 - FIXED - TAIL],
    gdt: [Cell<u64>; GDT_ENTRIES],
    task: Cell<TaskState>,
}

impl CoreLocal {
    /// Offset of the address of the current register frame, for entry code.
    pub const FRAME: usize = offset_of!(Self, local) + offset_of!(Local, frame);
    /// Offset of the hazard word, for exit paths.
    pub const HAZARD: usize = offset_of!(Self, shared) + offset_of!(Shared, hazard);
    /// Offset of the address of the host's state.
    pub const HOST_STATE: usize = offset_of!(Self, local) + offset_of!(Local, host_state);
    /// Offset of the global descriptor table.
    pub const GDT: usize = offset_of!(Self, gdt);
    /// Offset of the task state.
    pub const TASK: usize = offset_of!(Self, task);

    /// Fills the global descriptor table and the task state.
    ///
    /// # Safety
    /// The processor has not loaded them yet, or uses none of what changes.
    pub unsafe fn set_descriptors(&self, gdt: [u64; GDT_ENTRIES], task: TaskState) {
        for (slot, value) in self.gdt.iter().zip(gdt) {
            slot.set(value);
        }
        self.task.set(task);
    }

    /// Makes the descriptor of the task state one that can be loaded.
    ///
    /// # Safety
    /// It is loaded next.
    pub unsafe fn mend_task_descriptor(&self) {
        const BUSY: u64 = 1 << 41;
        let slot = &self.gdt[SELECTOR_TSS as usize / 8];
        slot.set(slot.get() & !BUSY);
    }

    /// Makes traps from ring 3 push downwards from `end`, and SYSCALL store upwards from `start`.
    ///
    /// # Safety
    /// The two are start and end of a register frame that stays valid, and is not used otherwise, until the next call.
    pub unsafe fn set_frame(&self, start: u64, end: u64) {
        // SAFETY: a field of a cell, which no reference points into; the structure is packed, so that the field may not be
        // aligned for a reference, but it may be written.
        unsafe { (&raw mut (*self.task.as_ptr()).rsp[0]).write_unaligned(end) };
        self.local.frame.set(start);
    }
}

const _: () = {
    assert!(size_of::<CoreLocal>() == 4096);
    assert!(offset_of!(CoreLocal, task) + size_of::<TaskState>() == 4096);
    assert!(offset_of!(CoreLocal, shared) >= size_of::<Local>());
    // The offset of the I/O bitmap from the task state fits 16 bits.
    assert!(layout::IO_BITMAP - layout::CORE_LOCAL - (offset_of!(CoreLocal, task) as u64) < 1 << 16);
};

/// Compile-time trip-wire: `Local` must not become `Sync`, or a reference could leave its core. If it were, both
/// implementations of the trait below would apply and the constant would be ambiguous.
trait NotSync<Marker> {
    const CHECKED: () = ();
}
struct IfSync;
impl<T: ?Sized> NotSync<()> for T {}
impl<T: ?Sized + Sync> NotSync<IfSync> for T {}
const _: () = <Local as NotSync<_>>::CHECKED;

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> Shared {
        Shared {
            hazard: Hazards::default(),
            counters: Default::default(),
            exits: [const { AtomicU64::new(0) }; VCPU_EVENTS as usize],
            core: Core::default(),
            mark: Mark::default(),
            tags: Views::default(),
            views: Ring::default(),
            account: Quota::new(0),
            tables: Default::default(),
            inbox: Inbox::default(),
        }
    }

    #[test]
    fn what_was_counted_is_found_by_its_number() {
        let shared = shared();
        shared.count(Counter::MsrWrites, 3);
        shared.count_exit(0);
        shared.count_exit(0xFF);
        shared.count_exit(0xFF);
        let numbers = [Counter::MsrWrites as u64, Counter::exits(0), Counter::exits(0xFF), Counter::exits(1)];
        assert_eq!(numbers.map(|number| shared.counted(number)), [Some(3), Some(1), Some(2), Some(0)]);
        let none = [Counter::COUNT as u64, Counter::EXITS - 1, Counter::exits(0xFF) + 1, u64::MAX];
        assert_eq!(none.map(|number| shared.counted(number)), [None; 4]);
    }

    #[test]
    fn every_raised_hazard_is_taken_exactly_once() {
        let shared = shared();
        shared.raise(Hazard::Grace);
        shared.raise(Hazard::Schedule);
        shared.raise(Hazard::Grace);
        assert!(shared.pending(Hazard::Grace));
        assert!(shared.take(Hazard::Grace));
        assert!(!shared.take(Hazard::Grace), "raised twice, taken once");
        assert!(shared.take(Hazard::Schedule));
        assert!(!shared.any());
    }
}
