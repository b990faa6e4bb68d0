//! Purpose: entries have the bits of the manuals, and every entry that can be made says what it was made of.

use super::*;

const TYPES: Attributes = Attributes::WRITE_COMBINING.union(Attributes::UNCACHED);
const EPT: Attributes =
    Attributes::READ.union(Attributes::WRITE).union(Attributes::USER).union(Attributes::EXECUTE).union(TYPES);

/// All attributes that a mapping can have: readable, of one memory type.
fn all() -> impl Iterator<Item = Attributes> {
    // Miri sees a sample.
    let bits = (0..1 << 9)
        .step_by(if cfg!(miri) { 23 } else { 1 })
        .map(|bits| Attributes::from_bits_truncate(bits) | Attributes::READ);
    bits.filter(|attributes| !attributes.contains(TYPES))
}

/// Addresses that set each bit of an address once, and all of them.
fn addresses(level: u32) -> impl Iterator<Item = PhysAddr> {
    let shift = 12 + 9 * (level - 1);
    let all = (1 << 52) - (1 << shift);
    (shift..52).step_by(if cfg!(miri) { 20 } else { 1 }).map(|bit| 1 << bit).chain([0, all]).map(PhysAddr::truncate)
}

/// For every leaf and every reference to a table of `F`, with whatever the hardware notes: what goes in comes out, as far as
/// the format knows it (`known`; `always` is what each leaf allows).
fn entries_mean_what_they_were_made_of<F: Format>(known: Attributes, always: Attributes) {
    for level in 1..=F::LEAF_LEVELS {
        for address in addresses(level) {
            for attributes in all() {
                let (entry, meant) = (F::leaf(address, level, attributes), attributes & known | always);
                for noted in [0, F::ACCESSED & F::EVIDENCE, F::EVIDENCE] {
                    assert_eq!(F::decode(entry | noted, level), Entry::Leaf(address, meant));
                }
                assert_ne!(entry, 0);
            }
        }
    }
    for address in addresses(1) {
        for level in 2..=F::LEVELS {
            assert_eq!(F::decode(F::table(address), level), Entry::Table(address));
        }
    }
    (1..=F::LEVELS).for_each(|level| assert_eq!(F::decode(0, level), Entry::Absent));
}

#[test]
fn entries_of_every_format_mean_what_they_were_made_of() {
    let (all, device) = (Attributes::all(), Attributes::READ | Attributes::USER);
    entries_mean_what_they_were_made_of::<Host>(all, Attributes::READ);
    entries_mean_what_they_were_made_of::<Giant<Host>>(all, Attributes::READ);
    entries_mean_what_they_were_made_of::<Ept>(EPT, device);
    entries_mean_what_they_were_made_of::<Giant<Ept>>(EPT, device);
    entries_mean_what_they_were_made_of::<Dma>(device | Attributes::WRITE, device);
    entries_mean_what_they_were_made_of::<Giant<Dma>>(device | Attributes::WRITE, device);
}

#[test]
fn nested_entries_have_the_bits_of_the_manual() {
    let page = PhysAddr::truncate(0x20_0000);
    let read = Attributes::READ | Attributes::USER;
    for (attributes, level, entry) in [
        (read, 1, 0x20_0071),
        (read | Attributes::WRITE | Attributes::EXECUTE, 2, 0x20_00F7),
        (read | Attributes::UNCACHED, 1, 0x20_0041),
        (read | Attributes::WRITE_COMBINING, 1, 0x20_0049),
    ] {
        assert_eq!(Ept::leaf(page, level, attributes), entry);
    }
    assert_eq!(Ept::table(page), 0x20_0007);
}

#[test]
fn entries_for_devices_have_the_bits_of_the_manual() {
    let page = PhysAddr::truncate(0x20_0000);
    assert_eq!(Dma::leaf(page, 1, Attributes::READ | Attributes::EXECUTE | Attributes::USER), 0x20_0001);
    assert_eq!(Dma::leaf(page, 2, Attributes::READ | Attributes::WRITE), 0x20_0083);
    assert_eq!(Dma::table(page), 0x20_0003);
}

#[test]
fn entries_of_the_host_have_the_bits_of_the_manual() {
    let page = PhysAddr::truncate(0x1000);
    assert_eq!(Host::leaf(page, 1, Attributes::READ), 0x8000_0000_0000_1001);
    assert_eq!(Host::leaf(page, 1, Attributes::READ | Attributes::EXECUTE | Attributes::USER), 0x1005);
    let uncached = Attributes::READ | Attributes::WRITE | Attributes::UNCACHED;
    assert_eq!(Host::leaf(page, 1, uncached), 0x8000_0000_0000_101B);
    let combining = Attributes::READ | Attributes::WRITE | Attributes::USER | Attributes::WRITE_COMBINING;
    assert_eq!(Host::leaf(page, 1, combining), 0x8000_0000_0000_100F);
    assert_eq!(Host::leaf(PhysAddr::truncate(0x20_0000), 2, combining), 0x8000_0000_0020_008F);
    let large = Attributes::READ | Attributes::WRITE | Attributes::GLOBAL;
    assert_eq!(Host::leaf(PhysAddr::truncate(0x20_0000), 2, large), 0x8000_0000_0020_0183);
    assert_eq!(Giant::<Host>::leaf(PhysAddr::truncate(1 << 30), 3, large), 0x8000_0000_4000_0183);
}
