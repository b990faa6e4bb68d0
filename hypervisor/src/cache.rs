//! The tables of user memory that a core has for its views.
//!
//! Purpose: a page fault finds a table in any case: if the core's account has none left, a view of this core that was not used
//! lately gives some of its own back.
//! Invariants: other cores' accounts, and those of domains, are not touched: who uses many tables takes them from himself and
//! his neighbours on the core, who get them back by faults. As many are taken at once as one instruction can need.
//! Concurrency: the calling core, with interrupts off and no lock held.
//! Source: design plan §3; `memory::space::cache`; `docs/src/decisions/0002-table-pages.md`.
use crate::mapping::lock;
use crate::tables::HARDWARE;
use crate::translations::{self, Cores};
use crate::{cores, pool};
use abi::counter::Counter;
use abi::{PhysAddr, VirtAddr};
use arrayvec::ArrayVec;
use core::iter;
use memory::frames::OutOfMemory;
use memory::quota::{self, Quota};
use memory::space::cache::{self, Given};
use objects::{Domain, Ref, Store};

/// Tables that are taken at once: eight pages, of code and data, each below a directory and a pointer table of its own.
pub const SLICE: usize = 16;

/// Gives each core its part of `pages` of the kernel's account.
///
/// # Errors
/// The account has not as many, or they are too few for each.
pub fn fund(kernel: &Quota, pages: u32) -> Result<(), OutOfMemory> {
    let running = cores::running();
    let part = Some(pages / running.len() as u32).filter(|&part| part >= 2 * SLICE as u32).ok_or(OutOfMemory::Pool)?;
    let mut accounts = running.iter().map(|core| &core.shared().account);
    accounts.try_for_each(|account| quota::transfer(kernel, account, part)).or(Err(OutOfMemory::Quota))
}

/// Where tables of user memory of the view at `root`, of this core, come from; it is `owner`'s.
pub fn source(root: PhysAddr, owner: Ref<Domain>) -> impl FnMut(PhysAddr, usize) -> Result<PhysAddr, OutOfMemory> {
    move |table, index| {
        let shared = &percpu::this().shared;
        shared.views.join(&HARDWARE, root, owner.to_word() << 1);
        #[cfg(feature = "selftest")]
        if crate::provoke::lacks_table() {
            return Err(OutOfMemory::Quota);
        }
        pool::table_of(root, &shared.account, table, index)
    }
}

/// Takes tables back from a view of this core. False if there are none; else what lacked one is to be tried again.
#[cold]
pub fn reclaim(store: &Store<'_>) -> bool {
    let shared = &percpu::this().shared;
    let (mut shootdown, mut taken) = (translations::shootdown(), ArrayVec::<_, SLICE>::new());
    let progress = shared.views.give(&HARDWARE, |root, owner| {
        // SAFETY: a domain whose view is in the ring exists, and leaves it before it ends.
        let Some(domain) = (unsafe { store.trusted::<Domain>(owner >> 1) }) else { return Given::All };
        let domain = store.get(domain);
        let Some(_region) = lock::attempt(domain) else { return Given::Busy };
        let tables = iter::from_fn(|| {
            let (frame, (table, index)) = (!taken.is_full()).then(|| pool::take_table(root))??;
            taken.push(frame);
            let directory = |(_, first)| VirtAddr::new((first << 39 | index << 30) as u64);
            Some((frame, pool::referrer(table).map(directory)))
        });
        cache::take_back((&HARDWARE, &Cores), &domain.master(), root, tables, &mut shootdown);
        if taken.is_full() { Given::Some } else { Given::All }
    });
    shared.count(Counter::TablesReclaimed, taken.len() as u64);
    let acknowledged = shootdown.finish(&Cores);
    for frame in taken {
        // SAFETY: nothing refers to it, and it is empty.
        unsafe { pool::release_clean(frame, &shared.account, &acknowledged) };
    }
    progress
}
