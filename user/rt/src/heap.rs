//! The heap: the memory that the program was given.
//!
//! Invariants: empty until [`add`]; without memory an allocation fails.
//! Concurrency: one lock; see `sync`.
//! Source: the allocator of the crate `talc`.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{NonNull, null_mut};

use talc::{ErrOnOom, Span, Talc};

use crate::startup::{HEAP as HEAP_START, Startup};
use crate::sync::Mutex;

struct Heap(Mutex<Talc<ErrOnOom>>);

// SAFETY: the lock makes threads take turns; the allocator holds addresses only within the memory it was given.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap(Mutex::new(Talc::new(ErrOnOom)));

/// Gives `size` bytes from `start` on to the heap.
///
/// # Safety
/// They are mapped, writable, and nobody else's until the program ends.
pub unsafe fn add(start: usize, size: usize) {
    let memory = Span::from_base_size(core::ptr::with_exposed_provenance_mut(start), size);
    // SAFETY: says the caller. Memory too small for the allocator's own data is not taken.
    let _ = unsafe { HEAP.0.lock().claim(memory) };
}

/// Gives the heap what the root partition mapped for it.
pub(crate) fn adopt(startup: &Startup) {
    if startup.heap > 0 {
        // SAFETY: the root partition mapped that much there, for this program alone, and this runs once.
        unsafe { add(HEAP_START as usize, startup.heap as usize) };
    }
}

// SAFETY: what the allocator hands out is its own, and disjoint.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the layout is not of size 0 (duty of the caller of `alloc`).
        unsafe { self.0.lock().malloc(layout) }.map_or(null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if let Some(pointer) = NonNull::new(pointer) {
            // SAFETY: it came from `alloc` with this layout (duty of the caller).
            unsafe { self.0.lock().free(pointer, layout) };
        }
    }
}
