//! The program's own UTCB and the information page: the two areas that the kernel maps for it.
//!
//! Invariants: the addresses come from the kernel at the start and stay valid until the program ends.
//! Concurrency: the UTCB belongs to the program's only thread; the page of information never changes.
//! Source: classic interface, "UTCB" and "Boot, root task, HIP".

use core::mem::offset_of;
use core::sync::atomic::{AtomicUsize, Ordering};

use abi::TypedItem;
use abi::address::PAGE_SIZE;
use abi::hip::{HIP_SIZE, Hip};
use abi::utcb::{Header, Utcb, item_offset};

/// Address of the information page; 0 before the start.
static HIP: AtomicUsize = AtomicUsize::new(0);

/// Notes where the information page is and borrows its bytes: as many as its header says.
///
/// # Safety
/// `address` is that of the information page, which is mapped with the length that its header gives, at least the
/// header's, and never changes; the page before it is the UTCB of the calling thread.
pub(crate) unsafe fn adopt(address: usize) -> &'static [u8] {
    HIP.store(address, Ordering::Relaxed);
    let page = core::ptr::with_exposed_provenance::<u8>(address);
    // SAFETY: the header is mapped, and pages are aligned.
    let length = unsafe { page.add(offset_of!(Hip, length)).cast::<u16>().read() };
    let length = usize::from(length).clamp(size_of::<Hip>(), HIP_SIZE);
    // SAFETY: mapped for that long and never changed, says the caller.
    unsafe { core::slice::from_raw_parts(page, length) }
}

/// The UTCB of the program's thread.
pub(crate) struct OwnUtcb(*mut u8);

impl OwnUtcb {
    /// The UTCB; `None` before the start.
    pub(crate) fn get() -> Option<Self> {
        let address = HIP.load(Ordering::Relaxed).checked_sub(PAGE_SIZE as usize)?;
        Some(Self(core::ptr::with_exposed_provenance_mut(address)))
    }

    /// Writes the counts of words and items.
    pub(crate) fn write_header(&self, header: Header) {
        self.write(offset_of!(Utcb, items), header.word());
    }

    /// Writes typed item `index`, less than [`abi::utcb::MAX_ITEMS`]; others are dropped.
    pub(crate) fn write_item(&self, index: usize, item: TypedItem) {
        if let Some(offset) = item_offset(index) {
            let [range, control] = item.words();
            self.write(offset, range);
            self.write(offset + 8, control);
        }
    }

    fn write(&self, offset: usize, word: u64) {
        debug_assert!(offset.is_multiple_of(8) && offset < PAGE_SIZE as usize);
        // SAFETY: both callers pass offsets of aligned words within the page, and the page is mapped writable for this
        // thread (duty of `adopt`'s caller). Volatile, because the kernel reads it behind the compiler's back.
        unsafe { self.0.add(offset).cast::<u64>().write_volatile(word) }
    }
}
