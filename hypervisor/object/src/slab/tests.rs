//! Slabs against a plain model, on host memory; Miri runs this too.
use super::*;
use crate::Store;
use crate::reference::Kind;
use core::ptr::NonNull;
use sync::atomic::AtomicU64;

/// Pages of host memory. The first stays unused, as in the kernel.
struct Host {
    memory: Vec<Page>,
    free: Vec<u32>,
}
#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "reached as raw memory")] [u8; PAGE]);

impl Host {
    fn new(pages: u32) -> Self {
        Self { memory: vec![Page([0xA5; PAGE]); pages as usize], free: (1..pages).collect() }
    }
    fn store(&mut self) -> (Store<'_>, &mut Vec<u32>) {
        let base = NonNull::from(&mut self.memory[..]).cast();
        // SAFETY: the vector lives and is borrowed as long as the store; only this store touches it.
        (unsafe { Store::new(base, self.memory.len()) }, &mut self.free)
    }
}

struct Thing {
    value: AtomicU64,
    _bulk: [u64; 30],
}
// SAFETY: the only types of these kinds in the stores of these tests.
unsafe impl Object for Thing {
    const KIND: Kind = Kind::Portal;
}
struct Other(#[expect(dead_code, reason = "only its type matters")] AtomicU64);
// SAFETY: as above.
unsafe impl Object for Other {
    const KIND: Kind = Kind::Scheduling;
}

fn thing(value: u64) -> Thing {
    Thing { value: AtomicU64::new(value), _bulk: [value; 30] }
}

fn insert(slab: &mut Slab<Thing>, store: &Store<'_>, free: &mut Vec<u32>, value: u64) -> Option<Ref<Thing>> {
    let slot = slab.reserve(store).or_else(|| {
        // SAFETY: the page comes from the list of free ones.
        unsafe { slab.grow(store, FrameNumber(free.pop()?), 0) };
        slab.reserve(store)
    });
    Some(store.write(slot?, thing(value)))
}

#[test]
fn objects_keep_their_value_and_pages_come_back() {
    let mut host = Host::new(6);
    let (store, free) = host.store();
    let mut slab = Slab::<Thing>::default();
    let mut live: Vec<(Ref<Thing>, u64)> = Vec::new();
    let mut random = 1u64;
    for step in 0..if cfg!(miri) { 300 } else { 20_000 } {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let drain = step / 100 % 3 == 2;
        if random >> 33 & 1 == 0 && !drain {
            let wanted = insert(&mut slab, &store, free, step);
            assert!(wanted.is_some() || live.len() == 5 * Slab::<Thing>::PER_PAGE, "full only when all pages are");
            live.extend(wanted.map(|reference| (reference, step)));
        } else if !live.is_empty() {
            let (reference, value) = live.swap_remove((random >> 40) as usize % live.len());
            assert_eq!(store.get(reference).value.load(Relaxed), value);
            // SAFETY: it was removed from the list of live ones, which held the only reference.
            free.extend(unsafe { slab.remove(&store, reference) }.map(|page| page.0));
        }
        for &(reference, value) in &live {
            assert_eq!(store.get(reference).value.load(Relaxed), value);
        }
        let pages: std::collections::BTreeSet<_> =
            live.iter().map(|(reference, _)| reference.offset() / PAGE).collect();
        assert_eq!(pages.len() + free.len(), 5, "a page without objects goes back at once");
    }
}

struct Word(#[expect(dead_code, reason = "only its slot matters")] AtomicU64);
// SAFETY: as above.
unsafe impl Object for Word {
    const KIND: Kind = Kind::Node;
}
// SAFETY: an atomic integer.
unsafe impl Plain for Word {}

#[test]
fn runs_are_of_slots_that_follow_each_other_and_come_back_as_one_or_one_by_one() {
    let mut host = Host::new(6);
    let (store, free) = host.store();
    let mut slab = Slab::<Word>::default();
    let mut live: Vec<Vec<Ref<Word>>> = Vec::new();
    let mut random = 1u64;
    for _ in 0..if cfg!(miri) { 100 } else { 5_000 } {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (most, choice) = (1 + (random >> 33) % 16, (random >> 40) as usize);
        if choice % 5 < 3 {
            let run = slab.reserve_run(&store, most).or_else(|| {
                // SAFETY: the page comes from the list of free ones.
                unsafe { slab.grow(&store, FrameNumber(free.pop()?), 0) };
                slab.reserve_run(&store, most)
            });
            let Some((first, count)) = run else { continue };
            assert!((1..=most).contains(&count));
            let first = store.adopt(first).to_word();
            // SAFETY: the run has so many slots, which follow each other.
            let run = (0..count).map(|at| unsafe { store.certain::<Word>(first + at * GRANULE as u64) });
            live.push(run.collect());
        } else if !live.is_empty() {
            let run = live.swap_remove(choice % live.len());
            let count = run.len() as u32;
            let mut pages = Vec::new();
            if choice.is_multiple_of(2) {
                // SAFETY: these are the only references.
                pages.extend(unsafe { slab.remove_run(&store, run[0], count) });
            }
            for &it in run.iter().rev().filter(|_| !choice.is_multiple_of(2)) {
                // SAFETY: as above.
                pages.extend(unsafe { slab.remove(&store, it) });
            }
            free.extend(pages.into_iter().map(|page| page.0));
        }
        let names: Vec<_> = live.iter().flatten().map(|reference| reference.offset()).collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "no slot is given twice");
        let pages: std::collections::BTreeSet<_> = names.iter().map(|offset| offset / PAGE).collect();
        assert_eq!(pages.len() + free.len(), 5, "a page without objects goes back at once");
    }
}

#[test]
fn a_word_names_an_object_of_its_own_type_only() {
    let mut host = Host::new(3);
    let (store, free) = host.store();
    let mut slab = Slab::<Thing>::default();
    let reference = insert(&mut slab, &store, free, 5);
    let word = reference.map_or(0, Ref::to_word);
    assert_eq!(store.reference::<Thing>(word), reference);
    assert_eq!(store.reference::<Other>(word), None);
    assert_eq!(store.reference::<Thing>(0), None);
    assert_eq!(store.reference::<Thing>(1 << 20), None, "beyond the memory");
    assert_eq!(store.reference::<Thing>(1 << 32 | word), None, "more than 32 bits");
}

#[test]
fn ended_objects_are_dropped() {
    static DROPPED: AtomicU64 = AtomicU64::new(0);
    struct Noisy(#[expect(dead_code, reason = "objects have a size")] u64);
    impl Drop for Noisy {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Relaxed);
        }
    }
    // SAFETY: as above.
    unsafe impl Object for Noisy {
        const KIND: Kind = Kind::Semaphore;
    }
    let mut host = Host::new(2);
    let (store, _) = host.store();
    let mut slab = Slab::<Noisy>::default();
    // SAFETY: page 1 is free.
    unsafe { slab.grow(&store, FrameNumber(1), 0) };
    let reference = slab.reserve(&store).map(|slot| store.write(slot, Noisy(1)));
    assert!(reference.is_some());
    if let Some(reference) = reference {
        // SAFETY: the only reference.
        assert_eq!(unsafe { slab.remove(&store, reference) }, Some(FrameNumber(1)));
    }
    assert_eq!(DROPPED.load(Relaxed), 1);
}
