//! Up to how many pages the kernel forgets one by one, and that it forgets everything for more: by its counters.
//!
//! Runs of 1, 2, 4 … 128 pages are lent within the program's domain, read, and taken. Says which was the last whose pages were
//! forgotten one by one. Ends with success if every check holds.
//! Written straight against the interface. Concurrency: one thread.
#![no_std]
#![no_main]

use abi::counter::Counter;
use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::{Crd, Hypercall, TypedItem};
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};
use demos::raw::{Checks, answer, give, hypercall, memory, word};
use demos::servers::SELF;
use rt::{Environment, ExitStatus, println};

rt::entry!(main);

/// log2 of the pages of the longest run; of those that are always forgotten with all others.
const ORDER: u32 = 7;
const PAGES: usize = 1 << ORDER;
/// Where they are lent to.
const PLACE: u64 = 0x7000_0000;

#[repr(align(0x80000))]
struct Run([[AtomicU64; 512]; PAGES]);
static RUN: Run = Run([const { [const { AtomicU64::new(0) }; 512] }; PAGES]);

fn count(counter: Counter) -> u64 {
    answer(Hypercall::Misc, 3, 0, [counter as u64, 0, 0, 0])[1]
}

fn main(_: &Environment) -> ExitStatus {
    demos::announce("flushes", "pages that are forgotten one by one, or all");
    let mut checks = Checks::new("flushes");
    let from = RUN.0.as_ptr().addr() as u64;
    let mut last = 0;
    for order in 0..=ORDER {
        let pages = 1 << order;
        let run = memory(from, order);
        let item = TypedItem::delegate(run, ItemFlags::empty(), PLACE >> 12);
        let everywhere = Crd::memory(0, 31, abi::rights::MemoryRights::all()).unwrap_or(Crd::NULL);
        checks.check("lend", give(ROOT_UTCB_ADDRESS, SELF, item, (SELF, everywhere)), 0);
        (0..pages).for_each(|page| _ = word(PLACE + (page << 12), 0).load(SeqCst));
        let before = [count(Counter::PageFlushes), count(Counter::FullFlushes)];
        checks.check("take", hypercall(Hypercall::Revoke, 0, 0, [run.word(), 0, 0, 0]), 0);
        let [single, all] = [count(Counter::PageFlushes) - before[0], count(Counter::FullFlushes) - before[1]];
        let one_by_one = [single, all] == [pages, 0];
        checks.check("forgotten one by one, or all at once", u64::from(one_by_one || [single, all] == [0, 1]), 1);
        checks.check("one by one after fewer were", u64::from(one_by_one && last * 2 != pages && pages != 1), 0);
        if one_by_one {
            last = pages;
        }
    }
    checks.check("both", u64::from((1..=64).contains(&last)), 1);
    println!("flushes: one by one up to {last}");
    checks.finish()
}
