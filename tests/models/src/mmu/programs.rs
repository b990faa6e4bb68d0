//! What the cores do.
//!
//! Invariants: every program ends, and what the cores find then is what the masters say.
//! Concurrency: see above.
//! Source: the acceptance matrix; seed of a failure is printed with it.
use std::rc::Rc;

use memory::format::Attributes;

use super::core::{Core, Program, World};
use super::processor::{Machine, PAGES};
use super::turns::{Choices, Random, following};

const READ: Attributes = Attributes::READ.union(Attributes::USER);
const WRITE: Attributes = READ.union(Attributes::WRITE);
const NOTHING: Attributes = Attributes::empty();
/// First page of a leaf that may be large, and pages of it.
const LARGE: (u64, u64) = (0x400, 512);

/// One more than there are tags.
const DOMAINS: usize = 3;

/// All that can be found in the end is what the masters say.
fn agree(core: &Core, domains: usize) {
    for domain in 0..domains {
        core.enter(domain);
        for page in PAGES {
            let (found, truth) = (core.access(page), core.truth(domain, page));
            if found != Vec::from_iter(truth) {
                core.fails(format!("core {} finds {found:x?} at page {page:#x}, the master has {truth:x?}", core.id));
            }
        }
    }
}

/// Something that a core does.
pub type Act = fn(&Core<'_>);

/// Runs programs in all orders with at most `preemptions` preemptions, after core 0 has prepared alone.
pub fn explore<const CORES: usize>(preemptions: u32, prepare: Act, programs: [Act; CORES]) {
    let (mut path, mut count) = (Vec::new(), 0);
    loop {
        let world = World::new(Machine::new(CORES, Choices::Path(path, 0, preemptions)), DOMAINS);
        let program: Program = Rc::new(move |core| {
            if core.id == 0 {
                core.alone(prepare);
            }
            programs[core.id](core);
        });
        let (choices, wrong) = world.run(&program, &(Rc::new(|core: &Core<'_>| agree(core, DOMAINS)) as Program));
        assert_eq!(wrong, None, "in execution {count}");
        count += 1;
        let Choices::Path(done, ..) = choices else { return };
        let Some(next) = following(done) else { return };
        path = next;
    }
}

/// Core 0 maps two small pages.
pub fn small(core: &Core<'_>) {
    core.map(0, 0x400, 1, WRITE);
    core.map(0, 0x401, 1, WRITE);
}

/// Core 0 maps a large one.
fn large(core: &Core<'_>) {
    core.map(0, LARGE.0, LARGE.1, WRITE);
}

/// Core 0 maps two large ones.
fn two_large(core: &Core<'_>) {
    core.map(0, LARGE.0, 2 * LARGE.1, WRITE);
}

/// Core 0 maps a large one, and pages in a table beside it.
fn one_large(core: &Core<'_>) {
    large(core);
    core.map(0, 0x600, 1, WRITE);
}

fn takes_both(core: &Core<'_>) {
    core.revoke(&[0], (LARGE.0, 2 * LARGE.1), NOTHING);
}

fn uses_both(core: &Core<'_>) {
    core.enter(0);
    core.access(0x400);
    core.access(0x600);
}

fn takes_one(core: &Core<'_>) {
    core.revoke(&[0], (0x400, 1), NOTHING);
}

fn takes_all(core: &Core<'_>) {
    core.revoke(&[0], LARGE, NOTHING);
}

pub fn uses(core: &Core<'_>) {
    core.enter(0);
    core.access(0x400);
    core.access(0x401);
}

pub fn comes_back(core: &Core<'_>) {
    uses(core);
    core.enter(1);
    core.enter(0);
    core.access(0x400);
}

/// As [`comes_back`], after two others, for which there are no more tags.
fn comes_back_late(core: &Core<'_>) {
    uses(core);
    core.enter(1);
    core.enter(2);
    core.enter(0);
    core.access(0x400);
}

#[test]
fn one_takes_and_one_uses_in_all_orders() {
    for (prepare, takes) in
        [(small as Act, takes_one as Act), (small, takes_all), (large, takes_one), (large, takes_all)]
    {
        explore(1, prepare, [takes, uses]);
        explore(1, prepare, [takes, comes_back]);
        explore(1, prepare, [takes, comes_back_late]);
    }
    explore(2, small, [takes_one, uses]);
}

fn gives_tables_back(core: &Core<'_>) {
    uses(core);
    core.reclaim(0, 1);
    core.access(0x400);
    core.enter(1);
    core.reclaim(0, 2);
    // What it had is another domain's now.
    core.map(1, 0x400, 1, WRITE);
    core.access(0x400);
    core.enter(0);
    core.access(0x400);
}

#[test]
fn one_takes_and_one_has_its_tables_taken_in_all_orders() {
    for (prepare, takes) in [(small as Act, takes_one as Act), (large, takes_one), (large, takes_all)] {
        explore(1, prepare, [takes, gives_tables_back]);
    }
}

fn takes_later(core: &Core<'_>) {
    core.revoke_later(&[0], (0x400, 1), |_| {});
}

/// What it has taken without waiting is over when it finds it gone.
fn takes_twice(core: &Core<'_>) {
    core.revoke_later(&[0], (0x400, 1), takes_all);
}

#[test]
fn one_takes_without_waiting_and_one_uses_in_all_orders() {
    for (prepare, takes) in [(small as Act, takes_later as Act), (large, takes_later), (small, takes_twice)] {
        explore(1, prepare, [takes, uses]);
        explore(1, prepare, [takes, comes_back]);
    }
    explore(1, small, [takes_later, takes_all, uses]);
}

#[test]
fn one_takes_two_large_pages_and_one_uses_them_in_all_orders() {
    for prepare in [two_large as Act, one_large] {
        explore(1, prepare, [takes_both, uses_both]);
    }
}

#[test]
fn who_finds_it_taken_waits_for_who_took_it() {
    for prepare in [small as Act, large] {
        explore(1, prepare, [takes_one, takes_all, uses]);
    }
}

/// One thing that a core does.
fn act(core: &Core, random: &mut Random, domains: usize) {
    let domain = random.below(domains);
    let page = PAGES[random.below(PAGES.len())];
    let range = [(page, 1), (page, 1), LARGE, (0x400, 2), (0x400, 1024)][random.below(5)];
    let rights = [READ, WRITE][random.below(2)];
    match random.below(16) {
        0..=5 => drop(core.access(page)),
        6..=7 => core.enter(domain),
        8 => core.map(domain, page, 1, rights),
        9 => core.map(domain, LARGE.0, LARGE.1 << random.below(2), rights),
        10 => core.revoke(&[domain], range, [NOTHING, READ][random.below(2)]),
        11 => core.revoke_later(&[domain], range, |core| {
            core.enter(0);
            drop(core.access(page));
        }),
        12 => core.look(domain, page),
        13 => core.tidy(domain),
        14 => core.revoke(&[0, 1, 2][..domains], range, NOTHING),
        _ => core.reclaim(domain, 1 + random.below(2)),
    }
}

fn random(seeds: std::ops::Range<u64>, cores: usize, length: usize) {
    for seed in seeds {
        let world = World::new(Machine::new(cores, Choices::Random(Random::new(seed))), DOMAINS);
        let program: Program = Rc::new(move |core| {
            let mut random = Random::new(seed * 8 + core.id as u64 + 1);
            core.enter(random.below(DOMAINS));
            (0..length).for_each(|_| act(core, &mut random, DOMAINS));
        });
        let last: Program = Rc::new(|core| agree(core, DOMAINS));
        let (_, wrong) = world.run(&program, &last);
        assert_eq!(wrong, None, "with seed {seed}");
    }
}

#[test]
fn two_cores_with_random_programs_use_nothing_that_was_taken() {
    random(0..3000, 2, 12);
}

#[test]
fn three_cores_with_random_programs_use_nothing_that_was_taken() {
    random(10_000..11_000, 3, 12);
}
