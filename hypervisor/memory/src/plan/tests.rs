//! Purpose: the plan uses usable memory only, whatever the map claims.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use super::*;
use proptest::prelude::*;

const KIB: u64 = 1024;
const GIB: u64 = 1 << 30;
const LIMIT: u64 = 1 << 46;

const LOW_MEMORY: Entry = available(0, 0x9_fc00);
const FIRST_PAGE: Region = Region { start: 0, end: PAGE };
const VIDEO: Region = Region { start: 0xa_0000, end: 0x10_0000 };

const fn available(base: u64, length: u64) -> Entry {
    Entry { region: Region::from_length(base, length), usable: true }
}

const fn reserved(base: u64, length: u64) -> Entry {
    Entry { region: Region::from_length(base, length), usable: false }
}

fn plan(entries: &[Entry], blocked: &[Region], size: Option<u64>) -> Result<Plan, &'static str> {
    choose(entries.iter().copied(), blocked, size, LIMIT)
}

/// The usable memory by another algorithm: union minus union.
fn usable(entries: &[Entry], blocked: &[Region], limit: u64) -> Vec<Region> {
    let mut runs: Vec<Region> = Vec::new();
    let mut sorted: Vec<Region> = entries.iter().filter(|entry| entry.usable).map(|entry| entry.region).collect();
    sorted.sort_by_key(|region| region.start);
    for region in sorted.into_iter().filter(|region| !region.is_empty()) {
        match runs.last_mut() {
            Some(last) if region.start <= last.end => last.end = last.end.max(region.end),
            _ => runs.push(region),
        }
    }
    let others = entries.iter().filter(|entry| !entry.usable).map(|entry| entry.region);
    let beyond = Region { start: limit, end: u64::MAX };
    for region in others.chain(blocked.iter().copied()).chain([beyond]).filter(|region| !region.is_empty()) {
        let outside = |run: Region| {
            let (below, above) = (run.end.min(region.start), run.start.max(region.end));
            [Region { end: below, ..run }, Region { start: above, ..run }]
        };
        runs = runs.into_iter().flat_map(outside).filter(|run| !run.is_empty()).collect();
    }
    runs
}

/// An entry among the first megabytes, around 4 GiB, or anywhere at all.
fn any_entry() -> impl Strategy<Value = Entry> {
    let near = |base: u64, span: u64, unit: u64| {
        (0..span, 0..span).prop_map(move |(at, length)| (base + at * unit, length * unit))
    };
    let place = prop_oneof![
        near(0, 0x100, 1001),
        near(0, 64, MIB),
        near(0, 2048, MIB),
        near(4 * GIB - 128 * MIB, 256, MIB),
        near(0, 0x8000, 123 * KIB),
        (any::<u64>(), any::<u64>()),
    ];
    let region = place.prop_map(|(base, length)| Region::from_length(base, length));
    (region, prop::bool::weighted(0.7)).prop_map(|(region, usable)| Entry { region, usable })
}

fn any_reserved() -> impl Strategy<Value = Vec<Region>> {
    let one = any_entry().prop_map(|entry| Region::from_length(entry.region.start, entry.region.length() % (16 * MIB)));
    prop::collection::vec(one, 0..12)
}

proptest! {
    #[test]
    fn runs_are_exactly_the_usable_bytes(entries in prop::collection::vec(any_entry(), 0..40), blocked in any_reserved()) {
        let runs: Vec<Region> = usable_runs(entries.iter().copied(), &blocked, LIMIT).collect();
        let expected = usable(&entries, &blocked, LIMIT);
        prop_assert_eq!(runs, expected);
    }

    #[test]
    fn a_plan_keeps_its_rules_on_any_map(
        entries in prop::collection::vec(any_entry(), 0..40),
        blocked in any_reserved(),
        size in prop::option::of(prop_oneof![0..2 * GIB, any::<u64>()]),
    ) {
        let usable = usable(&entries, &blocked, LIMIT);
        let covered = |region: Region| usable.iter().any(|run| run.covers(&region));
        match plan(&entries, &blocked, size) {
            Ok(plan) => {
                prop_assert!(covered(plan.pool));
                prop_assert!(plan.pool.start >= MIB);
                prop_assert!(plan.pool.start.is_multiple_of(POOL_ALIGNMENT));
                prop_assert!(plan.pool.end.is_multiple_of(POOL_ALIGNMENT));
                prop_assert!((POOL_MINIMUM..=POOL_MAXIMUM).contains(&plan.pool.length()));
                prop_assert!(plan.pool.length() <= plan.wanted);
                let page = Region::from_length(plan.trampoline, PAGE);
                prop_assert!(covered(page) && page.start >= PAGE && page.end <= 640 * KIB);
                prop_assert!(plan.trampoline.is_multiple_of(PAGE));
                let higher = (plan.trampoline + PAGE..640 * KIB).step_by(PAGE as usize);
                prop_assert!(higher.into_iter().all(|page| !covered(Region::from_length(page, PAGE))));
            }
            Err(NO_POOL) => {
                let first = usable.iter().map(|run| run.start.max(MIB).next_multiple_of(POOL_ALIGNMENT));
                let fits = first.zip(usable.iter()).any(|(start, run)| start + POOL_MINIMUM <= run.end);
                prop_assert!(!fits);
            }
            Err(why) => {
                prop_assert_eq!(why, NO_TRAMPOLINE);
                let mut pages = (PAGE..640 * KIB).step_by(PAGE as usize);
                prop_assert!(pages.all(|page| !covered(Region::from_length(page, PAGE))));
            }
        }
    }

    #[test]
    fn the_largest_possible_pool_up_to_the_wanted_size_is_taken(
        entries in prop::collection::vec(any_entry(), 0..40), blocked in any_reserved(),
    ) {
        let entries = [&[LOW_MEMORY], entries.as_slice()].concat();
        if let Ok(plan) = plan(&entries, &blocked, None) {
            let usable = usable(&entries, &blocked, LIMIT);
            let fits = |start: u64, size| usable.iter().any(|run| run.covers(&Region::from_length(start, size)));
            let starts = usable.iter().flat_map(|run| {
                let first = run.start.max(MIB).next_multiple_of(POOL_ALIGNMENT);
                let last = run.end.min(4 * GIB).saturating_sub(plan.wanted) / POOL_ALIGNMENT * POOL_ALIGNMENT;
                [first, last]
            });
            if plan.pool.length() < plan.wanted {
                let longer = plan.pool.length() + POOL_ALIGNMENT;
                prop_assert!(!starts.clone().any(|start| start >= MIB && fits(start, longer)));
            } else {
                let better = |start: u64| start >= MIB && start + plan.wanted <= 4 * GIB && fits(start, plan.wanted);
                let above = plan.pool.end > 4 * GIB;
                let mut higher = starts.clone().filter(|&start| above || start > plan.pool.start);
                prop_assert!(!higher.any(better), "the highest fit below 4 GiB");
            }
        }
    }

    #[test]
    fn the_order_of_the_entries_does_not_matter(
        (entries, shuffled) in prop::collection::vec(any_entry(), 0..24)
            .prop_flat_map(|entries| (Just(entries.clone()), Just(entries).prop_shuffle())),
        mut blocked in any_reserved(),
    ) {
        let one = plan(&entries, &blocked, None);
        blocked.reverse();
        prop_assert_eq!(one, plan(&shuffled, &blocked, None));
    }
}

#[test]
fn the_size_is_a_sixteenth_of_memory_between_its_bounds() {
    assert_eq!(wanted(0, None), 32 * MIB);
    assert_eq!(wanted(512 * MIB, None), 32 * MIB);
    assert_eq!(wanted(GIB, None), 64 * MIB);
    assert_eq!(wanted(GIB + 16, None), 66 * MIB);
    assert_eq!(wanted(64 * GIB, None), 768 * MIB);
    assert_eq!(wanted(u64::MAX, None), 768 * MIB);
    assert_eq!(wanted(GIB, Some(5 * MIB)), 6 * MIB);
    assert_eq!(wanted(GIB, Some(0)), POOL_MINIMUM);
    assert_eq!(wanted(GIB, Some(u64::MAX)), POOL_MAXIMUM);
}

#[test]
fn a_plain_machine_gets_its_pool_at_the_top_of_low_memory() {
    let map = [LOW_MEMORY, reserved(0x9_fc00, 0x400), available(MIB, 1023 * MIB - 128 * KIB), available(4 * GIB, GIB)];
    let plan = plan(&map, &[FIRST_PAGE, VIDEO], Some(64 * MIB)).expect("there is room");
    assert_eq!(plan.pool, Region { start: 958 * MIB, end: 1022 * MIB });
    assert_eq!(plan.trampoline, 0x9_e000, "the extended BIOS data area shares page 0x9f000");
    assert_eq!(plan.pool.length(), plan.wanted);
}

#[test]
fn modules_at_the_top_push_the_pool_down() {
    let map = [LOW_MEMORY, available(MIB, 255 * MIB)];
    let module = Region { start: 200 * MIB + 1, end: 256 * MIB };
    let plan = plan(&map, &[FIRST_PAGE, module], None).expect("there is room");
    assert_eq!(plan.pool, Region { start: 168 * MIB, end: 200 * MIB });
}

#[test]
fn memory_above_4_gib_serves_if_there_is_too_little_below() {
    let map = [LOW_MEMORY, available(MIB, 15 * MIB), available(4 * GIB, GIB)];
    let plan = plan(&map, &[], None).expect("there is room");
    assert_eq!(plan.pool, Region::from_length(4 * GIB, 66 * MIB));
}

#[test]
fn a_pool_below_the_wanted_size_is_the_longest_and_says_so() {
    let map = [LOW_MEMORY, available(2 * MIB, 6 * MIB), available(16 * MIB, 8 * MIB), available(32 * MIB, 8 * MIB)];
    let plan = plan(&map, &[], None).expect("there is a little room");
    assert_eq!((plan.pool, plan.wanted), (Region { start: 32 * MIB, end: 40 * MIB }, 32 * MIB));
    assert!(plan.pool.length() < plan.wanted);
}

#[test]
fn a_fragmented_firmware_map_is_joined_across_adjacent_entries() {
    // Loader, boot-services and conventional memory come as separate entries
    // of kind 1, with runtime services between them.
    let mut map = vec![LOW_MEMORY];
    map.extend((0..96).map(|i| available((64 + i) * MIB, MIB)));
    map.extend((0..40).map(|i| available(512 * MIB + i * 3 * MIB, 3 * MIB - PAGE)));
    map.extend((0..40).map(|i| reserved(512 * MIB + i * 3 * MIB - PAGE, PAGE)));
    let plan = plan(&map, &[FIRST_PAGE], Some(64 * MIB)).expect("there is room");
    assert_eq!(plan.pool, Region { start: 96 * MIB, end: 160 * MIB });
}

#[test]
fn a_byte_claimed_twice_is_not_usable() {
    let map = [LOW_MEMORY, available(MIB, 127 * MIB), reserved(64 * MIB, 1)];
    let plan = plan(&map, &[], Some(64 * MIB)).expect("there is room");
    assert_eq!(plan.pool, Region { start: 66 * MIB, end: 128 * MIB }, "62 MiB above the byte, 62 MiB below it");
}

#[test]
fn an_empty_or_useless_map_is_explained_in_words() {
    assert_eq!(plan(&[], &[], None), Err(NO_POOL));
    assert_eq!(plan(&[available(MIB, 0)], &[], None), Err(NO_POOL));
    assert_eq!(plan(&[LOW_MEMORY, available(2 * MIB, 3 * MIB)], &[], None), Err(NO_POOL), "2 MiB are not enough");
    assert_eq!(plan(&[available(MIB, 63 * MIB)], &[], None), Err(NO_TRAMPOLINE), "nothing below 640 KiB");
}

#[test]
fn page_0_is_never_the_trampoline() {
    let map = [available(0, PAGE + 100), available(MIB, 63 * MIB)];
    assert_eq!(plan(&map, &[], None), Err(NO_TRAMPOLINE));
}
