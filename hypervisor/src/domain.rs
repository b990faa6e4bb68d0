//! The root protection domain and its one execution context.
//!
//! Purpose: what runs in ring 3: a master table, the boot core's tables, a port bitmap, a message page and a register
//! frame.
//! Invariants: the port bitmap is all ones where no port was delegated; the context's segments are those of ring 3
//! and its instruction pointer lies in the user range.
//! Concurrency: the root domain runs on the boot core only; its fields are atomics or never change.
//! Source: design plan §3; interface §7; lecture D:281-311.
use crate::log::warning;
use crate::tables::{self, Error, HARDWARE};
use crate::{pool, stop};
use abi::{PhysAddr, VirtAddr};
use arch::frame::Frame;
use capability::{port, window::Range};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};
use memory::format::{Attributes, Host};
use memory::frames::{Order, OutOfMemory};
use memory::space::{self, Sync};
use memory::table::Table;
use sync::Once;

/// A protection domain.
pub struct Domain {
    /// User memory.
    pub master: Table<Host>,
    /// The tables of the boot core.
    pub local: Table<Host>,
    /// Message page of the context.
    pub utcb: PhysAddr,
    /// The two pages of the port bitmap, 0 as long as the domain owns no port.
    ports: AtomicU64,
}

/// An execution context: where its registers are while it does not run.
pub struct Context(UnsafeCell<Frame>);

// SAFETY: the frame is accessed by entry code and the handlers of the one core on which the context runs.
unsafe impl core::marker::Sync for Context {}

impl Context {
    /// A context that starts at `entry` in ring 3 with this stack pointer and first argument. `None` if `entry` is not
    /// in the user range.
    pub fn new(entry: VirtAddr, stack: u64, argument: u64) -> Option<Self> {
        let frame = Frame { rdi: argument, ..Frame::user(entry.get(), stack) };
        entry.is_user().then_some(Self(UnsafeCell::new(frame)))
    }

    /// Runs the context on this core.
    ///
    /// # Safety
    /// It runs on this core only, and its address space is loaded.
    pub unsafe fn run(&'static self) -> ! {
        // SAFETY: the context lives for ever and runs on this core only; its frame was made by `new`, with the segments of
        // ring 3 and an instruction pointer that was checked.
        unsafe {
            arch::descriptors::set_frame(self.0.get());
            arch::entry::leave(self.0.get())
        }
    }
}

static ROOT: Once<Domain> = Once::new();

/// The root domain, once it exists.
pub fn root() -> Option<&'static Domain> {
    ROOT.get()
}

/// Makes the root domain.
pub fn make_root(master: Table<Host>, local: Table<Host>, utcb: PhysAddr) -> &'static Domain {
    ROOT.call_once(|| Domain { master, local, utcb, ports: AtomicU64::new(0) })
}

impl Domain {
    /// Tries to resolve a page fault of ring 3 at `address` that needed `rights`: true if the access may be retried.
    pub fn resolve_fault(&self, address: u64, rights: Attributes) -> bool {
        let virt = VirtAddr::new(address);
        if !virt.is_user() {
            return false;
        }
        match space::sync(&HARDWARE, &self.master, &self.local, virt, &mut pool::table) {
            Ok(Sync::Installed) => space::allows(&HARDWARE, &self.master, virt, rights),
            // The processor forgets the entry that faulted, so a right that is there now is enough (trap T7).
            Ok(Sync::Current) => space::allows(&HARDWARE, &self.local, virt, rights),
            Ok(Sync::Absent) => false,
            Err(error) => {
                warning!("no table for a page fault at {virt}: {error:?}");
                false
            }
        }
    }

    /// Tries to resolve a #GP of ring 3: true if the core showed a stale port bitmap and the access may be retried.
    pub fn resolve_protection(&self) -> bool {
        let bitmap = PhysAddr::truncate(self.ports.load(Ordering::Acquire));
        bitmap.get() != 0 && tables::show_ports(&self.local, bitmap).unwrap_or(false)
    }

    /// Allows `range` of ports. What a core has to do to notice is left to [`Self::resolve_protection`].
    ///
    /// # Errors
    /// The pool is exhausted.
    pub fn allow_ports(&self, range: Range) -> Result<(), OutOfMemory> {
        let mut bitmap = self.ports.load(Ordering::Acquire);
        if bitmap == 0 {
            let order = Order::covering(8192).unwrap_or(Order::MAX);
            let frame = pool::zeroed(order)?;
            // SAFETY: the frame was just handed out to us.
            unsafe { arch::pool::fill(frame.number().get(), order.index() as u32, u64::MAX) };
            bitmap = pool::address(frame).get();
            self.ports.store(bitmap, Ordering::Release);
        }
        let bitmap = PhysAddr::truncate(bitmap);
        for (word, mask) in port::words(range) {
            let page = arch::pool::words(bitmap.offset(word as u64 / 512 * 4096));
            if let Some(word) = page.and_then(|page| page.get(word % 512)) {
                word.fetch_and(!mask, Ordering::Release);
            }
        }
        Ok(())
    }

    /// A word of the context's message page; 0 beyond its end.
    pub fn message_word(&self, index: usize) -> u64 {
        let page = arch::pool::words(self.utcb);
        page.and_then(|page| page.get(index)).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

/// Ends the root domain, which has no handler for what happened; nothing is left to run then.
pub fn root_died(why: core::fmt::Arguments<'_>) -> ! {
    warning!("root program killed: {why}");
    stop::machine(stop::BROKEN, format_args!("the root program died"))
}

/// Maps `size` bytes at `virt` of the domain's master table to `phys`.
///
/// # Errors
/// Occupied, misaligned, or the pool is exhausted.
pub fn map_user(master: &Table<Host>, virt: u64, phys: PhysAddr, size: u64, rights: Attributes) -> Result<(), Error> {
    let attributes = rights | Attributes::READ | Attributes::USER;
    let mapping = memory::table::Mapping { virt: VirtAddr::new(virt), phys, size, attributes };
    master.map(&HARDWARE, mapping, &mut pool::table)
}
