//! Maps memory write-combining and not, in all the ways that a mapping comes about, and says what each page should be, to be
//! compared with the page tables from outside.
//!
//! A line `combining: page 0x… TW` names a page whose entry should have the write-combining bit (T, or -) and the write bit
//! (W, or -). Written straight against the interface. Concurrency: one thread.
#![no_std]
#![no_main]

use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, TypedItem};
use core::sync::atomic::Ordering::SeqCst;
use demos::raw::{Checks, give, hypercall, word32};
use demos::servers::SELF;
use rt::{Environment, ExitStatus, println};

rt::entry!(main);

/// Memory of the hypervisor's that nothing else uses, 32 MiB.
const FRAMES: u64 = 0x8000;
/// Pages from here on show it: 2 MiB for each of the ways.
const PLACES: u64 = 0x7_0000;
const LARGE: u64 = 512;
const TYPE: ItemFlags = ItemFlags::WRITE_COMBINING;
const READ: MemoryRights = MemoryRights::READ;
/// Pages of different frames, in an order in which no two follow each other.
const ROW: u64 = 16;

struct Program(Checks);

impl Program {
    /// Hands 2^`order` pages from `from` on to `to`, to be read or written.
    fn hand_on(&mut self, (from, order): (u64, u32), to: u64, rights: MemoryRights, flags: ItemFlags) {
        let [from, to] = [(from, rights), (to, MemoryRights::all())]
            .map(|(page, rights)| Crd::memory(page, order, rights).unwrap_or(Crd::NULL));
        let status = give(ROOT_UTCB_ADDRESS, SELF, TypedItem::delegate(from, flags, 0), (SELF, to));
        self.0.check("handed on", status & 0xFF, 0);
    }

    /// The same from the hypervisor's memory.
    fn take(&mut self, (frame, order): (u64, u32), to: u64, rights: MemoryRights, flags: ItemFlags) {
        self.hand_on((FRAMES + frame, order), to, rights, flags | ItemFlags::HYPERVISOR);
    }
}

/// Has the core show a page, and says what its entry should have.
fn expect(pages: impl IntoIterator<Item = u64>, bits: &str) {
    for page in pages {
        let _ = word32(page << 12).load(SeqCst);
        println!("combining: page {:#x} {bits}", page << 12);
    }
}

fn main(_: &Environment) -> ExitStatus {
    demos::announce("combining", "memory of two types");
    let mut program = Program(Checks::new("combining"));
    let at = |way: u64| PLACES + way * LARGE;
    let (write, none) = (READ | MemoryRights::WRITE, ItemFlags::empty());

    program.take((0, 2), at(0), write, TYPE);
    program.take((LARGE, 9), at(1), write, TYPE);
    program.take((2 * LARGE, 2), at(2), write, none);
    expect((at(0)..at(0) + 4).chain([at(1), at(1) + LARGE - 1]), "TW");
    expect([at(2)], "-W");

    // What is made of it, in the short ways and others.
    program.hand_on((at(0), 2), at(3), write, none);
    program.hand_on((at(0), 0), at(3) + 8, READ, none);
    program.hand_on((at(3), 0), at(3) + 16, write, ItemFlags::GUEST);
    program.hand_on((at(1), 9), at(4), write, none);
    program.hand_on((at(1) + 8, 2), at(3) + 32, write, ItemFlags::LAST);
    expect([at(3), at(3) + 3, at(3) + 16, at(4), at(3) + 32, at(3) + 35], "TW");
    expect([at(3) + 8], "T-");

    // Pages that lie scattered, each by itself and then all.
    for page in 0..ROW {
        program.take((3 * LARGE + (page * 7 % ROW) * 2, 0), at(5) + page, write, TYPE);
    }
    program.hand_on((at(5), 4), at(6), write, none);
    expect((0..ROW).flat_map(|page| [at(5) + page, at(6) + page]), "TW");

    // The type is the hypervisor's to give.
    program.hand_on((at(2), 2), at(7), write, TYPE);
    expect([at(7), at(7) + 3], "-W");

    // In place it does not change; anew it does.
    program.take((4 * LARGE, 1), at(8), READ, none);
    program.take((4 * LARGE, 0), at(8), write, TYPE | ItemFlags::RAISE);
    program.take((4 * LARGE + 1, 0), at(8) + 1, write, TYPE | ItemFlags::REPLACE);
    program.take((5 * LARGE, 1), at(9), READ, TYPE);
    program.take((5 * LARGE, 0), at(9), write, TYPE | ItemFlags::RAISE);
    program.take((5 * LARGE + 1, 0), at(9) + 1, write, ItemFlags::REPLACE);
    expect([at(8)], "--");
    expect([at(8) + 1, at(9)], "TW");
    expect([at(9) + 1], "-W");

    // What is left of rights, and of a large page.
    let pages = Crd::memory(at(1) + 64, 1, MemoryRights::WRITE).unwrap_or(Crd::NULL);
    program.0.check("taken", hypercall(Hypercall::Revoke, 1, 0, [pages.word(), 0, 0, 0]) & 0xFF, 0);
    expect([at(1) + 64, at(1) + 65, at(4) + 64], "T-");
    expect([at(1), at(1) + 63, at(1) + 66, at(4) + 66], "TW");

    let status = program.0.finish();
    if status == ExitStatus::SUCCESS {
        println!("combining: to be looked at");
    }
    loop {
        core::hint::spin_loop();
    }
}
