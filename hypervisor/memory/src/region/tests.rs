//! Purpose: a region behaves like the set of bytes that it covers.

use super::*;
use proptest::prelude::*;

/// Bytes 0..64 as bits.
fn bits(region: &Region) -> u64 {
    (region.start..region.end).fold(0, |set, byte| set | 1 << byte)
}

fn region(start: u64, end: u64) -> Region {
    Region { start, end }
}

fn any_region() -> impl Strategy<Value = Region> {
    (0..64u64, 0..64u64).prop_map(|(start, end)| region(start, end))
}

proptest! {
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
