//! Purpose: a region list behaves like the set of bytes that it covers.

use super::*;
use proptest::prelude::*;

/// Bytes 0..64 as bits.
fn bits(region: &Region) -> u64 {
    (region.start..region.end).fold(0, |set, byte| set | 1 << byte)
}

fn set_of<const N: usize>(list: &RegionList<N>) -> u64 {
    list.iter().fold(0, |set, region| set | bits(region))
}

fn region(start: u64, end: u64) -> Region {
    Region { start, end }
}

fn any_region() -> impl Strategy<Value = Region> {
    (0..64u64, 0..64u64).prop_map(|(start, end)| region(start, end))
}

proptest! {
    #[test]
    fn a_list_covers_what_was_inserted_and_not_subtracted_since(
        steps in prop::collection::vec((any::<bool>(), any_region()), 0..40),
    ) {
        let mut list = RegionList::<6>::new();
        let mut model = 0u64;
        for (insert, region) in steps {
            let (before, change) = (list.clone(), bits(&region));
            let (result, after) =
                if insert { (list.insert(region), model | change) } else { (list.subtract(region), model & !change) };
            let runs = (after & !(after << 1)).count_ones() as usize;
            if result.is_ok() {
                model = after;
            } else {
                prop_assert_eq!(&list, &before, "a failed operation changes nothing");
                prop_assert!(runs > 6, "an operation fails only if its result does not fit");
            }
            prop_assert_eq!(set_of(&list), model);
            prop_assert!(list.as_slice().is_sorted_by(|one, two| one.end < two.start), "sorted and merged");
            prop_assert!(list.iter().all(|region| !region.is_empty()));
            prop_assert_eq!(list.length(), u64::from(model.count_ones()));
        }
    }

    #[test]
    fn a_list_overlaps_a_region_that_shares_a_byte(
        regions in prop::collection::vec(any_region(), 0..6), probe in any_region(),
    ) {
        let mut list = RegionList::<6>::new();
        for region in regions {
            prop_assert!(list.insert(region).is_ok());
        }
        prop_assert_eq!(list.overlaps(&probe), set_of(&list) & bits(&probe) != 0);
    }

    #[test]
    fn predicates_of_regions_agree_with_their_bytes(one in any_region(), two in any_region(), byte in 0..64u64) {
        prop_assert_eq!(one.overlaps(&two), bits(&one) & bits(&two) != 0);
        prop_assert_eq!(one.covers(&two), bits(&two) & !bits(&one) == 0);
        prop_assert_eq!(one.contains(byte), bits(&one) >> byte & 1 == 1);
        prop_assert_eq!(bits(&one.intersection(&two)), bits(&one) & bits(&two));
        prop_assert_eq!(one.is_empty(), bits(&one) == 0);
    }
}

#[test]
fn a_full_list_reports_instead_of_forgetting() {
    let mut list = RegionList::<2>::new();
    assert_eq!(list.insert(region(0, 10)), Ok(()));
    assert_eq!(list.insert(region(20, 30)), Ok(()));
    assert_eq!(list.insert(region(40, 50)), Err(RegionListFull));
    assert_eq!(list.subtract(region(3, 4)), Err(RegionListFull));
    assert_eq!(list.as_slice(), [region(0, 10), region(20, 30)]);
    assert_eq!(list.insert(region(10, 20)), Ok(()), "closing a gap needs no room");
    assert_eq!(list.as_slice(), [region(0, 30)]);
}

#[test]
fn a_region_beyond_the_address_range_is_cut_off() {
    assert_eq!(Region::from_length(u64::MAX - 9, 100), region(u64::MAX - 9, u64::MAX));
}

#[test]
fn aligning_inward_never_grows_a_region() {
    assert_eq!(region(1, 0x5001).aligned_inward(0x1000), region(0x1000, 0x5000));
    assert_eq!(region(0x1000, 0x2000).aligned_inward(0x1000), region(0x1000, 0x2000));
    assert!(region(0x1001, 0x1fff).aligned_inward(0x1000).is_empty());
    assert!(region(u64::MAX - 5, u64::MAX).aligned_inward(0x1000).is_empty());
}
