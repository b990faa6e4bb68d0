//! Giving a domain's empty tables back while it goes on.
//!
//! Purpose: what has been revoked leaves tables behind in which there is nothing. They are looked for when a quota is
//! exhausted, and when somebody asks how much of it is in use: tables of user memory, pages of capabilities and tables of
//! these, tables of guests, and bitmaps without ports.
//! Invariants: nobody uses the domain's spaces without finding what they have: cores have forgotten what was taken out before
//! anything can be entered in its place. Its frames, for which the core pays from then on, are reused after a grace period.
//! Tables are looked through from the youngest to the oldest, children before parents; those that come meanwhile are not met,
//! so that this ends.
//! Concurrency: the domain's region, which is given away between slices, and held while cores are waited for, but not for
//! what others have taken: who waits for a region serves requests. Stops for whatever is to run, and goes on where it was.
//! Source: `docs/src/decisions/0002-table-pages.md`.
use crate::mapping::{lock, waits};
use crate::tables::HARDWARE;
use crate::translations::{self, Cores};
use crate::{cache, pool, reclaim, views};
use abi::PhysAddr;
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use memory::mmu::Mmu;
use memory::quota::Quota;
use memory::shootdown::{Pages, Shootdown};
use memory::space::{Space, empty};
use memory::table::Table;
use objects::frame::Register;
use objects::{Domain, Store};
use percpu::Hazard;

/// What became of it.
#[derive(Clone, Copy, Debug)]
struct Tidied {
    /// Something was given back.
    some: bool,
    /// There is no more; otherwise something else is to run first.
    done: bool,
}

/// In the mark of what is made again, where selectors have meaningless bits that no position uses: tables of one who may have
/// too little are being looked through for it; the first of them gave back what there was, the next has the bit above.
const BEGUN: u64 = 1 << 48;
const HELPED: u64 = 1 << 49;

/// Tables that are looked through, or taken out, where nothing is made again: more than a page needs.
const LONGEST: u32 = 64;
const ENOUGH: u32 = 4;
/// Tables that are taken out before they are given back.
const BATCH: u32 = 64;
/// Pages that this core has left when some are to be taken out: those of one, at most, besides what a fault can need meanwhile.
const LEFT: u32 = 4 + cache::SLICE as u32;

/// Whether what has the mark `mark`, RDI of a hypercall, and for which one of two `domains` may have too little, is to be made
/// again: something was given back to one of them, all of it once for each mark, or may be.
pub fn helps<'s>(store: &Store<'_>, mark: &Register, domains: impl IntoIterator<Item = &'s Domain>) -> bool {
    for (number, domain) in domains.into_iter().enumerate() {
        let (word, helped) = (mark.get(), HELPED << number);
        if word & helped != 0 {
            continue;
        }
        let found = tidy(store, domain, word & BEGUN == 0, (&Cell::new(u32::MAX), BATCH));
        mark.set(if found.done { word & !BEGUN | helped } else { word | BEGUN });
        if found.some || !found.done {
            return true;
        }
    }
    false
}

/// Whether something was given back to a domain where nothing is made again: some of it, whatever is to run.
pub fn helps_at_once(store: &Store<'_>, domain: &Domain) -> bool {
    let emptied = &percpu::this().local.emptied;
    let (before, left) = (emptied.count(), Cell::new(LONGEST));
    let is_over = |found: Tidied| found.done || left.get() == 0 || emptied.count() >= before + ENOUGH;
    (0..LONGEST).find(|_| is_over(tidy(store, domain, false, (&left, before + ENOUGH))));
    emptied.count() != before
}

/// Gives the empty tables of a domain back, from its youngest on, or if not `anew` from where somebody has stopped: as long as
/// there are tables `left` to be looked at, and until this core has taken `most` out.
fn tidy(store: &Store<'_>, domain: &Domain, anew: bool, (left, most): (&Cell<u32>, u32)) -> Tidied {
    let (shared, emptied) = (&percpu::this().shared, &percpu::this().local.emptied);
    let (mut anew, before) = (anew, emptied.count());
    let stops = || {
        left.set(left.get() - 1);
        left.get() == 0 || emptied.count() >= most
    };
    loop {
        let region = lock::of(domain, domain);
        let mut shootdown = translations::shootdown();
        let from = if anew { 0 } else { domain.tidied.load(Relaxed) };
        let from = if from == 0 { domain.directory } else { PhysAddr::truncate(from) };
        let at = slice(domain, from, &mut shootdown, stops);
        domain.tidied.store(at.map_or(0, PhysAddr::get), Relaxed);
        shootdown.reach(&Cores);
        drop(region);
        anew = false;
        // At its end is the account from which on more is to be given back first, or what views have.
        let (some, mut full) = (emptied.count() != before, !shared.account.has(LEFT));
        if !emptied.is_empty() {
            shared.raise(Hazard::Ended);
        } else if full && at.is_some() {
            full = !cache::reclaim(store);
        }
        if at.is_none() || full || left.get() == 0 || emptied.count() >= most || waits() {
            return Tidied { some, done: at.is_none() || full && emptied.is_empty() };
        }
    }
}

/// Gives back what this core has taken out. It has no borrow of any object.
pub fn give_back() {
    let page = percpu::this();
    let root = PhysAddr::truncate(page.local.root.get());
    // SAFETY: taken out of all tables, before a grace period.
    let free = || unsafe { pool::release_aside(root, &page.shared.account, &translations::earlier()) };
    page.local.emptied.give_back(reclaim::grace, free);
}

/// Takes out what is empty of what the domain was given before `at`; the region is held. `None` if that was all, or where to
/// go on.
fn slice(domain: &Domain, at: PhysAddr, shootdown: &mut Shootdown, stops: impl Fn() -> bool) -> Option<PhysAddr> {
    let (local, payers) = (&percpu::this().local, (&domain.quota, &percpu::this().shared.account));
    let root = PhysAddr::truncate(local.root.get());
    let take = |before, table| {
        let empty = arch::pool::are_zero(HARDWARE.words(table));
        if empty && !(payers.1.has(LEFT) && pool::set_aside(before, payers, root)) {
            return None;
        }
        if empty {
            local.emptied.add();
            take_out(domain, table, shootdown);
        }
        Some(empty)
    };
    let left = empty::look_through(at, pool::noted_before, take, || stops() || lock::is_wanted() || waits());
    if left.is_none() && !take_blocks(domain, payers, root, shootdown) {
        return Some(domain.directory);
    }
    left
}

/// Takes an empty table of the domain's out of what refers to it.
fn take_out(domain: &Domain, table: PhysAddr, shootdown: &mut Shootdown) {
    let Some((referrer, index)) = pool::referrer(table) else { return };
    let mut top = referrer;
    while let Some((above, _)) = pool::referrer(top) {
        top = above;
    }
    if top != domain.directory {
        HARDWARE.exchange(referrer, index, 0);
        return lose(domain, shootdown);
    }
    let view = |id| translations::view(domain, id);
    let (space, forget) =
        (Space { master: &domain.master(), view: &view }, || reclaim::forget(domain, referrer, index));
    space.take_empty((&HARDWARE, &Cores), (referrer, index), forget, &domain.latest, shootdown);
}

/// Guests of the domain may remember something that was taken.
fn lose(domain: &Domain, shootdown: &mut Shootdown) {
    domain.lost.fetch_add(1, SeqCst);
    shootdown.add_cores(&Cores, domain.guests.load(SeqCst));
}

/// Takes out what is no table that something refers to: bitmaps of ports, all of them closed, and the top level of guests'.
/// False if this core lacks pages for one.
fn take_blocks(domain: &Domain, payers: (&Quota, &Quota), root: PhysAddr, shootdown: &mut Shootdown) -> bool {
    let lacks = Cell::new(false);
    let take = |place: &AtomicU64, (used, pages): (u64, u32), all: u64| {
        let block = PhysAddr::truncate(place.load(Relaxed));
        let is_all = |page| {
            let words = arch::pool::words(block.offset(page << 12));
            words.is_some_and(|words| words.iter().all(|word| word.load(Relaxed) == all))
        };
        let empty = block.get() != 0 && (0..used).all(is_all);
        let taken = empty && payers.1.has(LEFT) && pool::set_block_aside(block, pages, payers, root);
        lacks.set(lacks.get() | (empty && !taken));
        if taken {
            place.store(0, SeqCst);
            percpu::this().local.emptied.add();
        }
        taken
    };
    let [threads, guests] = &domain.ports;
    if take(threads, (2, 2), u64::MAX) {
        let all = shootdown.sharers(|| u64::MAX);
        views::all(domain).for_each(|view| views::hide_ports(&Table::new(view)));
        shootdown.add((&HARDWARE, &Cores), all, &|id| translations::view(domain, id), Pages::ALL);
    }
    if take(guests, (3, 4), u64::MAX) {
        lose(domain, shootdown);
    }
    // A virtual CPU is made for one table for good.
    if domain.guests.load(SeqCst) == 0 {
        take(&domain.nested, (1, 1), 0);
    }
    !lacks.get()
}
