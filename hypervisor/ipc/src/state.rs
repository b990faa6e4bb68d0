//! Registers in messages: what a fault handler sees and what it may change.
//!
//! Purpose: from a register frame to the architectural state in a message page, by transfer descriptor, and back.
//! Invariants: an instruction pointer outside the user range becomes its end, where the next fetch faults in ring 3;
//! flags keep interrupts on and privilege at 0; segments cannot be written.
//! Concurrency: the frame belongs to a stopped context.
//! Source: interface §4 ("MTD bits", host exceptions); AMD64 manual volume 2, §3.1.6 (RFLAGS).
use abi::Mtd;
use abi::address::USER_END;
use abi::arch_state::{ArchState, FPU_OFFSET, STATE_OFFSET};
use abi::utcb::Header;
use core::mem::offset_of;
use objects::Page;
use objects::frame::Frame;
use sync::atomic::Ordering::Relaxed;

/// A register: its word in the page, and its word in the frame.
type Slot = (usize, usize);

macro_rules! slot {
    ($field:ident) => {
        (word(offset_of!(ArchState, $field)), offset_of!(Frame, $field) / 8)
    };
    ($field:ident, $index:literal) => {
        (word(offset_of!(ArchState, r8_r15)) + $index, offset_of!(Frame, $field) / 8)
    };
}

const fn word(offset: usize) -> usize {
    (STATE_OFFSET + offset) / 8
}

const MTD: usize = word(offset_of!(ArchState, mtd));
const QUAL: usize = word(offset_of!(ArchState, qual));

/// General registers, which are copied as they are, by group.
const ACDB: [Slot; 4] = [slot!(rax), slot!(rcx), slot!(rdx), slot!(rbx)];
const BSD: [Slot; 3] = [slot!(rbp), slot!(rsi), slot!(rdi)];
const RSP: [Slot; 1] = [slot!(rsp)];
const R8_R15: [Slot; 8] = [
    slot!(r8, 0),
    slot!(r9, 1),
    slot!(r10, 2),
    slot!(r11, 3),
    slot!(r12, 4),
    slot!(r13, 5),
    slot!(r14, 6),
    slot!(r15, 7),
];
const RIP: usize = word(offset_of!(ArchState, rip));
const RFLAGS: usize = word(offset_of!(ArchState, rflags));

/// Calls `each` for the general registers of the groups in `mtd`.
#[inline(always)]
fn general(mtd: Mtd, mut each: impl FnMut(&Slot)) {
    if !mtd.intersects(Mtd::ACDB.union(Mtd::BSD).union(Mtd::RSP).union(Mtd::R8_R15)) {
        return;
    }
    let groups: [(Mtd, &[Slot]); 4] = [(Mtd::ACDB, &ACDB), (Mtd::BSD, &BSD), (Mtd::RSP, &RSP), (Mtd::R8_R15, &R8_R15)];
    for (_, slots) in groups.iter().filter(|(group, _)| mtd.intersects(*group)) {
        for slot in *slots {
            each(slot);
        }
    }
}

/// Writes the general registers of the groups in `mtd` into `page`.
#[inline(always)]
pub fn save_general(frame: &Frame, mtd: Mtd, page: &Page) {
    general(mtd, |&(word, register)| page[word].store(frame.words()[register].get(), Relaxed));
}

/// Changes the general registers of the groups in `mtd` to what `page` says.
#[inline(always)]
pub fn restore_general(page: &Page, frame: &Frame, mtd: Mtd) {
    general(mtd, |&(word, register)| frame.words()[register].set(page[word].load(Relaxed)));
}

/// Flags that a handler cannot set: VIP, VIF, VM, RF, IOPL.
const FLAGS_CLEARED: u64 = 1 << 20 | 1 << 19 | 1 << 17 | 1 << 16 | 3 << 12;
/// Flags that stay set: IF, and the bit that is always 1.
const FLAGS_SET: u64 = 1 << 9 | 1 << 1;

/// Writes the groups of `mtd` into `page`, with `qualification` (error code and address) as the reason.
#[inline(always)]
pub fn save(frame: &Frame, mtd: Mtd, qualification: [u64; 2], page: &Page) {
    page[0].store(Header::STATE.word(), Relaxed);
    page[MTD].store(mtd.bits(), Relaxed);
    save_general(frame, mtd, page);
    if mtd.intersects(Mtd::RIP_LEN) {
        page[RIP].store(frame.rip.get(), Relaxed);
    }
    if mtd.intersects(Mtd::RFLAGS) {
        page[RFLAGS].store(frame.rflags.get(), Relaxed);
    }
    if mtd.intersects(Mtd::QUAL) {
        page[QUAL].store(qualification[0], Relaxed);
        page[QUAL + 1].store(qualification[1], Relaxed);
    }
}

/// The descriptor in a page.
#[inline]
pub fn descriptor(page: &Page) -> Mtd {
    Mtd::from_bits_retain(page[MTD].load(Relaxed))
}

/// Changes the registers whose groups the page's own descriptor names. The context goes on with exactly these registers:
/// not as after SYSCALL, which changes some. Returns the descriptor; vector registers are left to [`restore_vectors`].
#[inline(always)]
pub fn restore(page: &Page, frame: &Frame) -> Mtd {
    frame.vector.set(0);
    let mtd = descriptor(page);
    restore_general(page, frame, mtd);
    if mtd.intersects(Mtd::RIP_LEN) {
        frame.rip.set(page[RIP].load(Relaxed).min(USER_END));
    }
    if mtd.intersects(Mtd::RFLAGS) {
        frame.rflags.set(page[RFLAGS].load(Relaxed) & !FLAGS_CLEARED | FLAGS_SET);
    }
    mtd
}

/// What an image of vector registers may hold.
#[derive(Clone, Copy, Debug)]
pub struct ImageLimits {
    /// Its size in bytes.
    pub size: usize,
    /// Components that XCR0 allows; 0 without XSAVE.
    pub components: u64,
    /// Bits of MXCSR that exist.
    pub mxcsr: u32,
}

/// First word of the image in a page.
const IMAGE: usize = FPU_OFFSET / 8;
/// Words of an image: MXCSR with the mask of its bits; the header's components, format and reserved words.
const MXCSR: usize = 3;
const COMPONENTS: usize = 64;
const REST_OF_HEADER: core::ops::RangeInclusive<usize> = 65..=71;

/// Copies an image of vector registers into `page`.
pub fn save_vectors(image: &Page, limits: &ImageLimits, page: &Page) {
    for (from, to) in image.iter().zip(page.iter().skip(IMAGE)).take(limits.size / 8) {
        to.store(from.load(Relaxed), Relaxed);
    }
}

/// Makes an image of vector registers of what is in `page`; the processor can load it whatever that is.
pub fn restore_vectors(page: &Page, limits: &ImageLimits, image: &Page) {
    for (index, (from, to)) in page.iter().skip(IMAGE).zip(image).take(limits.size / 8).enumerate() {
        let word = from.load(Relaxed);
        let mask = u64::from(limits.mxcsr);
        let allowed = match index {
            MXCSR => word & mask | mask << 32,
            COMPONENTS => word & limits.components,
            index if REST_OF_HEADER.contains(&index) => 0,
            _ => word,
        };
        to.store(allowed, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::array;
    use proptest::prelude::*;
    use sync::atomic::AtomicU64;

    fn page(fill: u64) -> Box<Page> {
        Box::new(array::from_fn(|index| AtomicU64::new(fill.wrapping_mul(index as u64 + 1))))
    }

    /// All registers that are transferred, with their groups: what the code above is compared with.
    fn table() -> Vec<(Mtd, Slot)> {
        let of = |group: Mtd, slots: &[Slot]| slots.iter().map(|slot| (group, *slot)).collect::<Vec<_>>();
        let mut all = [of(Mtd::ACDB, &ACDB), of(Mtd::BSD, &BSD), of(Mtd::RSP, &RSP), of(Mtd::R8_R15, &R8_R15)].concat();
        all.push((Mtd::RIP_LEN, (RIP, offset_of!(Frame, rip) / 8)));
        all.push((Mtd::RFLAGS, (RFLAGS, offset_of!(Frame, rflags) / 8)));
        all
    }

    fn values(frame: &Frame) -> Vec<u64> {
        table().into_iter().map(|(_, (_, register))| frame.words()[register].get()).collect()
    }

    fn numbered() -> Frame {
        let frame = Frame::user(0x1234, 0x5678);
        for (index, (_, (_, register))) in table().into_iter().take(16).enumerate() {
            frame.words()[register].set(0xA000 + index as u64);
        }
        frame
    }

    proptest! {
        #[test]
        fn only_named_groups_are_saved(bits: u32) {
            let mtd = Mtd::from_bits_retain(u64::from(bits));
            let (frame, page, before) = (numbered(), page(3), page(3));
            save(&frame, mtd, [11, 22], &page);
            let mut expected: Vec<u64> = before.iter().map(|word| word.load(Relaxed)).collect();
            expected[0] = 508;
            expected[MTD] = mtd.bits();
            for (group, (word, register)) in table() {
                if mtd.contains(group) {
                    expected[word] = frame.words()[register].get();
                }
            }
            if mtd.contains(Mtd::QUAL) {
                (expected[QUAL], expected[QUAL + 1]) = (11, 22);
            }
            let found: Vec<u64> = page.iter().map(|word| word.load(Relaxed)).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn whatever_a_handler_writes_stays_in_ring_3(words in proptest::collection::vec(any::<u64>(), 512), bits: u32) {
            let page: Box<Page> = Box::new(array::from_fn(|index| AtomicU64::new(words[index])));
            page[MTD].store(u64::from(bits), Relaxed);
            let frame = numbered();
            restore(&page, &frame);
            prop_assert!(frame.rip.get() <= USER_END);
            prop_assert_eq!(frame.rflags.get() & (FLAGS_CLEARED | FLAGS_SET), FLAGS_SET);
            prop_assert!(frame.from_user());
            let untouched = numbered();
            let mtd = Mtd::from_bits_retain(u64::from(bits));
            for (group, (_, register)) in table().into_iter().take(16) {
                prop_assert!(mtd.contains(group) || frame.words()[register].get() == untouched.words()[register].get());
            }
        }
    }

    #[test]
    fn what_was_saved_and_restored_is_unchanged() {
        let (frame, other, page) = (numbered(), Frame::user(0, 0), page(0));
        save(&frame, Mtd::all(), [0, 0], &page);
        restore(&page, &other);
        assert_eq!(values(&frame), values(&other));
    }

    #[test]
    fn words_are_where_the_interface_puts_them() {
        let offsets: Vec<usize> = table().iter().take(16).map(|(_, (word, _))| word * 8).collect();
        let expected = [0x50, 0x58, 0x60, 0x68, 0x78, 0x80, 0x88, 0x70, 0x90, 0x98, 0xA0, 0xA8, 0xB0, 0xB8, 0xC0, 0xC8];
        assert_eq!(offsets, expected);
        assert_eq!([MTD * 8, RIP * 8, RFLAGS * 8, QUAL * 8], [0x20, 0x30, 0x38, 0xD0]);
    }

    proptest! {
        #[test]
        fn whatever_is_in_a_message_becomes_an_image_that_the_processor_takes(
            words in proptest::collection::vec(prop_oneof![any::<u64>(), Just(u64::MAX)], 512),
            components in 0_u64..256,
        ) {
            let limits = ImageLimits { size: 2688, components, mxcsr: 0xFFFF };
            let message: Box<Page> = Box::new(array::from_fn(|index| AtomicU64::new(words[index])));
            let (image, before) = (page(5), page(5));
            restore_vectors(&message, &limits, &image);
            let word = |index: usize| image[index].load(Relaxed);
            prop_assert_eq!(word(3) & 0xFFFF_0000, 0, "a reserved bit of MXCSR");
            prop_assert_eq!(word(64) & !components, 0, "a component that is not allowed");
            prop_assert!((65..72).all(|index| word(index) == 0), "a format, or a reserved word");
            let checked = |index: usize| index == 3 || (64..72).contains(&index);
            for index in (0..512).filter(|&index| !checked(index)) {
                let expected = if index < 336 { words[75 + index] } else { before[index].load(Relaxed) };
                prop_assert_eq!(word(index), expected, "word {}", index);
            }
        }
    }

    #[test]
    fn an_image_is_shown_where_the_interface_puts_it_and_no_larger_than_it_is() {
        let (image, message, before) = (page(7), page(3), page(3));
        save_vectors(&image, &ImageLimits { size: 512, components: 0, mxcsr: 0 }, &message);
        for index in 0..512 {
            let shown = (75..75 + 64).contains(&index);
            let expected = if shown { &image[index - 75] } else { &before[index] };
            assert_eq!(message[index].load(Relaxed), expected.load(Relaxed), "word {index}");
        }
    }
}
