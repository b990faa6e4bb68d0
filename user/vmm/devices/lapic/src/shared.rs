//! What others see of a local APIC: its number, its logical names, and the interrupts that are requested.
//!
//! Invariants: the mode of the logical name is that of its owner.
//! Concurrency: lock-free. A request is visible before [`Shared::request`] returns, so that whoever then looks whether
//! the processor sleeps, and the processor that says so before it looks for requests, cannot miss each other.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::Destination;

const SEQUENTIAL: Ordering = Ordering::SeqCst;

/// The shared part.
#[derive(Debug)]
pub struct Shared {
    id: u32,
    requests: [AtomicU32; 8],
    /// Which words of `requests` are not 0, at least.
    summary: AtomicU32,
    levels: [AtomicU32; 8],
    nmi: AtomicBool,
    /// 0 for nothing, else [`INIT`], and [`STARTUP`] with the page of a start-up message that came after it.
    start: AtomicU32,
    /// Logical destination, format, and whether in x2APIC mode.
    logical: AtomicU32,
    format: AtomicU32,
    x2apic: AtomicBool,
    /// How many interrupts were requested.
    count: AtomicU64,
}

const INIT: u32 = 1;
const STARTUP: u32 = 2;

impl Shared {
    /// That of processor `id`, after reset.
    #[must_use]
    pub fn new(id: u32) -> Self {
        Self {
            id,
            requests: Default::default(),
            summary: AtomicU32::new(0),
            levels: Default::default(),
            nmi: AtomicBool::new(false),
            start: AtomicU32::new(0),
            logical: AtomicU32::new(0),
            format: AtomicU32::new(u32::MAX),
            x2apic: AtomicBool::new(false),
            count: AtomicU64::new(0),
        }
    }

    /// The processor's number.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Whether a message to `destination` is meant for this processor.
    #[must_use]
    pub fn is_addressed(&self, destination: Destination) -> bool {
        match destination {
            Destination::Physical(number) => number == u32::MAX || number == self.id,
            Destination::Own(number) => number == self.id,
            Destination::Others(number) => number != self.id,
            Destination::Logical(name) if self.x2apic.load(Ordering::Relaxed) => {
                // From a device the name has 8 bits, and cluster 0.
                let own = logical_name(self.id);
                name == u32::MAX || name >> 16 == own >> 16 && name & own & 0xFFFF != 0
            }
            Destination::Logical(name) => {
                let own = self.logical.load(Ordering::Relaxed) >> 24;
                if self.format.load(Ordering::Relaxed) >> 28 == 0xF {
                    name & own != 0
                } else {
                    name >> 4 == own >> 4 && name & own & 0xF != 0
                }
            }
        }
    }

    /// Requests the interrupt `vector`; whether it was not requested before.
    pub fn request(&self, vector: u8, level: bool) -> bool {
        let (word, bit) = (usize::from(vector) / 32, 1 << (vector % 32));
        let (Some(requests), Some(levels)) = (self.requests.get(word), self.levels.get(word)) else { return false };
        if level {
            levels.fetch_or(bit, Ordering::Relaxed);
        } else if levels.load(Ordering::Relaxed) & bit != 0 {
            levels.fetch_and(!bit, Ordering::Relaxed);
        }
        let old = requests.fetch_or(bit, SEQUENTIAL);
        self.summary.fetch_or(1 << word, SEQUENTIAL);
        self.count.fetch_add(1, Ordering::Relaxed);
        old & bit == 0
    }

    /// Requests a non-maskable interrupt.
    pub fn request_nmi(&self) {
        self.nmi.store(true, SEQUENTIAL);
    }

    /// Takes the request for a non-maskable interrupt.
    pub fn take_nmi(&self) -> bool {
        self.nmi.load(SEQUENTIAL) && self.nmi.swap(false, SEQUENTIAL)
    }

    /// Whether a non-maskable interrupt waits.
    #[must_use]
    pub fn has_nmi(&self) -> bool {
        self.nmi.load(SEQUENTIAL)
    }

    /// Whether an INIT or a start-up waits.
    #[must_use]
    pub fn has_start(&self) -> bool {
        self.start.load(SEQUENTIAL) != 0
    }

    /// Asks for an INIT; a start-up that came before it is forgotten.
    pub fn request_init(&self) {
        self.start.store(INIT, SEQUENTIAL);
    }

    /// Asks for a start at page `page`, after an INIT that waits.
    pub fn request_startup(&self, page: u8) {
        let both = |before: u32| Some(before & INIT | STARTUP | u32::from(page) << 8);
        let _ = self.start.fetch_update(SEQUENTIAL, SEQUENTIAL, both);
    }

    /// Takes what was asked for: an INIT is `Some(None)`, a start-up names its page.
    pub fn take_start(&self) -> Option<Option<u8>> {
        loop {
            let word = self.start.load(SEQUENTIAL);
            let (taken, rest) = match word {
                0 => return None,
                _ if word & INIT != 0 => (None, word & !INIT),
                _ => (Some((word >> 8) as u8), 0),
            };
            if self.start.compare_exchange(word, rest, SEQUENTIAL, SEQUENTIAL).is_ok() {
                return Some(taken);
            }
        }
    }

    /// Whether any interrupt is requested.
    #[must_use]
    pub fn any_request(&self) -> bool {
        self.summary.load(SEQUENTIAL) != 0
    }

    /// How many interrupts were requested so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The highest vector that is requested.
    #[must_use]
    pub fn highest_request(&self) -> Option<u8> {
        let mut summary = self.summary.load(SEQUENTIAL);
        while summary != 0 {
            let word = summary.ilog2();
            summary &= !(1 << word);
            let requests = self.requests.get(word as usize)?;
            let bits = requests.load(SEQUENTIAL);
            if bits != 0 {
                return Some((word * 32 + bits.ilog2()) as u8);
            }
            // Nobody may be left out who requests in between.
            self.summary.fetch_and(!(1 << word), SEQUENTIAL);
            if requests.load(SEQUENTIAL) != 0 {
                self.summary.fetch_or(1 << word, SEQUENTIAL);
                summary |= 1 << word;
            }
        }
        None
    }

    pub(crate) fn clear_request(&self, vector: u8) {
        if let Some(word) = self.requests.get(usize::from(vector) / 32) {
            word.fetch_and(!(1 << (vector % 32)), SEQUENTIAL);
        }
    }

    pub(crate) fn is_level(&self, vector: u8) -> bool {
        self.levels(usize::from(vector) / 32) & 1 << (vector % 32) != 0
    }

    pub(crate) fn levels(&self, word: usize) -> u32 {
        self.levels.get(word).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    pub(crate) fn requests(&self, word: usize) -> u32 {
        self.requests.get(word).map_or(0, |word| word.load(SEQUENTIAL))
    }

    pub(crate) fn logical(&self) -> u32 {
        if self.x2apic.load(Ordering::Relaxed) { logical_name(self.id) } else { self.logical.load(Ordering::Relaxed) }
    }

    pub(crate) fn set_logical(&self, value: u32) {
        self.logical.store(value, Ordering::Relaxed);
    }

    pub(crate) fn format(&self) -> u32 {
        self.format.load(Ordering::Relaxed)
    }

    pub(crate) fn set_format(&self, value: u32) {
        self.format.store(value, Ordering::Relaxed);
    }

    pub(crate) fn reset(&self, x2apic: bool) {
        self.requests.iter().chain(&self.levels).for_each(|word| word.store(0, SEQUENTIAL));
        self.summary.store(0, SEQUENTIAL);
        self.nmi.store(false, SEQUENTIAL);
        self.logical.store(0, Ordering::Relaxed);
        self.format.store(u32::MAX, Ordering::Relaxed);
        self.set_mode(x2apic);
    }

    pub(crate) fn set_mode(&self, x2apic: bool) {
        self.x2apic.store(x2apic, Ordering::Relaxed);
    }
}

/// The logical name in x2APIC mode: cluster of 16, and a bit within it.
const fn logical_name(id: u32) -> u32 {
    (id >> 4) << 16 | 1 << (id & 0xF)
}
