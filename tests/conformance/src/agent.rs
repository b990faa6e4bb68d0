//! What threads, servers and keepers run, and the mailboxes through which they are told.
//!
//! Invariants: a mailbox belongs to one thread or server at a time; stacks and mailboxes are handed out in order.
//! Concurrency: all words are atomic; the semaphores of a thread order them.

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use abi::Mtd;
use abi::event::RECALL;

use crate::sys::{Registers, down, up, word};

/// How many threads and servers there can be at a time.
pub const AGENTS: usize = 64;
/// A thread that has more events than these is stopped, so that it does not take all the time.
const MOST_EVENTS: u64 = 100;
/// No status: a thread has not come back.
pub const NO_ANSWER: u64 = 0xEE;
/// Semaphores within a thread's block of selectors.
pub const REQUEST: u64 = 32;
/// The one that says that it is back.
pub const ANSWER: u64 = 33;

#[repr(align(4096))]
struct Stacks([[AtomicU64; 512]; AGENTS]);
static STACKS: Stacks = Stacks([const { [const { AtomicU64::new(0) }; 512] }; AGENTS]);
/// How many mailboxes and stacks are given out.
pub static USED: AtomicUsize = AtomicUsize::new(0);

/// What the first thread and another one share.
pub struct Mailbox {
    pub registers: [AtomicU64; 5],
    /// The thread is in the hypercall.
    pub busy: AtomicU64,
    /// Last event and how many there were.
    pub event: AtomicU64,
    pub events: AtomicU64,
    /// Message page and block of the thread, message page of its keeper.
    pub page: AtomicU64,
    pub block: AtomicU64,
    pub keeper: AtomicU64,
    /// How many calls a server served.
    pub served: AtomicU64,
    /// Did not come back once.
    pub lost: AtomicU64,
    /// How often the thread is to make the hypercall, how often it has, and whose count it notes at the end.
    pub repeat: AtomicU64,
    pub count: AtomicU64,
    pub watches: AtomicU64,
    pub watched: AtomicU64,
    /// The first item that a server received.
    pub item: [AtomicU64; 2],
    /// A server does this, whatever the message says: number of words, words.
    pub order: [AtomicU64; 7],
}
/// All of them.
pub static MAIL: [Mailbox; AGENTS] = [const {
    #[expect(clippy::declare_interior_mutable_const, reason = "each use is a word of its own")]
    const ZERO: AtomicU64 = AtomicU64::new(0);
    Mailbox {
        registers: [ZERO; 5],
        busy: ZERO,
        event: ZERO,
        events: ZERO,
        page: ZERO,
        block: ZERO,
        keeper: ZERO,
        served: ZERO,
        lost: ZERO,
        repeat: ZERO,
        count: ZERO,
        watches: ZERO,
        watched: ZERO,
        item: [ZERO; 2],
        order: [ZERO; 7],
    }
}; AGENTS];

// The kernel enters a server with the stack pointer of its last reply, which is the one of its entry.
global_asm!(
    "conformance_thread:", "call {agent}", "ud2",
    "conformance_server:", "call {serve}", "mov rdi, rax", "syscall",
    "conformance_keeper:", "call {keep}", "mov edi, 1", "syscall",
    // A reply of a thread that nobody called suspends it for ever.
    "conformance_stop:", "mov edi, 1", "syscall",
    agent = sym agent, serve = sym serve, keep = sym keep,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn conformance_thread();
    fn conformance_server();
    fn conformance_keeper();
    fn conformance_stop();
}

/// Where a server's portals enter.
pub fn server_entry() -> u64 {
    address(conformance_server)
}

/// Where a keeper's portals enter.
pub fn keeper_entry() -> u64 {
    address(conformance_keeper)
}

fn address(function: unsafe extern "C" fn()) -> u64 {
    (function as *const ()).addr() as u64
}

/// The first stack pointer of thread or server `index`.
pub fn stack_top(index: usize) -> u64 {
    let stack = &raw const STACKS.0[index];
    stack.addr() as u64 + 4096
}

/// The registers in a mailbox.
pub fn registers_of(mail: &Mailbox) -> Registers {
    let [rdi, rsi, rdx, rax, r8] = mail.registers.each_ref().map(|register| register.load(SeqCst));
    Registers { rdi, rsi, rdx, rax, r8 }
}

/// Puts registers into a mailbox.
pub fn store(mail: &Mailbox, Registers { rdi, rsi, rdx, rax, r8 }: Registers) {
    for (slot, value) in mail.registers.iter().zip([rdi, rsi, rdx, rax, r8]) {
        slot.store(value, SeqCst);
    }
}

/// Body of a thread: makes the hypercalls that it is told. After a fault it begins anew.
extern "C" fn agent(index: usize) {
    let mail = &MAIL[index];
    let block = mail.block.load(SeqCst);
    loop {
        if mail.busy.swap(0, SeqCst) != 0 {
            up(block + ANSWER);
        }
        down(block + REQUEST, 0);
        mail.busy.store(1, SeqCst);
        let first = registers_of(mail);
        let mut found = first.enter();
        mail.count.fetch_add(1, SeqCst);
        for _ in 1..mail.repeat.swap(0, SeqCst) {
            found = first.enter();
            mail.count.fetch_add(1, SeqCst);
        }
        store(mail, found);
        mail.watched.store(MAIL[mail.watches.load(SeqCst) as usize].count.load(SeqCst), SeqCst);
    }
}

/// What a server is asked: the first word of the message; an argument is the second.
pub mod ask {
    /// Add one to every further word.
    pub const ECHO: u64 = 0;
    /// Die.
    pub const DIE: u64 = 1;
    /// Down the semaphore, without a deadline.
    pub const DOWN: u64 = 2;
    /// Reply with the semaphore the first time, plainly afterwards.
    pub const HOLD: u64 = 3;
    /// Make the hypercall whose registers are the next five words.
    pub const CALL: u64 = 4;
    /// Set the windows for translation and delegation to the next two words.
    pub const WINDOWS: u64 = 5;
    /// Load from the address.
    pub const LOAD: u64 = 6;
    /// Up the next word, then down the one after it.
    pub const SWAP: u64 = 7;
    /// Work for as many steps as the next word says; after half of them up the two words after it.
    pub const WORK: u64 = 9;
    /// Make the hypercall whose registers are the next five words, with the item of the two words after them.
    pub const CALL_WITH_ITEM: u64 = 8;
}

/// Body of a server; the portal's identity is its index. Returns the word for the reply.
extern "C" fn serve(index: usize) -> u64 {
    let mail = &MAIL[index];
    let page = mail.page.load(SeqCst);
    let served = mail.served.fetch_add(1, SeqCst);
    if mail.order[0].load(SeqCst) != 0 {
        return obey(mail, page);
    }
    for (at, slot) in mail.item.iter().enumerate() {
        slot.store(word(page, 510 + at).load(SeqCst), SeqCst);
    }
    let argument = |at: usize| word(page, 5 + at).load(SeqCst);
    match word(page, 4).load(SeqCst) {
        ask::DIE => die(),
        ask::DOWN => word(page, 5).store(down(argument(0), 0).status(), SeqCst),
        ask::HOLD => {
            if served == argument(1) {
                return 1 | argument(0) << 8;
            }
        }
        ask::CALL | ask::CALL_WITH_ITEM => {
            if word(page, 4).load(SeqCst) == ask::CALL_WITH_ITEM {
                word(page, 510).store(argument(5), SeqCst);
                word(page, 511).store(argument(6), SeqCst);
                word(page, 0).store(8 | 1 << 16, SeqCst);
            }
            let [rdi, rsi, rdx, rax, r8] = [0, 1, 2, 3, 4].map(argument);
            let Registers { rdi, rsi, rdx, rax, r8 } = Registers { rdi, rsi, rdx, rax, r8 }.enter();
            for (at, value) in [rdi, rsi, rdx, rax, r8].into_iter().enumerate() {
                word(page, 5 + at).store(value, SeqCst);
            }
        }
        ask::WORK => {
            let (steps, wake) = (argument(0), [argument(1), argument(2)]);
            for step in 0..steps {
                if step == steps / 2 {
                    for semaphore in wake {
                        up(semaphore);
                    }
                }
                mail.count.fetch_add(1, SeqCst);
            }
        }
        ask::WINDOWS => {
            word(page, 1).store(argument(0), SeqCst);
            word(page, 2).store(argument(1), SeqCst);
        }
        ask::LOAD => word(page, 5).store(word(argument(0), 0).load(SeqCst), SeqCst),
        ask::SWAP => {
            up(argument(0));
            word(page, 5).store(down(argument(1), 0).status(), SeqCst);
        }
        _ => {
            for at in 0..(word(page, 0).load(SeqCst) as usize & 0xFFFF).saturating_sub(1) {
                word(page, 5 + at).fetch_add(1, SeqCst);
            }
        }
    }
    // Items went with the message, but none goes back.
    word(page, 0).fetch_and(0xFFFF, SeqCst);
    1
}

/// Makes the hypercall that was remembered, once, and replies without any change of the state.
fn obey(mail: &Mailbox, page: u64) -> u64 {
    if mail.order[0].swap(1, SeqCst) == 2 {
        let [rdi, rsi, rdx, rax, r8] = [1, 2, 3, 4, 5].map(|at: usize| mail.order[at].load(SeqCst));
        store(mail, Registers { rdi, rsi, rdx, rax, r8 }.enter());
    }
    word(page, 0).store(0, SeqCst);
    word(page, 4).store(0, SeqCst);
    1
}

fn die() {
    // SAFETY: ends this context, which is the point.
    unsafe { core::arch::asm!("ud2") }
}

/// Body of a keeper: starts a thread, or lets it begin anew after a fault. The portal's identity is the thread and the event.
extern "C" fn keep(identity: u64) {
    let index = identity as usize & 0xFF;
    let event = identity >> 8;
    let mail = &MAIL[index];
    let page = mail.keeper.load(SeqCst);
    let set = |at: usize, value| word(page, at).store(value, SeqCst);
    mail.event.store(event, SeqCst);
    let events = mail.events.fetch_add(1, SeqCst);
    set(0, 0);
    if event == u64::from(RECALL) {
        set(4, 0);
        return;
    }
    set(4, (Mtd::RIP_LEN | Mtd::RSP | Mtd::BSD).bits());
    set(6, if events < MOST_EVENTS { address(conformance_thread) } else { address(conformance_stop) });
    set(14, stack_top(index));
    set(17, index as u64);
}
