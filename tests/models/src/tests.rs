//! Purpose: all designs wake the same threads at the same ticks, and their costs are ordered as the lecture says.
use super::*;
use crate::compare::{Outcome, run};
use crate::workload::{Mixture, Step, steps};
use std::collections::{BTreeMap, BTreeSet};

/// What must happen: who is woken at each tick, by the time they wait for and the order in which they began to wait.
fn expected(steps: &[Step]) -> Vec<(u64, Vec<usize>)> {
    let (mut waiting, mut times) = (BTreeSet::new(), BTreeMap::new());
    let mut woken = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Insert(thread, wakeup) => {
                waiting.insert((wakeup, number, thread));
                times.insert(thread, (wakeup, number));
            }
            Step::Remove(thread) => {
                let (wakeup, number) = times[&thread];
                assert!(waiting.remove(&(wakeup, number, thread)), "a thread is removed only while it waits");
            }
            Step::Tick(now) => {
                let later = waiting.split_off(&(now + 1, 0, 0));
                let due: Vec<_> = std::mem::replace(&mut waiting, later).iter().map(|due| due.2).collect();
                if !due.is_empty() {
                    woken.push((now, due));
                }
            }
        }
    }
    woken
}

fn sorted(woken: &[(u64, Vec<usize>)]) -> Vec<(u64, BTreeSet<usize>)> {
    woken.iter().map(|(tick, threads)| (*tick, threads.iter().copied().collect())).collect()
}

/// Runs all designs and checks that they do what is expected of them; returns their outcomes by name.
fn outcomes(threads: usize, steps: &[Step]) -> BTreeMap<&'static str, Outcome> {
    let expected = expected(steps);
    let count = |woken: &[(u64, Vec<usize>)]| woken.iter().map(|(_, threads)| threads.len()).sum::<usize>();
    let outcomes: Vec<_> = designs(threads).iter_mut().map(|design| run(design.as_mut(), steps)).collect();
    for outcome in &outcomes {
        // Within a tick the order of the lecture's designs is not defined; nobody is woken twice.
        let same = sorted(&outcome.woken).into_iter().eq(sorted(&expected));
        assert!(same && count(&outcome.woken) == count(&expected), "{}", outcome.name);
        assert!(outcome.name != "tree" || outcome.woken == expected, "the kernel's order is defined");
    }
    outcomes.into_iter().map(|outcome| (outcome.name, outcome)).collect()
}

/// All `threads` begin to wait for times that are far away, one list after the other, and so many ticks pass.
fn waiting(threads: usize, ticks: u64, distance: u64) -> Vec<Step> {
    let insert = (0..threads).map(|thread| Step::Insert(thread, distance + thread as u64 * TICK));
    insert.chain((1..=ticks).map(|tick| Step::Tick(tick * TICK))).collect()
}

#[test]
fn all_designs_wake_the_same_threads_at_the_same_ticks() {
    for seed in 1..=20 {
        let mixture = Mixture { threads: 60, waiting: 30, calls: 7, ticks: 3000, longest: 14 };
        let steps = steps(mixture, seed);
        let outcomes = outcomes(60, &steps);
        assert!(outcomes["tree"].woken.len() > 100, "many are woken: {}", outcomes["tree"].woken.len());
        assert!(outcomes["tree"].remove.operations > 1000);
    }
}

#[test]
fn no_thread_is_lost_when_ticks_are_missed() {
    for seed in 1..=20 {
        let mixture = Mixture { threads: 60, waiting: 30, calls: 3, ticks: 3000, longest: 14 };
        let mut late = Vec::new();
        for step in steps(mixture, seed) {
            match step {
                // The interrupts of a while are missed, then of a long while.
                Step::Tick(now) if now % 100 != 0 || (now / 1000) % 4 == 1 => {}
                other => late.push(other),
            }
        }
        // Threads that should have been woken are removed or inserted anew meanwhile: leave those out.
        let (mut busy, mut dropped) = (BTreeMap::new(), BTreeSet::new());
        late.retain(|step| match *step {
            Step::Insert(thread, wakeup) => match busy.get(&thread) {
                None => busy.insert(thread, wakeup).is_none(),
                Some(_) => {
                    dropped.insert(thread);
                    false
                }
            },
            Step::Remove(thread) => !dropped.remove(&thread) && busy.remove(&thread).is_some(),
            Step::Tick(now) => {
                busy.retain(|_, wakeup| *wakeup > now);
                dropped.clear();
                true
            }
        });
        let outcomes = outcomes(60, &late);
        assert!(outcomes["tree"].woken.len() > 20);
    }
}

#[test]
fn wake_ups_are_exact_across_changes_of_the_base() {
    use window::{LONGEST, WINDOW};
    let around = [WINDOW - TICK, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW - 3, 2 * WINDOW, 5 * WINDOW + 7, LONGEST];
    let insert = around.iter().enumerate().map(|(thread, wakeup)| Step::Insert(thread, *wakeup));
    let mut warp: Vec<_> = insert.collect();
    // Time jumps from shortly before each wake-up to shortly after it, and over whole windows.
    let ticks = around.iter().flat_map(|wakeup| {
        let tick = wakeup.div_ceil(TICK) * TICK;
        [tick - TICK, tick, tick + TICK]
    });
    warp.extend(ticks.collect::<BTreeSet<_>>().into_iter().map(Step::Tick));
    let outcomes = outcomes(around.len(), &warp);
    assert_eq!(outcomes["base+offset"].woken.iter().map(|(_, threads)| threads.len()).sum::<usize>(), around.len());
    // The same from within a later window.
    let start = 3 * WINDOW + 40;
    let mut later = vec![Step::Tick(start)];
    later.extend(warp.iter().map(|step| match *step {
        Step::Insert(thread, wakeup) => Step::Insert(thread, start + wakeup),
        Step::Tick(now) => Step::Tick(start + now),
        Step::Remove(thread) => Step::Remove(thread),
    }));
    let _ = self::outcomes(around.len(), &later);
}

#[test]
fn the_longest_timeout_with_a_base_is_2_to_the_31_milliseconds() {
    let steps = [Step::Insert(0, window::LONGEST * 3), Step::Tick(window::LONGEST - TICK), Step::Tick(window::LONGEST)];
    assert_eq!(run(&mut Window::new(1), &steps).woken, [(window::LONGEST, vec![0])]);
    assert!(run(&mut Tree::new(1), &steps).woken.is_empty());
}

#[test]
fn eight_lists_of_400_threads_inspect_12_500_entries_per_second() {
    assert_eq!(lecture::inspected_per_second(lecture::THREADS), 12_500);
    let threads = lecture::THREADS as usize;
    let outcomes = outcomes(threads, &waiting(threads, lecture::TICKS_PER_SECOND, 100_000));
    let lists = outcomes["lists"].tick;
    assert_eq!((lists.operations, lists.entries, lists.worst), (250, 12_500, 50));
    assert_eq!(outcomes["array"].tick.entries, 250 * 400);
}

#[test]
fn the_lectures_shares_of_processor_time_follow_from_its_figures() {
    let inspected = lecture::inspected_per_second(lecture::THREADS);
    assert!(lecture::inspection_share(inspected) < 10_000, "less than 1 %");
    assert_eq!(lecture::message_share(inspected), 62_500, "at least 6 % for as many messages");
    assert_eq!(lecture::messages_per_second(inspected), 50_000);
    assert_eq!(lecture::message_share(lecture::messages_per_second(inspected)), 250_000, "25 %");
}

#[test]
fn a_tick_costs_most_with_the_array_then_lists_then_short_and_long_and_least_with_the_tree() {
    for threads in [400, 16_384] {
        // A second or ten in which nobody is woken.
        for ticks in [250, 2500] {
            let outcomes = outcomes(threads, &waiting(threads, ticks, 100_000));
            let cost = |name: &str| outcomes[name].tick.entries;
            assert_eq!(cost("array"), ticks * threads as u64);
            // Ten seconds do not begin and end at the same list.
            let share = ticks * threads as u64 / LISTS;
            assert!(cost("lists").abs_diff(share) <= threads as u64 / LISTS);
            assert!(cost("short/long") * 3 < cost("lists"), "one look in four periods: {}", cost("short/long"));
            assert_eq!(cost("tree"), ticks, "one look at the first");
            let worst = ["array", "lists", "tree"].map(|name| outcomes[name].tick.worst);
            assert_eq!(worst, [threads as u64, threads as u64 / LISTS, 1]);
        }
    }
}

#[test]
fn a_window_leaves_out_what_wakes_later() {
    let far: Vec<_> = waiting(400, 250, 100_000)
        .into_iter()
        .map(|step| match step {
            Step::Insert(thread, wakeup) if thread >= 200 => Step::Insert(thread, wakeup + window::WINDOW),
            other => other,
        })
        .collect();
    let outcomes = outcomes(400, &far);
    assert_eq!(outcomes["base+offset"].tick.entries * 2, outcomes["lists"].tick.entries);
}

#[test]
fn array_and_lists_insert_with_one_store_and_the_tree_with_a_logarithm() {
    for threads in [400, 16_384] {
        let mixture = Mixture { threads, waiting: threads / 2, calls: 50, ticks: 500, longest: 20 };
        let outcomes = outcomes(threads, &steps(mixture, 3));
        for name in ["array", "lists", "short/long", "base+offset"] {
            let [insert, remove] = [outcomes[name].insert, outcomes[name].remove];
            assert_eq!((insert.average(), insert.worst), (1.0, 1), "{name}");
            assert!(remove.worst <= 2, "{name}");
        }
        let tree = &outcomes["tree"];
        let logarithm = f64::from((threads as u32).ilog2());
        assert!(tree.insert.average() > 1.0 && tree.insert.average() < 2.0 * logarithm, "{:?}", tree.insert);
        assert!(tree.remove.average() < 6.0 * logarithm + 3.0, "{:?}", tree.remove);
        assert!((tree.insert.worst.max(tree.remove.worst) as f64) < 6.0 * logarithm + 3.0);
        // A tick costs a look at the first, and a look and a removal for each thread that is woken.
        let woken: usize = tree.woken.iter().map(|(_, threads)| threads.len()).sum();
        let per_thread = (tree.tick.entries - tree.tick.operations) as f64 / woken as f64;
        assert!(per_thread < 6.0 * logarithm + 3.0, "{per_thread} per thread");
    }
}

#[test]
fn the_same_seed_gives_the_same_work() {
    let mixture = Mixture { threads: 40, waiting: 20, calls: 5, ticks: 100, longest: 14 };
    assert_eq!(steps(mixture, 7), steps(mixture, 7));
    assert_ne!(steps(mixture, 7), steps(mixture, 9));
}
