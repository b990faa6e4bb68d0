//! Purpose: the allocator against a plain model, and each rule on its own.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use super::check::Broken;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn order(log2: u8) -> Order {
    Order::new(log2).expect("a valid order")
}

fn allocated(order: Order) -> Descriptor {
    Descriptor { kind: Kind::Allocated(order), ..Descriptor::TAIL }
}

fn all_tails(count: usize) -> Vec<Descriptor> {
    vec![Descriptor::TAIL; count]
}

fn numbers(frame: &Frame<Dirty>) -> std::ops::Range<u32> {
    frame.number().0..frame.number().0 + frame.order().frames()
}

fn plenty() -> Quota {
    Quota::new(1 << 30)
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(u8),
    AllocatePage,
    Free(usize),
    FreeClean(usize),
    ThroughNumber(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => prop_oneof![4 => 0..4u8, 1 => 0..=9u8].prop_map(Step::Allocate),
        3 => Just(Step::AllocatePage),
        4 => any::<usize>().prop_map(Step::Free),
        2 => any::<usize>().prop_map(Step::FreeClean),
        1 => any::<usize>().prop_map(Step::ThroughNumber),
    ]
}

/// Whether the free frames contain an aligned block of that order.
fn has_block(free: &BTreeSet<u32>, order: Order, count: u32) -> bool {
    let size = order.frames();
    (0..count / size).any(|at| (at * size..(at + 1) * size).all(|frame| free.contains(&frame)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 192 }))]

    #[test]
    fn the_allocator_behaves_like_a_set_of_free_frames(
        count in 1..1500u32,
        reserved in 0..40u32,
        steps in prop::collection::vec(any_step(), 0..120),
    ) {
        let reserved = reserved.min(count - 1);
        let mut descriptors = all_tails(count as usize);
        let mut frames = Frames::new(&mut descriptors, reserved).expect("frames are left");
        let quota = plenty();
        let start = frames.check();
        let mut free: BTreeSet<u32> = (reserved..count).collect();
        let mut owned: Vec<Frame> = Vec::new();
        // Freed as frames of zeros, and not allocated since.
        let mut zeros: BTreeSet<u32> = BTreeSet::new();
        prop_assert!(start.is_ok());
        for step in steps {
            match step {
                Step::Allocate(log2) => match frames.allocate(order(log2), &quota) {
                    Ok(frame) => {
                        prop_assert_eq!(frame.order(), order(log2));
                        prop_assert!(frame.number().0.is_multiple_of(frame.order().frames()));
                        for number in numbers(&frame) {
                            prop_assert!(free.remove(&number), "frame {} was not free", number);
                            zeros.remove(&number);
                        }
                        owned.push(frame);
                    }
                    Err(why) => {
                        prop_assert_eq!(why, OutOfMemory::Pool);
                        prop_assert!(!has_block(&free, order(log2), count), "there was a block");
                    }
                },
                Step::AllocatePage => match frames.allocate_page(&quota) {
                    Ok(frame) => {
                        let (frame, known) = match frame {
                            Ok(frame) => (frame.into_number(), true),
                            Err(frame) => (frame.into_number(), false),
                        };
                        prop_assert!(free.remove(&frame.0), "it was not free");
                        prop_assert!(zeros.remove(&frame.0) || !known, "it is not known to be zero");
                        owned.push(frames.reclaim(frame, Unshown).expect("it is allocated"));
                    }
                    Err(why) => prop_assert_eq!((why, free.len()), (OutOfMemory::Pool, 0)),
                },
                Step::Free(which) if !owned.is_empty() => {
                    let frame = owned.swap_remove(which % owned.len());
                    free.extend(numbers(&frame));
                    zeros.retain(|zero| !numbers(&frame).contains(zero));
                    prop_assert_eq!(frames.free(frame, &quota), Ok(()));
                }
                Step::FreeClean(which) if !owned.is_empty() => {
                    let frame = owned.swap_remove(which % owned.len());
                    free.extend(numbers(&frame));
                    zeros.extend(numbers(&frame));
                    prop_assert_eq!(frames.free_clean(frame.cleared_by(|_, _| ()), &quota), Ok(()));
                }
                Step::ThroughNumber(which) if !owned.is_empty() => {
                    let frame = owned.swap_remove(which % owned.len());
                    let (size, number) = (frame.order(), frame.into_number());
                    let again = frames.reclaim(number, Unshown).expect("it is allocated");
                    prop_assert_eq!((again.number(), again.order()), (number, size));
                    owned.push(again);
                }
                _ => {}
            }
            prop_assert!(frames.check().is_ok());
            prop_assert_eq!(frames.free_frames() as usize, free.len());
            prop_assert_eq!(quota.usage() as usize, (count - reserved) as usize - free.len());
        }
        for frame in owned {
            prop_assert_eq!(frames.free(frame, &quota), Ok(()));
        }
        frames.tidy();
        prop_assert_eq!(frames.check(), start);
        prop_assert_eq!(frames.free_frames(), count - reserved);
        prop_assert_eq!(quota.usage(), 0);
    }
}

#[test]
fn a_descriptor_is_12_bytes_and_a_tail_has_neither_links_nor_order() {
    assert_eq!(size_of::<Descriptor>(), 12);
    let Descriptor { kind, previous, next } = Descriptor::TAIL;
    assert_eq!((kind, previous.index(), next.index()), (Kind::Tail, None, None));
}

#[test]
fn setting_up_writes_the_heads_of_the_largest_blocks_only() {
    let mut descriptors = all_tails(196_608);
    let reserved = 384;
    let frames = Frames::new(&mut descriptors, reserved).expect("frames are left");
    assert_eq!(frames.free_frames(), 196_608 - 384);
    assert_eq!(frames.check(), Ok([0, 0, 0, 0, 0, 0, 0, 1, 0, 383]));
    let written = descriptors.iter().filter(|descriptor| **descriptor != Descriptor::TAIL).count();
    assert_eq!(written, 384);
}

#[test]
fn frames_that_belong_to_another_are_found_last_first() {
    let mut descriptors = all_tails(16);
    let mut frames = Frames::new(&mut descriptors, 0).expect("frames are left");
    let quota = plenty();
    let [root, other, a, b, c] =
        [(); 5].map(|()| frames.allocate(Order::PAGE, &quota).expect("there are 16").into_number());
    for (root, frame, number) in [(root, a, 7), (other, b, 0), (root, c, 5)] {
        frames.note(root, frame, number);
    }
    let found = [root, root, root, other, other].map(|root| frames.denote(root, Unshown));
    assert_eq!(found, [Some((c, 5)), Some((a, 7)), None, Some((b, 0)), None]);
    frames.note(other, a, 1);
    assert_eq!(frames.denote(other, Unshown), Some((a, 1)));
}

#[test]
fn a_pool_without_frames_is_refused() {
    assert!(Frames::new(&mut [], 0).is_none());
    assert!(Frames::new(&mut all_tails(4), 4).is_none());
    assert!(Frames::new(&mut all_tails(4), u32::MAX).is_none());
    assert!(Frames::new(&mut all_tails(4), 3).is_some());
}

#[test]
fn reserved_frames_are_never_handed_out() {
    let mut descriptors = all_tails(64);
    let mut frames = Frames::new(&mut descriptors, 5).expect("frames are left");
    let quota = plenty();
    let taken: Vec<Frame> = std::iter::from_fn(|| frames.allocate(Order::PAGE, &quota).ok()).collect();
    assert_eq!(taken.len(), 59);
    assert!(taken.iter().all(|frame| frame.number().0 >= 5));
    for frame in taken {
        assert_eq!(frames.free(frame, &quota), Ok(()));
    }
    assert_eq!(frames.check().err(), None);
}

#[test]
fn exhaustion_says_whether_pool_or_quota_is_exhausted() {
    let mut descriptors = all_tails(4);
    let mut frames = Frames::new(&mut descriptors, 0).expect("frames are left");
    let (poor, rich) = (Quota::new(1), Quota::new(100));
    assert_eq!(frames.allocate(order(1), &poor).err(), Some(OutOfMemory::Quota));
    assert_eq!(frames.allocate(order(3), &rich).err(), Some(OutOfMemory::Pool));
    assert_eq!((poor.usage(), rich.usage()), (0, 0), "a failure charges nothing");
    let frame = frames.allocate(order(2), &rich).expect("the pool is one block of 4");
    assert_eq!(rich.usage(), 4);
    assert_eq!(frames.allocate(Order::PAGE, &poor).err(), Some(OutOfMemory::Pool));
    assert_eq!(frames.free(frame, &rich), Ok(()));
    assert_eq!((frames.free_frames(), rich.usage()), (4, 0));
}

#[test]
fn freeing_into_another_pool_is_reported() {
    let (mut large, mut small) = (all_tails(64), all_tails(4));
    let mut large = Frames::new(&mut large, 32).expect("frames are left");
    let mut small = Frames::new(&mut small, 0).expect("frames are left");
    let quota = plenty();
    let beyond = large.allocate(Order::PAGE, &quota).expect("free");
    let number = beyond.number();
    assert_eq!(small.free(beyond, &quota), Err(Defect::NotAllocated(number)));
    assert_eq!(small.check().err(), None);
    // Same number, other order.
    let (mut third, mut fourth) = (all_tails(4), all_tails(4));
    let mut third = Frames::new(&mut third, 0).expect("frames are left");
    let mut fourth = Frames::new(&mut fourth, 0).expect("frames are left");
    let (pair, single) = (third.allocate(order(1), &quota), fourth.allocate(Order::PAGE, &quota));
    let (pair, single) = (pair.expect("free"), single.expect("free"));
    assert_eq!(pair.number(), single.number());
    let number = pair.number();
    assert_eq!(fourth.free(pair, &quota), Err(Defect::NotAllocated(number)));
    assert_eq!(fourth.free(single, &quota), Ok(()));
}

#[test]
fn a_number_reclaimed_twice_is_freed_once() {
    let mut descriptors = all_tails(8);
    let mut frames = Frames::new(&mut descriptors, 0).expect("frames are left");
    let quota = plenty();
    let number = frames.allocate(order(1), &quota).expect("free").into_number();
    let (one, two) = (frames.reclaim(number, Unshown), frames.reclaim(number, Unshown));
    assert_eq!(frames.free(one.expect("allocated"), &quota), Ok(()));
    assert_eq!(frames.free(two.expect("allocated"), &quota), Err(Defect::NotAllocated(number)));
    assert_eq!(frames.reclaim(number, Unshown).err(), Some(Defect::NotAllocated(number)));
    assert_eq!(frames.reclaim(FrameNumber(99), Unshown).err(), Some(Defect::NotAllocated(FrameNumber(99))));
    assert_eq!(frames.check().err(), None);
}

#[test]
fn refunding_an_account_that_did_not_pay_is_reported() {
    let mut descriptors = all_tails(8);
    let mut frames = Frames::new(&mut descriptors, 0).expect("frames are left");
    let (payer, other) = (plenty(), plenty());
    let frame = frames.allocate(order(1), &payer).expect("free");
    let number = frame.number();
    assert_eq!(frames.free(frame, &other), Err(Defect::NotCharged(number)));
    assert_eq!((other.usage(), frames.free_frames()), (0, 8));
}

#[test]
fn clearing_sees_the_whole_block_once() {
    let mut descriptors = all_tails(16);
    let mut frames = Frames::new(&mut descriptors, 0).expect("frames are left");
    let quota = plenty();
    let frame = frames.allocate(order(2), &quota).expect("free");
    let place = (frame.number(), frame.order());
    let mut cleared = Vec::new();
    let clean = frame.cleared_by(|number, order| cleared.push((number, order)));
    assert_eq!(cleared, [place]);
    assert_eq!(frames.reclaim(clean.into_number(), Unshown).and_then(|frame| frames.free(frame, &quota)), Ok(()));
}

#[test]
fn the_checker_notices_what_it_checks() {
    fn broken(damage: impl FnOnce(&mut Frames<'_>)) -> Broken {
        let mut descriptors = all_tails(32);
        let mut frames = Frames::new(&mut descriptors, 2).expect("frames are left");
        assert_eq!(frames.check().err(), None);
        damage(&mut frames);
        frames.check().expect_err("the damage shows")
    }
    let at = FrameNumber;
    assert_eq!(broken(|frames| frames.free -= 1), Broken::Count);
    assert_eq!(broken(|frames| frames.lists[4] = Link::NONE), Broken::List(order(4)));
    assert_eq!(broken(|frames| frames.lists[3] = Link::to(4)), Broken::List(order(3)));
    assert_eq!(broken(|frames| frames.descriptors[16].next = Link::to(16)), Broken::List(order(4)));
    assert_eq!(broken(|frames| frames.descriptors[16] = Descriptor::TAIL), Broken::Tiling(at(16)));
    assert_eq!(broken(|frames| frames.descriptors[20] = allocated(Order::PAGE)), Broken::Tiling(at(20)));
    assert_eq!(broken(|frames| frames.descriptors[0] = allocated(Order::PAGE)), Broken::Tiling(at(1)));
    assert_eq!(broken(|frames| frames.descriptors[4] = allocated(order(3))), Broken::Tiling(at(4)));
    let unjoined = broken(|frames| {
        frames.unlink(16, order(4));
        frames.push(16, order(3));
        frames.push(24, order(3));
    });
    assert_eq!(unjoined, Broken::Unjoined(at(16)));
}

#[test]
fn orders_know_their_sizes() {
    assert_eq!(Order::new(10), None);
    assert_eq!(Order::covering(0), Some(Order::PAGE));
    assert_eq!(Order::covering(4096), Some(Order::PAGE));
    assert_eq!(Order::covering(4097), Some(order(1)));
    assert_eq!(Order::covering(3 * 4096), Some(order(2)));
    assert_eq!(Order::covering(2 << 20), Some(Order::MAX));
    assert_eq!(Order::covering((2 << 20) + 1), None);
    assert_eq!(Order::covering(u64::MAX), None);
}

#[test]
fn who_has_paid_for_frames_finds_them_whoever_else_takes_what_he_can_pay_for() {
    let mut descriptors = all_tails(64);
    let mut frames = Frames::new(&mut descriptors, 0).expect("frames are left");
    let all = Quota::new(64);
    let own = Quota::funded_by(&all, 0, 20).expect("there are as many");
    assert_eq!(own.charge(9), Ok(()));
    for quota in [&all, &own] {
        while let Ok(frame) = frames.allocate_page(quota) {
            let _ = frame.map(Frame::into_number);
        }
    }
    assert_eq!(frames.free_frames(), 9);
    assert_eq!((0..9).filter(|_| frames.charged_page(&own).is_ok()).count(), 9);
    assert_eq!((own.usage(), frames.free_frames()), (20, 0));
    // Without a frame nothing is charged any more.
    assert_eq!(frames.charged_page(&own).err(), Some(OutOfMemory::Pool));
    assert_eq!(own.usage(), 19);
}
