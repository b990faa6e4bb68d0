//! The monitor: handles the exits of the virtual CPU, one step of the current scene after the other, and keeps what it saw.
//!
//! Concurrency: the monitor's context and the program's thread take turns: the thread waits until a scene is over, and the
//! virtual CPU waits for a semaphore until the next one.
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::arch_state::{ArchState, STATE_OFFSET};
use abi::item::ItemFlags;
use abi::{Crd, Mtd, TypedItem};
use demos::raw::{up, word};

use crate::intel;

/// Semaphores: upped when a scene is over, and what the virtual CPU waits for then.
pub const DONE: u64 = 0x50;
pub const PARK: u64 = 0x51;

/// Word of the message page that has a field of the state.
macro_rules! field {
    ($name:ident) => {
        (abi::arch_state::STATE_OFFSET + core::mem::offset_of!(abi::arch_state::ArchState, $name)) / 8
    };
}
pub(crate) use field;

/// Words of the state that are kept.
const WORDS: usize = (STATE_OFFSET + offset_of!(ArchState, exit_reason)) / 8 + 1;
/// Steps of a scene that are kept.
const STEPS: usize = 12;

static PAGE: AtomicU64 = AtomicU64::new(0);
static SCENE: AtomicU64 = AtomicU64::new(0);
static STEP: AtomicU64 = AtomicU64::new(0);
static LOG: [[AtomicU64; WORDS]; STEPS] = [const { [const { AtomicU64::new(0) }; WORDS] }; STEPS];

/// What a scene does about an exit. True if it is over.
pub type Scene = fn(&Turn) -> bool;

global_asm!(
    ".global guests_entry", "guests_entry:", "call {handle}", "mov rdi, rax", "syscall",
    handle = sym handle,
);

// SAFETY: defined above; only its address is used.
unsafe extern "C" {
    fn guests_entry();
}

/// Where the portals of the virtual CPU start; their identity is the index of the event.
pub fn entry() -> u64 {
    (guests_entry as *const ()).addr() as u64
}

/// Tells the monitor its message page.
pub fn start(page: u64) {
    PAGE.store(page, SeqCst);
}

/// An exit, and the reply that is made to it.
pub struct Turn {
    page: u64,
    /// Number of the exit within the scene.
    pub step: u64,
    /// Index of its event.
    pub event: u64,
}

impl Turn {
    /// A word of the state.
    pub fn get(&self, field: usize) -> u64 {
        word(self.page, field).load(SeqCst)
    }

    /// Changes it, with its group.
    pub fn set(&self, group: Mtd, field: usize, value: u64) {
        word(self.page, field).store(intel::value(group, field, value), SeqCst);
        word(self.page, field!(mtd)).fetch_or(group.bits(), SeqCst);
    }

    /// Goes on behind an instruction of that length.
    pub fn skip(&self, length: u64) {
        self.set(Mtd::RIP_LEN, field!(rip), self.get(field!(rip)) + length);
    }

    /// Delegates memory with the reply, to where the fault was.
    pub fn give(&self, memory: Crd) {
        let address = self.get(field!(qual) + 1);
        let [range, control] = TypedItem::delegate(memory, ItemFlags::GUEST, address >> 12).words();
        word(self.page, 510).store(range, SeqCst);
        word(self.page, 511).store(control, SeqCst);
        word(self.page, 0).store(1 << 16, SeqCst);
    }
}

/// Handles an exit; the word of the hypercall that replies.
extern "C" fn handle(event: u64) -> u64 {
    let page = PAGE.load(SeqCst);
    let event = intel::event(event);
    let turn = Turn { page, event, step: STEP.fetch_add(1, SeqCst) };
    let next = turn.get(field!(rip)) + turn.get(field!(instruction_length));
    let told = [0, 1].map(|index| turn.get(field!(qual) + index));
    for (index, value) in (field!(qual)..).zip(intel::information(event, told, next)) {
        word(page, index).store(value, SeqCst);
    }
    word(page, field!(exit_reason)).store(event, SeqCst);
    if let Some(record) = LOG.get(turn.step as usize) {
        record.iter().enumerate().for_each(|(index, to)| to.store(word(page, index).load(SeqCst), SeqCst));
    }
    word(page, 0).store(0, SeqCst);
    word(page, field!(mtd)).store(0, SeqCst);
    let scene = SCENE.load(SeqCst);
    // SAFETY: `play` alone sets the word, from a function of that type.
    let scene: Scene =
        unsafe { core::mem::transmute::<*const (), Scene>(core::ptr::with_exposed_provenance(scene as usize)) };
    if scene(&turn) || turn.step > STEPS as u64 {
        up(DONE);
        return 1 | PARK << 8;
    }
    1
}

/// Makes `scene` the one that handles exits from now on.
pub fn play(scene: Scene) {
    STEP.store(0, SeqCst);
    SCENE.store((scene as *const ()).expose_provenance() as u64, SeqCst);
}

/// Exits of the scene so far.
pub fn exits() -> u64 {
    STEP.load(SeqCst)
}

/// A word of the state at exit number `step` of the scene.
pub fn seen(step: usize, field: usize) -> u64 {
    LOG[step % STEPS][field % WORDS].load(SeqCst)
}
