//! What the contexts of the hostile domain do: random hypercalls, messages and faults, step after step.
//!
//! Three of four hypercalls are well-formed, with selectors that have a chance to name what is asked for; the rest has one
//! argument replaced, or all of them. One power is not used: to run above priority 100, since by the interface whoever may
//! create scheduling contexts may keep a core for himself.
//! Invariants: what a step does follows from the slot's seed and the steps before, not from time.
//! Concurrency: one context per slot.
//! Source: interface §1 to §6.
use core::arch::{asm, global_asm};
use core::sync::atomic::Ordering::Relaxed;

use super::faults;
use super::layout::*;
use super::memory::{
    self, PLAYGROUND, SHARED, SLOTS, Slot, count, message_page, playground_page, shared_page, stack_top,
};
use crate::raw::{time_stamp, word};

global_asm!(
    "hostile_work:", "mov rdi, rsp", "call {work}", "ud2",
    "hostile_serve:", "mov rdi, rsp", "call {serve}",
    "hostile_reply:", "mov edi, 1", "syscall",
    work = sym work, serve = sym serve,
);

// SAFETY: defined above; only their addresses are used.
unsafe extern "C" {
    fn hostile_work();
    fn hostile_serve();
    fn hostile_reply();
}

/// Where a context with time of its own starts, where a call is served, and where it is answered at once.
pub fn entries() -> [u64; 3] {
    [hostile_work as *const (), hostile_serve as *const (), hostile_reply as *const ()].map(|it| it.addr() as u64)
}

/// Events that the hostile domain's contexts start with: the first one's, or none.
const NO_EVENTS: u64 = 0x3_0000;

extern "C" fn work(stack: u64) -> ! {
    let index = memory::slot_of(stack).unwrap_or(SLOTS - 1);
    let slot = &SHARED.slots[index];
    slot.serves.store(0, Relaxed);
    loop {
        step(slot, index);
    }
}

extern "C" fn serve(stack: u64) {
    let index = memory::slot_of(stack).unwrap_or(SLOTS - 1);
    let slot = &SHARED.slots[index];
    slot.serves.store(1, Relaxed);
    // It is here again, so all the replies before have come through.
    slot.done[1].store(slot.tried[1].load(Relaxed), Relaxed);
    if slot.once_in(6) {
        step(slot, index);
    }
    message(slot, index);
    count(&slot.steps);
    count(&slot.tried[1]);
}

/// Registers of a hypercall.
struct Request {
    number: u64,
    flags: u64,
    selector: u64,
    arguments: [u64; 4],
}

fn step(slot: &Slot, index: usize) {
    SHARED.pace();
    count(&slot.steps);
    if slot.once_in(40) {
        return faults::raise(slot);
    }
    let mut request = well_formed(slot, index);
    match slot.below(32) {
        0..4 => request.arguments[slot.below(4) as usize] = value(slot),
        4 => request.flags = slot.below(16),
        5..7 => request.selector = value(slot),
        7 => {
            let (number, flags) = (slot.below(16), slot.below(16));
            let arguments = [(); 4].map(|()| value(slot));
            request = Request { number, flags, selector: value(slot), arguments };
        }
        _ => {}
    }
    // A reply is the end of whoever serves nobody, and otherwise of a stack.
    if request.number == 1 && !slot.once_in(40) {
        return;
    }
    if request.number == 4 && matches!(request.arguments[2] & 0xFF, 101..128) {
        request.arguments[2] ^= 0x60;
    }
    limit(&mut request);
    let number = request.number as usize & 15;
    count(&slot.tried[number]);
    if number != 1 && hypercall(&request) & 0xF == 0 {
        count(&slot.done[number]);
    }
}

fn hypercall(request: &Request) -> u64 {
    let mut status = request.selector << 8 | request.flags << 4 | request.number;
    let [rsi, rdx, rax, r8] = request.arguments;
    // SAFETY: the domain has nothing but what it may lose; its maker puts contexts that go astray back.
    unsafe {
        asm!("syscall", inout("rdi") status, inout("rsi") rsi => _, inout("rdx") rdx => _, inout("rax") rax => _,
            inout("r8") r8 => _, out("rcx") _, out("r11") _);
    }
    status
}

/// A selector of the domain's own objects: of that kind, in a random group.
fn own(slot: &Slot, kind: u64) -> u64 {
    OWN + 8 * slot.below(GROUPS) + kind
}

/// One of the semaphores that there may be.
fn semaphore(slot: &Slot) -> u64 {
    match slot.below(4) {
        0 => own(slot, slot.below(2)),
        _ => SEMAPHORES + slot.below(PLAIN + 2),
    }
}

/// A core, most often one that exists.
fn core(slot: &Slot) -> u64 {
    if slot.once_in(8) { slot.below(5) } else { slot.below(SHARED.cores()) }
}

fn well_formed(slot: &Slot, index: usize) -> Request {
    let it = |number, flags, selector, arguments| Request { number, flags, selector, arguments };
    let group = OWN + 8 * slot.below(GROUPS);
    match slot.below(76) {
        0..11 => {
            message(slot, index);
            let server = SERVER_PORTAL + slot.below(SHARED.cores());
            let to = [
                server,
                server,
                MAKER + slot.below(SHARED.cores()),
                VICTIM + slot.below(SHARED.cores()),
                group + PORTAL,
            ];
            it(0, u64::from(slot.once_in(4)), slot.pick(&to), [0; 4])
        }
        11..16 | 72 => {
            let range = if slot.once_in(2) { 0 } else { 3 | 0x1F << 2 | slot.pick(&[0, 3, 9]) << 7 };
            let limits = slot.below(24) << 32 | slot.below(if slot.once_in(8) { 32 } else { 2 });
            it(2, 0, group + CHILD, [DOMAIN, range, limits, 0])
        }
        16..22 => {
            let global = slot.below(2);
            let at = group + LOCAL + global;
            let own_slot = memory::OWN + (at - OWN) as usize % 64;
            let domain = if slot.once_in(16) { group + CHILD } else { CONTEXTS };
            let (core, base) = (core(slot), if slot.once_in(16) { NO_EVENTS } else { 0 });
            let arguments = [domain, message_page(own_slot) | core, stack_top(own_slot), base + events(core)];
            it(3, global, at, arguments)
        }
        22..27 | 73..75 => {
            let quantum = slot.pick(&[1, 50, 1000, 10_000, 1 << 40]);
            it(
                4,
                0,
                group + RUNS,
                [
                    DOMAIN,
                    if slot.once_in(2) { WORKER + slot.below(SHARED.cores()) } else { group + GLOBAL },
                    quantum << 12 | (slot.below(100) + 1),
                    0,
                ],
            )
        }
        27..33 | 75 => {
            let context = if slot.once_in(3) { SERVER + slot.below(SHARED.cores()) } else { group + LOCAL };
            let entry = entries()[if slot.once_in(4) { 2 } else { 1 }];
            it(5, 0, group + PORTAL, [DOMAIN, context, slot.next() & 0x8040_8FFF, entry])
        }
        33..37 => match slot.below(3) {
            0 => it(6, 0, group + SIGNAL, [DOMAIN, slot.next(), slot.pick(&[group, semaphore(slot)]), 0]),
            which => it(6, 0, group + which - 1, [DOMAIN, slot.pick(&[0, 0, 1, 5, u64::MAX]), 0, 0]),
        },
        37..46 => revoke(slot, group),
        46..51 => {
            message(slot, index);
            let domain = |slot: &Slot| if slot.once_in(4) { group + CHILD } else { DOMAIN };
            it(8, slot.pick(&[0, 1, 1, 1, 2]), domain(slot), [range(slot), domain(slot), 0, 0])
        }
        51..55 => {
            let context = slot.pick(&[WORKER + slot.below(4), SERVER + slot.below(4), group + LOCAL, group + GLOBAL]);
            match slot.pick(&[0, 0, 1, 2, 3, 4, 5, 5, 6, 7, 8]) {
                8 => it(9, 8, REGISTERS, [0; 4]),
                flags => it(9, flags, context, [slot.below(2), slot.below(64), 0, 0]),
            }
        }
        55..58 => {
            let context = WORKER + slot.below(4);
            it(
                10,
                slot.below(4),
                slot.pick(&[TIME + slot.below(SHARED.cores()), group + RUNS, IDLE]),
                [context, 0, 0, 0],
            )
        }
        58..61 => {
            it(11, 0, slot.pick(&[group + PORTAL, SERVER_PORTAL + slot.below(SHARED.cores())]), [slot.next(), 0, 0, 0])
        }
        61..66 => {
            let at = semaphore(slot);
            let deadline = match slot.below(16) {
                // The maker wakes whoever waits for his.
                0 if at < OWN => 0,
                1 if at < OWN => u64::MAX,
                _ => time_stamp() + slot.below(200_000),
            };
            let flags = slot.pick(&[0, 0, 0, 1, 1, 3]);
            it(12, flags, at, [deadline >> 32, deadline & 0xFFFF_FFFF, 0, 0])
        }
        66 => it(13, 0, DOMAIN, [value(slot), slot.next() & 0xFFFF, 0, 0]),
        67..70 => {
            let at = INTERRUPTS + slot.below(2);
            let target = slot.pick(&[u64::MAX, at, semaphore(slot), semaphore(slot)]);
            it(14, slot.below(8), at, [0, core(slot), target, 0])
        }
        _ => it(
            15,
            slot.pick(&[0, 2]),
            slot.pick(&[DOMAIN, group + CHILD]),
            [slot.pick(&[DOMAIN, group + CHILD]), slot.below(6), 0, 0],
        ),
    }
}

fn revoke(slot: &Slot, group: u64) -> Request {
    let notify = if slot.once_in(6) { semaphore(slot) } else { 0 };
    let objects = |base: u64, order: u64| base << 12 | order << 7 | 0x1F << 2 | 3;
    let (range, flags) = match slot.below(32) {
        0 => (range(slot), slot.below(16)),
        1 => (objects(group, 3), 1),
        2 => (objects(own(slot, CHILD), 0), slot.below(8)),
        3..5 => ((playground_page() + slot.below(PLAYGROUND as u64)) << 12 | slot.next() & 0x1FC | 1, slot.below(8)),
        5 => (range(slot) & !0xF80, 4),
        // Partial rights.
        6 => (objects(group + slot.below(8), 0) & !(slot.next() & 0x7C), 1),
        _ => (
            objects(group + slot.pick(&[0, 1, LOCAL, GLOBAL, GLOBAL, RUNS, RUNS, PORTAL, PORTAL, CHILD, SIGNAL]), 0),
            1,
        ),
    };
    Request { number: 7, flags, selector: notify, arguments: [range, slot.pick(&[DOMAIN, group + CHILD]), 0, 0] }
}

/// A number of any kind.
fn value(slot: &Slot) -> u64 {
    match slot.below(12) {
        0 => slot.next(),
        1 => slot.below(64),
        2 => slot.next() >> slot.below(64),
        3 => 1 << slot.below(64),
        4 => (1 << slot.below(64)) - 1,
        5 => range(slot),
        6 => slot.below(512),
        7 => own(slot, slot.below(8)),
        8 => message_page(slot.below(SLOTS as u64) as usize) | slot.below(8),
        9 => abi::USER_LIMIT.wrapping_add(slot.pick(&[0, 1, 4096, u64::MAX, 0u64.wrapping_sub(4096)])),
        10 => slot.pick(&entries()),
        _ => slot.pick(&[0, u64::MAX, 1 << 47, !0 << 47, 0xFFFF_FFFF, 0x3FF_FFFF, 0x400_0000, 4096, 0x7FFF_FFFF_FFFF]),
    }
}

/// A range descriptor.
fn range(slot: &Slot) -> u64 {
    let orders = slot.pick(&[0, 0, 0, 0, 1, 2, 4, slot.below(10), slot.below(32)]);
    let rights = if slot.once_in(3) { slot.below(32) } else { 31 };
    let (kind, base) = match slot.below(16) {
        0..6 => {
            let pages =
                [playground_page() + slot.below(16), playground_page() + slot.below(16), shared_page(), 0x10_0000];
            let page = match slot.below(8) {
                0 => slot.next() >> slot.below(52),
                1 => 0x100 + slot.below(64),
                2..4 => 0x6_0000 + slot.below(512),
                _ => slot.pick(&pages),
            };
            (1, page)
        }
        6 => (2, slot.pick(&[0x80, 0x82, 0x3F8, slot.below(0x1_0000)])),
        7..14 => {
            let selectors = [slot.below(512), OWN + slot.below(64), OWN + slot.below(64), 0x400 + slot.below(64)];
            (3, slot.pick(&[slot.pick(&selectors), slot.pick(&selectors), slot.next() >> slot.below(52)]))
        }
        14 => return 0,
        _ => return within_reach(slot.next()),
    };
    within_reach(base << 12 | orders << 7 | rights << 2 | kind)
}

/// Keeps a request to what the maker can take back. Children get objects when they are created only: with the right to
/// keep what was handed on, two that had each other, or one that had itself, would be there for ever. So what they get then, of
/// the first 128 selectors, does not hold the new one's.
fn limit(request: &mut Request) {
    let range = &mut request.arguments;
    match request.number {
        2 if range[1] & 3 == 3 && request.selector << 8 < 128 << 8 => range[1] = 0,
        2 if range[1] & 3 == 3 => range[1] = range[1] & 0x3FC | 3,
        8 if range[1] != DOMAIN => range[0] = range[0] & !3 | 1,
        8 => range[0] = within_reach(range[0]),
        _ => {}
    }
}

/// Object capabilities stay among the first 2^31 selectors, so that the maker can take them back with one range: who may keep
/// what he hands on could hide them anywhere else.
fn within_reach(range: u64) -> u64 {
    if range & 3 == 3 { range & ((1 << 43) - 1) } else { range }
}

/// Fills the message page with something: header, windows, items, some words.
fn message(slot: &Slot, index: usize) {
    let page = message_page(if slot.once_in(64) { slot.below(SLOTS as u64) as usize } else { index });
    let few = |most: u64, all: u64| if slot.once_in(10) { slot.below(all) } else { slot.below(most) };
    let (words, items) = (few(12, 600), few(4, 300));
    let header = if slot.once_in(100) { slot.next() } else { items << 16 | words };
    word(page, 1).store(range(slot), Relaxed);
    word(page, 2).store(range(slot), Relaxed);
    for item in 0..items.min(8) as usize {
        word(page, 510 - 2 * item).store(range(slot), Relaxed);
        let control = slot.below(4) | (slot.next() & if slot.once_in(3) { 0xFFC } else { 0 });
        word(page, 511 - 2 * item).store(control | slot.pick(&[0, slot.below(1024), slot.next()]) << 12, Relaxed);
    }
    for _ in 0..4 {
        word(page, 3 + slot.below(100) as usize).store(value(slot), Relaxed);
    }
    word(page, 0).store(header, Relaxed);
}
