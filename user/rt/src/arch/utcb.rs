//! The UTCB of the calling thread, and where it is found: in a record at the top of the thread's stack.
//!
//! Stacks are aligned to their size, so the record follows from the stack pointer.
//! Invariants: threads of the runtime (the first one, those of `thread`, those that serve) run on such stacks only, and
//! the record is written before they run. A context that a program makes behind the runtime's back must not use this.
//! Concurrency: a UTCB belongs to one thread; the value that stands for it cannot leave the thread.
//! Source: classic interface, "UTCB" and "Boot, root task, HIP".

use core::arch::asm;
use core::marker::PhantomData;
use core::mem::offset_of;
use core::sync::atomic::AtomicU64;

use abi::address::PAGE_SIZE;
use abi::arch_state::ArchState;
use abi::hip::{HIP_SIZE, Hip};
use abi::utcb::{Header, Utcb as Layout, WORDS, item_offset};
use abi::{Crd, Selector, TypedItem};

use crate::message::Words;

/// Size and alignment of every stack in bytes.
pub const STACK_SIZE: usize = 32 * 1024;
/// Bytes at the top of a stack that the record takes.
pub(crate) const RECORD_SIZE: usize = 64;

/// What the runtime keeps per thread.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Record {
    /// What the thread was made for: see `thread` and `server`. First, because the entry code reads it at the stack
    /// pointer.
    pub(crate) argument: usize,
    /// Address of the UTCB.
    pub(crate) utcb: usize,
    /// The core it runs on.
    pub(crate) core: u32,
    /// A semaphore that nobody ups: for waiting until a time.
    pub(crate) sleep: u64,
}
const _: () = assert!(size_of::<Record>() == RECORD_SIZE && STACK_SIZE.is_power_of_two());

/// Borrows the bytes of the page at `address`: as many as the header of the information page says.
///
/// # Safety
/// `address` is that of the information page, which is mapped with the length that its header gives, at least the
/// header's, and never changes.
pub(crate) unsafe fn information(address: usize) -> &'static [u8] {
    let page = core::ptr::with_exposed_provenance::<u8>(address);
    // SAFETY: the header is mapped, and pages are aligned.
    let length = unsafe { page.add(offset_of!(Hip, length)).cast::<u16>().read() };
    let length = usize::from(length).clamp(size_of::<Hip>(), HIP_SIZE);
    // SAFETY: mapped for that long and never changed, says the caller.
    unsafe { core::slice::from_raw_parts(page, length) }
}

/// The record of the stack that the caller runs on.
fn record() -> *mut Record {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    core::ptr::with_exposed_provenance_mut((pointer | (STACK_SIZE - 1)) + 1 - RECORD_SIZE)
}

/// Writes the record of the calling thread: the first thing that the program's first thread does.
pub(crate) fn adopt(utcb: usize, core: u32) {
    // SAFETY: the first thread runs on a stack of the right size and alignment, whose top is reserved.
    unsafe { record().write(Record { argument: 0, utcb, core, sleep: 0 }) };
}

/// What the runtime keeps of the calling thread.
pub(crate) fn current() -> Record {
    // SAFETY: written before the thread ran (invariant), changed only by the thread itself.
    unsafe { record().read() }
}

/// Notes the semaphore that the calling thread sleeps on.
pub(crate) fn set_sleep(semaphore: Selector) {
    // SAFETY: as above; nobody else has a reference to it.
    unsafe { (*record()).sleep = semaphore.number() };
}

/// The UTCB of the calling thread: message words, typed items, windows. Neither `Send` nor `Sync`.
#[derive(Debug)]
pub struct Utcb(*mut u8, PhantomData<*mut u8>);

impl Utcb {
    /// The UTCB of the calling thread.
    #[must_use]
    pub fn current() -> Self {
        // SAFETY: the record of the thread that runs names its UTCB.
        unsafe { Self::of(current().utcb) }
    }

    /// The UTCB at `address`.
    ///
    /// # Safety
    /// One is mapped there, and belongs to the calling thread or to a context that does not run.
    pub(crate) unsafe fn of(address: usize) -> Self {
        Self(core::ptr::with_exposed_provenance_mut(address), PhantomData)
    }

    /// Counts of words and items.
    #[must_use]
    pub fn header(&self) -> Header {
        Header::from_word(self.read(offset_of!(Layout, items)))
    }

    /// Writes the counts of words and items.
    pub fn set_header(&mut self, header: Header) {
        self.write(offset_of!(Layout, items), header.word());
    }

    /// Writes typed item `index`, less than [`abi::utcb::MAX_ITEMS`]; others are dropped.
    pub fn set_item(&mut self, index: usize, item: TypedItem) {
        if let Some(offset) = item_offset(index) {
            let [range, control] = item.words();
            self.write(offset, range);
            self.write(offset + 8, control);
        }
    }

    /// Typed item `index` as it was received; null if there is none.
    #[must_use]
    pub fn item(&self, index: usize) -> TypedItem {
        match item_offset(index).filter(|_| index < self.header().items()) {
            Some(offset) => TypedItem::from_words(self.read(offset), self.read(offset + 8)),
            None => TypedItem::from_words(0, 0),
        }
    }

    /// Where the next message may put capabilities.
    pub fn set_window(&mut self, window: Crd) {
        self.write(offset_of!(Layout, delegate_window), window.word());
    }

    fn read(&self, offset: usize) -> u64 {
        debug_assert!(offset.is_multiple_of(8) && offset < PAGE_SIZE as usize);
        // SAFETY: callers pass offsets of aligned words within the page, which is mapped for this thread. Volatile,
        // because the kernel writes it behind the compiler's back.
        unsafe { self.0.add(offset).cast::<u64>().read_volatile() }
    }

    fn write(&mut self, offset: usize, word: u64) {
        debug_assert!(offset.is_multiple_of(8) && offset < PAGE_SIZE as usize);
        // SAFETY: as above.
        unsafe { self.0.add(offset).cast::<u64>().write_volatile(word) }
    }
}

/// Words of a message that an event's state takes.
const STATE_WORDS: usize = size_of::<ArchState>() / 8;

/// Runs `body`, which may make calls, while the calling thread handles an event: the state in its UTCB is afterwards what
/// it was.
pub fn preserve<T>(body: impl FnOnce() -> T) -> T {
    let mut utcb = Utcb::current();
    let header = utcb.header();
    let mut saved = [0; STATE_WORDS];
    for (index, word) in saved.iter_mut().enumerate() {
        *word = utcb.get(index).unwrap_or(0);
    }
    let result = body();
    for (index, word) in saved.into_iter().enumerate() {
        utcb.set(index, word);
    }
    utcb.set_header(header);
    result
}

impl Words for Utcb {
    fn get(&self, index: usize) -> Option<u64> {
        (index < WORDS).then(|| self.read(offset_of!(Layout, words) + 8 * index))
    }

    fn set(&mut self, index: usize, word: u64) -> bool {
        let fits = index < WORDS;
        if fits {
            self.write(offset_of!(Layout, words) + 8 * index, word);
        }
        fits
    }
}

/// The word at the start of the page that those who print share.
///
/// # Safety
/// The page is mapped at `address`, writable, for as long as the program lives.
pub unsafe fn shared_word(address: usize) -> &'static AtomicU64 {
    // SAFETY: says the caller; pages are aligned, and the word is only used as an atomic.
    unsafe { AtomicU64::from_ptr(core::ptr::with_exposed_provenance_mut(address)) }
}
