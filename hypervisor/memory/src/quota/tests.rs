//! Purpose: accounts never go below zero or above their limit.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use super::*;

#[cfg(not(any(loom, shuttle)))]
mod plain {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_charge_up_to_the_limit_succeeds_and_one_page_more_does_not() {
        let quota = Quota::new(10);
        assert_eq!(quota.charge(10), Ok(()));
        assert_eq!(quota.charge(1), Err(QuotaExceeded));
        assert_eq!(quota.usage(), 10);
        assert_eq!(quota.refund(10), Ok(()));
        assert_eq!((quota.usage(), quota.limit()), (0, 10));
    }

    #[test]
    fn a_charge_beyond_what_a_word_counts_is_refused() {
        let quota = Quota::new(u32::MAX);
        assert_eq!(quota.charge(u32::MAX), Ok(()));
        assert_eq!(quota.charge(1), Err(QuotaExceeded));
        assert_eq!(quota.charge(u32::MAX), Err(QuotaExceeded));
        assert_eq!(quota.refund(u32::MAX), Ok(()));
    }

    #[test]
    fn a_refund_to_the_wrong_account_is_reported_and_changes_nothing() {
        let (right, wrong) = (Quota::new(5), Quota::new(5));
        assert_eq!(right.charge(3), Ok(()));
        assert_eq!(wrong.refund(3), Err(NotCharged));
        assert_eq!((right.usage(), wrong.usage()), (3, 0));
    }

    #[test]
    fn the_lower_part_can_be_used_but_not_transferred() {
        let donor = Quota::new(100);
        let child = Quota::funded_by(&donor, 4, 10).expect("the donor has enough");
        assert_eq!((donor.limit(), child.limit(), child.lower()), (90, 10, 4));
        assert_eq!(transfer(&child, &donor, 7), Err(QuotaExceeded));
        assert_eq!(transfer(&child, &donor, 6), Ok(()));
        assert_eq!((donor.limit(), child.limit()), (96, 4));
        assert_eq!(child.charge(4), Ok(()), "the lower part may be used");
        assert_eq!(child.refund(4), Ok(()));
    }

    #[test]
    fn an_account_cannot_keep_more_than_it_is_given() {
        let donor = Quota::new(100);
        assert!(Quota::funded_by(&donor, 11, 10).is_err());
        assert!(Quota::funded_by(&donor, 0, 101).is_err());
        assert_eq!(donor.limit(), 100);
    }

    #[test]
    fn used_pages_cannot_be_transferred() {
        let (from, to) = (Quota::new(10), Quota::new(0));
        assert_eq!(from.charge(8), Ok(()));
        assert_eq!(transfer(&from, &to, 3), Err(QuotaExceeded));
        assert_eq!(transfer(&from, &to, u32::MAX), Err(QuotaExceeded));
        assert_eq!(transfer(&from, &to, 2), Ok(()));
        assert_eq!(from.refund(8), Ok(()));
    }

    #[test]
    fn a_transfer_that_the_target_cannot_hold_is_undone() {
        let (from, to) = (Quota::new(10), Quota::new(u32::MAX));
        assert_eq!(transfer(&from, &to, 1), Err(QuotaExceeded));
        assert_eq!((from.limit(), to.limit()), (10, u32::MAX));
    }

    #[test]
    fn a_transfer_to_itself_changes_nothing() {
        let quota = Quota::new(10);
        assert_eq!(transfer(&quota, &quota, 10), Ok(()));
        assert_eq!(quota.limit(), 10);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Charge(usize, u32),
        Refund(usize),
        Transfer(usize, usize, u32),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3usize, 0..40u32).prop_map(|(account, pages)| Step::Charge(account, pages)),
            any::<usize>().prop_map(Step::Refund),
            (0..3usize, 0..3usize, 0..40u32).prop_map(|(from, to, pages)| Step::Transfer(from, to, pages)),
        ]
    }

    proptest! {
        #[test]
        fn accounts_behave_like_plain_numbers(steps in prop::collection::vec(any_step(), 0..100)) {
            let root = Quota::new(100);
            let accounts = [
                Quota::funded_by(&root, 0, 20).expect("100 pages"),
                Quota::funded_by(&root, 5, 30).expect("80 pages"),
                root,
            ];
            let (mut limit, mut usage, lower) = ([20, 30, 50], [0, 0, 0], [0, 5, 0]);
            let mut charges = Vec::new();
            for step in steps {
                match step {
                    Step::Charge(at, pages) => match accounts[at].charge(pages) {
                        Ok(()) => {
                            usage[at] += pages;
                            prop_assert!(usage[at] <= limit[at]);
                            charges.push((at, pages));
                        }
                        Err(QuotaExceeded) => prop_assert!(usage[at] + pages > limit[at]),
                    },
                    Step::Refund(which) => {
                        if !charges.is_empty() {
                            let (at, pages) = charges.swap_remove(which % charges.len());
                            usage[at] -= pages;
                            prop_assert_eq!(accounts[at].refund(pages), Ok(()));
                        }
                    }
                    Step::Transfer(from, to, pages) => {
                        let allowed = usage[from] + lower[from] + pages <= limit[from];
                        prop_assert_eq!(transfer(&accounts[from], &accounts[to], pages).is_ok(), allowed);
                        if allowed {
                            limit[from] -= pages;
                            limit[to] += pages;
                        }
                    }
                }
                for (at, account) in accounts.iter().enumerate() {
                    prop_assert_eq!((account.limit(), account.usage()), (limit[at], usage[at]));
                }
            }
        }
    }

    #[test]
    fn threads_that_charge_and_transfer_lose_no_page() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let (one, two) = (Quota::new(8), Quota::new(8));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (one, two) = (&one, &two);
            let work = |from, to| {
                for _ in 0..20_000 {
                    if Quota::charge(from, 3).is_ok() {
                        assert_eq!(Quota::refund(from, 3), Ok(()));
                    }
                    let _ = transfer(from, to, 2);
                }
            };
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let account = one.read();
                    assert!(account.usage <= account.limit);
                }
            });
            let workers = [scope.spawn(move || work(one, two)), scope.spawn(move || work(two, one))];
            let results = workers.map(|worker| worker.join());
            done.store(true, Ordering::Relaxed);
            assert!(results.iter().all(Result::is_ok));
        });
        assert_eq!((one.usage(), two.usage()), (0, 0));
        assert_eq!(one.limit() + two.limit(), 16);
    }
}

/// Interleavings of two threads, and all values that their loads may see.
///
/// The checker remembers only the last access to an atomic, so it does not try
/// to put a load of one thread behind a load-and-exchange of another. Hence each
/// model counts the outcomes that it has met: one that explores too little fails.
#[cfg(loom)]
mod model {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    /// Runs the model, which returns whether the rarer of two outcomes came
    /// about, and checks that both did.
    fn explore(model: impl Fn() -> bool + Sync + Send + 'static) {
        let met = std::sync::Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let outcomes = met.clone();
        loom::model(move || {
            met[usize::from(model())].fetch_add(1, Ordering::Relaxed);
        });
        assert!(outcomes.iter().all(|count| count.load(Ordering::Relaxed) > 0), "explored: {outcomes:?}");
    }

    #[test]
    fn a_page_is_either_charged_or_transferred() {
        explore(|| {
            let (from, to) = (Arc::new(Quota::new(3)), Arc::new(Quota::new(0)));
            let charging = loom::thread::spawn({
                let from = from.clone();
                move || from.charge(2)
            });
            let transferred = transfer(&from, &to, 2);
            let seen = from.read();
            assert!(seen.usage <= seen.limit);
            let charged = charging.join().expect("the thread ends");
            assert_ne!(charged.is_ok(), transferred.is_ok());
            assert_eq!(from.limit() + to.limit(), 3);
            assert_eq!(from.usage(), charged.map_or(0, |()| 2));
            transferred.is_err()
        });
    }

    #[test]
    fn two_transfers_in_opposite_directions_conserve_the_sum() {
        explore(|| {
            let (one, two) = (Arc::new(Quota::new(2)), Arc::new(Quota::new(1)));
            let other = loom::thread::spawn({
                let (one, two) = (one.clone(), two.clone());
                move || transfer(&two, &one, 2)
            });
            assert_eq!(transfer(&one, &two, 2), Ok(()));
            let returned = other.join().expect("the thread ends");
            assert_eq!(one.limit() + two.limit(), 3);
            returned.is_ok()
        });
    }

    #[test]
    fn who_sees_a_usage_of_zero_sees_the_work_before_the_last_refund() {
        explore(|| {
            let quota = Arc::new(Quota::new(1));
            let page = Arc::new(UnsafeCell::new(()));
            assert_eq!(quota.charge(1), Ok(()));
            let user = loom::thread::spawn({
                let (quota, page) = (quota.clone(), page.clone());
                move || {
                    page.with_mut(|_| ());
                    assert_eq!(quota.refund(1), Ok(()));
                }
            });
            // Lets the other thread go first, which may or may not be seen.
            loom::thread::yield_now();
            let free = quota.usage() == 0;
            if free {
                // Panics if the access above is not ordered before.
                page.with_mut(|_| ());
            }
            user.join().expect("the thread ends");
            free
        });
    }
}
