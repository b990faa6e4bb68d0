//! Purpose: caches of single frames lose nothing, hand out nothing twice, and
//! take the lock once per half of their capacity.

use super::*;
use std::cell::{Cell, RefCell};

#[derive(Clone, Debug)]
enum CacheStep {
    Allocate(usize),
    Free(usize, usize),
    Drain(usize),
}

fn any_cache_step() -> impl Strategy<Value = CacheStep> {
    prop_oneof![
        5 => (0..2usize).prop_map(CacheStep::Allocate),
        4 => (0..2usize, any::<usize>()).prop_map(|(core, which)| CacheStep::Free(core, which)),
        1 => (0..2usize).prop_map(CacheStep::Drain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 192 }))]

    #[test]
    fn caches_of_two_cores_conserve_the_frames(
        count in 1..64u32, steps in prop::collection::vec(any_cache_step(), 0..200),
    ) {
        let mut descriptors = all_tails(count as usize);
        let frames = RefCell::new(Frames::new(&mut descriptors, 0).expect("frames are left"));
        let start = frames.borrow().check();
        let quota = plenty();
        let mut caches = [Cache::<8>::new(), Cache::new()];
        let mut owned: Vec<Frame> = Vec::new();
        for step in steps {
            match step {
                CacheStep::Allocate(core) => match caches[core].allocate(&quota, || frames.borrow_mut()) {
                    Ok(frame) => {
                        prop_assert!(owned.iter().all(|other| other.number() != frame.number()));
                        prop_assert!(frame.number().get() < count);
                        owned.push(frame);
                    }
                    Err(why) => {
                        prop_assert_eq!(why, OutOfMemory::Pool);
                        prop_assert_eq!(caches[core].frames.len(), 0);
                        prop_assert_eq!(frames.borrow().free_frames(), 0);
                    }
                },
                CacheStep::Free(core, which) if !owned.is_empty() => {
                    let frame = retired(owned.swap_remove(which % owned.len()));
                    prop_assert_eq!(caches[core].free(frame, &quota, || frames.borrow_mut()), Ok(()));
                }
                CacheStep::Drain(core) => {
                    prop_assert_eq!(caches[core].drain(&mut frames.borrow_mut()), Ok(()));
                    prop_assert!(caches[core].frames.is_empty());
                }
                CacheStep::Free(..) => {}
            }
            let cached: usize = caches.iter().map(|cache| cache.frames.len()).sum();
            let free = frames.borrow().free_frames() as usize;
            prop_assert_eq!(free + cached + owned.len(), count as usize);
            prop_assert_eq!(quota.usage() as usize, owned.len());
            prop_assert!(frames.borrow().check().is_ok());
        }
        for frame in owned {
            prop_assert_eq!(caches[0].free(retired(frame), &quota, || frames.borrow_mut()), Ok(()));
        }
        for cache in &mut caches {
            prop_assert_eq!(cache.drain(&mut frames.borrow_mut()), Ok(()));
        }
        prop_assert_eq!(frames.borrow().check(), start);
    }
}

#[test]
fn a_core_takes_the_lock_once_per_half_of_its_cache() {
    let mut descriptors = all_tails(64);
    let frames = RefCell::new(Frames::new(&mut descriptors, 0).expect("frames are left"));
    let locked = Cell::new(0);
    let lock = || {
        locked.set(locked.get() + 1);
        frames.borrow_mut()
    };
    let quota = plenty();
    let mut cache = Cache::<8>::new();
    let take = |cache: &mut Cache<8>| cache.allocate(&quota, lock).expect("free");
    let owned: Vec<Frame> = (0..8).map(|_| take(&mut cache)).collect();
    assert_eq!(locked.get(), 2);
    let give = |cache: &mut Cache<8>, frame| assert_eq!(cache.free(retired(frame), &quota, lock), Ok(()));
    owned.into_iter().for_each(|frame| give(&mut cache, frame));
    assert_eq!((locked.get(), cache.frames.len()), (2, 8));
    let extra = frames.borrow_mut().allocate(Order::PAGE, &quota).expect("free");
    give(&mut cache, extra);
    assert_eq!((locked.get(), cache.frames.len()), (3, 5), "a full cache gives half of it back first");
    for _ in 0..100 {
        let frame = take(&mut cache);
        give(&mut cache, frame);
    }
    assert_eq!(locked.get(), 3, "alternating between both needs no lock");
}

#[test]
fn a_cache_does_not_touch_the_pool_when_the_quota_is_exhausted() {
    let mut cache = Cache::<4>::new();
    let lock = || -> Box<Frames<'static>> { unreachable!("the account is checked first") };
    assert_eq!(cache.allocate(&Quota::new(0), lock).err(), Some(OutOfMemory::Quota));
}

#[test]
fn a_block_of_several_frames_passes_the_cache_by() {
    let mut descriptors = all_tails(16);
    let frames = RefCell::new(Frames::new(&mut descriptors, 0).expect("frames are left"));
    let (quota, mut cache) = (plenty(), Cache::<4>::new());
    let block = frames.borrow_mut().allocate(order(3), &quota).expect("free");
    assert_eq!(cache.free(retired(block), &quota, || frames.borrow_mut()), Ok(()));
    assert_eq!((cache.frames.len(), frames.borrow().free_frames(), quota.usage()), (0, 16, 0));
}

#[test]
fn a_foreign_frame_in_a_cache_is_reported_when_it_is_given_back() {
    let (mut here, mut there) = (all_tails(4), all_tails(64));
    let mut here = Frames::new(&mut here, 0).expect("frames are left");
    let mut there = Frames::new(&mut there, 32).expect("frames are left");
    let (quota, mut cache) = (plenty(), Cache::<4>::new());
    let frame = there.allocate(Order::PAGE, &quota).expect("free");
    let number = frame.number();
    assert_eq!(cache.free(retired(frame), &quota, || &mut here), Ok(()));
    assert_eq!(cache.drain(&mut here), Err(Defect::NotAllocated(number)));
    assert!(here.check().is_ok());
}

#[test]
fn the_lock_of_the_kernel_fits() {
    let descriptors = Vec::leak(all_tails(16));
    let shared = sync::Spin::new(Frames::new(descriptors, 0).expect("frames are left"));
    let (quota, mut cache) = (plenty(), Cache::<4>::new());
    let frame = cache.allocate(&quota, || shared.lock()).expect("free");
    assert_eq!(cache.free(retired(frame), &quota, || shared.lock()), Ok(()));
}
