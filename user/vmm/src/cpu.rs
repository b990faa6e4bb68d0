//! One virtual processor as the machine sees it: its local APIC, what it is doing, and what it is to be told.
//!
//! Others send it interrupts without a lock: they set a request, then look what the processor does. The processor says
//! what it is about to do, then looks for requests. So either sees the other.
//! Invariants: [`Private`] is used by the processor's own thread only; its lock is never waited for.
//! Concurrency: see above; `mode` and the requests are sequentially consistent.

use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use vm_lapic::{Lapic, Shared};

use crate::exit::KINDS;
use crate::msr::Kept;
use crate::sync::Mutex;

/// What a processor does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mode {
    /// It runs the guest, or will without looking for requests again.
    Running = 0,
    /// Its exit is being handled; requests are looked for before it runs again.
    Handling = 1,
    /// It waits for a request.
    Waiting = 2,
    /// The machine has ended, and it knows.
    Ended = 3,
}

/// Whether it runs at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It waits to be started.
    Off,
    /// It runs.
    On,
    /// It executed HLT.
    Halted,
}

/// A virtual processor.
#[derive(Debug)]
pub struct Cpu {
    /// What others see of its local APIC.
    pub shared: Shared,
    mode: AtomicU8,
    /// The 8259A pair asks for attention.
    external: AtomicBool,
    /// How often it left the guest, by the kind of exit.
    exits: [AtomicU64; KINDS],
    private: Mutex<Private>,
}

/// What belongs to its own thread.
#[derive(Debug)]
pub struct Private {
    /// The local APIC.
    pub lapic: Lapic,
    /// Registers that do nothing.
    pub kept: Kept,
    /// Whether it runs.
    pub phase: Phase,
    /// It was told to exit when the guest takes interrupts.
    pub window: bool,
    /// It has not run since power-on.
    pub fresh: bool,
}

impl Private {
    fn new(lapic: Lapic, boot: bool) -> Self {
        let phase = if boot { Phase::On } else { Phase::Off };
        Self { lapic, kept: Kept::default(), phase, window: false, fresh: true }
    }
}

impl Cpu {
    /// Processor `number`; 0 is the boot processor.
    #[must_use]
    pub fn new(number: u32) -> Self {
        let private = Private::new(Lapic::new(number == 0), number == 0);
        Self {
            shared: Shared::new(number),
            mode: AtomicU8::new(Mode::Handling as u8),
            external: AtomicBool::new(false),
            exits: [const { AtomicU64::new(0) }; KINDS],
            private: Mutex::new(private),
        }
    }

    /// As at power-on; for a processor that does not run.
    pub fn restart(&self) {
        let boot = self.shared.id() == 0;
        *self.private.lock() = Private::new(Lapic::power_on(boot, &self.shared), boot);
        self.set_external(false);
        self.set_mode(Mode::Handling);
    }

    /// Its own part, for its own thread.
    pub fn private(&self) -> crate::sync::Guard<'_, Private> {
        self.private.lock()
    }

    /// What it does.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.mode.load(Ordering::SeqCst) {
            0 => Mode::Running,
            1 => Mode::Handling,
            2 => Mode::Waiting,
            _ => Mode::Ended,
        }
    }

    /// Says what it is about to do.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Says whether the 8259A pair asks for attention.
    pub fn set_external(&self, pending: bool) {
        self.external.store(pending, Ordering::SeqCst);
    }

    /// Whether it does.
    #[must_use]
    pub fn external(&self) -> bool {
        self.external.load(Ordering::SeqCst)
    }

    /// Counts an exit of this kind.
    pub fn count_exit(&self, kind: usize) {
        if let Some(count) = self.exits.get(kind) {
            // One writer: its own thread.
            count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// How often it left the guest for this kind of exit.
    #[must_use]
    pub fn exits_of(&self, kind: usize) -> u64 {
        self.exits.get(kind).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// How often it left the guest.
    #[must_use]
    pub fn exits(&self) -> u64 {
        (0..KINDS).map(|kind| self.exits_of(kind)).sum()
    }
}
