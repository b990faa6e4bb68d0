//! Memory that the root partition has mapped for the program: modules, and the memory of its guest.
//!
//! Invariants: modules do not change. The guest's memory does at any time, so it is never referred to, but copied word by
//! word with atomic accesses.
//! Concurrency: any thread; a copy is as coherent as its words are.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::parent;
use crate::startup::{File, GUEST};

/// The contents of the module `name`; `None` if the program may not read one of this name.
#[must_use]
pub fn file(name: &str) -> Option<&'static [u8]> {
    let File { address, size, .. } =
        parent::startup()?.files.iter().find(|file| !name.is_empty() && *file.name == *name)?;
    let start = core::ptr::with_exposed_provenance(*address as usize);
    // SAFETY: the root partition mapped that much there, read-only and for as long as the program lives, and said so in
    // the page that it wrote.
    Some(unsafe { core::slice::from_raw_parts(start, *size as usize) })
}

/// The memory of the program's guest.
#[derive(Clone, Copy, Debug)]
pub struct GuestMemory {
    size: u64,
}

impl GuestMemory {
    /// That of this program; `None` if it has no guest.
    #[must_use]
    pub fn granted() -> Option<Self> {
        let size = parent::startup()?.guest;
        (size > 0).then_some(Self { size })
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Copies from `address` on; whether all of it is memory.
    pub fn read(&self, address: u64, to: &mut [u8]) -> bool {
        if !self.contains(address, to.len()) {
            return false;
        }
        let mut at = address;
        let (head, rest) = to.split_at_mut(Self::head(address, to.len()));
        for byte in head {
            *byte = self.byte(at).load(Ordering::Relaxed);
            at += 1;
        }
        let mut words = rest.chunks_exact_mut(8);
        for word in &mut words {
            word.copy_from_slice(&self.word(at).load(Ordering::Relaxed).to_le_bytes());
            at += 8;
        }
        for byte in words.into_remainder() {
            *byte = self.byte(at).load(Ordering::Relaxed);
            at += 1;
        }
        true
    }

    /// Copies to `address` on; whether all of it is memory.
    pub fn write(&self, address: u64, from: &[u8]) -> bool {
        if !self.contains(address, from.len()) {
            return false;
        }
        let mut at = address;
        let (head, rest) = from.split_at(Self::head(address, from.len()));
        for byte in head {
            self.byte(at).store(*byte, Ordering::Relaxed);
            at += 1;
        }
        let (words, tail) = rest.as_chunks::<8>();
        for word in words {
            self.word(at).store(u64::from_le_bytes(*word), Ordering::Relaxed);
            at += 8;
        }
        for byte in tail {
            self.byte(at).store(*byte, Ordering::Relaxed);
            at += 1;
        }
        true
    }

    fn contains(&self, address: u64, length: usize) -> bool {
        address.checked_add(length as u64).is_some_and(|end| end <= self.size)
    }

    /// Bytes before the first aligned word.
    fn head(address: u64, length: usize) -> usize {
        (address.wrapping_neg() as usize & 7).min(length)
    }

    fn byte(&self, at: u64) -> &AtomicU8 {
        debug_assert!(at < self.size);
        // SAFETY: callers pass addresses within the memory, which is mapped there for as long as the program lives; it is
        // used with atomic accesses only.
        unsafe { AtomicU8::from_ptr(core::ptr::with_exposed_provenance_mut((GUEST + at) as usize)) }
    }

    fn word(&self, at: u64) -> &AtomicU64 {
        debug_assert!(at < self.size && at.is_multiple_of(8));
        // SAFETY: as above; aligned, and the size of the memory is a multiple of a page.
        unsafe { AtomicU64::from_ptr(core::ptr::with_exposed_provenance_mut((GUEST + at) as usize)) }
    }
}
