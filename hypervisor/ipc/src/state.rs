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
use objects::frame::{Frame, Register};
use sync::atomic::Ordering::Relaxed;

/// A register: its group, its word in the page, and where the frame has it.
type Slot = (Mtd, usize, fn(&Frame) -> &Register);

macro_rules! slot {
    ($group:ident, $field:ident) => {
        (Mtd::$group, word(offset_of!(ArchState, $field)), |frame| &frame.$field)
    };
    (R8_R15, $field:ident, $index:literal) => {
        (Mtd::R8_R15, word(offset_of!(ArchState, r8_r15)) + $index, |frame| &frame.$field)
    };
}

const fn word(offset: usize) -> usize {
    (STATE_OFFSET + offset) / 8
}

const MTD: usize = word(offset_of!(ArchState, mtd));
const QUAL: usize = word(offset_of!(ArchState, qual));

/// General registers, which are copied as they are.
const GENERAL: [Slot; 16] = [
    slot!(ACDB, rax),
    slot!(ACDB, rcx),
    slot!(ACDB, rdx),
    slot!(ACDB, rbx),
    slot!(BSD, rbp),
    slot!(BSD, rsi),
    slot!(BSD, rdi),
    slot!(RSP, rsp),
    slot!(R8_R15, r8, 0),
    slot!(R8_R15, r9, 1),
    slot!(R8_R15, r10, 2),
    slot!(R8_R15, r11, 3),
    slot!(R8_R15, r12, 4),
    slot!(R8_R15, r13, 5),
    slot!(R8_R15, r14, 6),
    slot!(R8_R15, r15, 7),
];
const RIP: Slot = slot!(RIP_LEN, rip);
const RFLAGS: Slot = slot!(RFLAGS, rflags);

/// Flags that a handler cannot set: VIP, VIF, VM, RF, IOPL.
const FLAGS_CLEARED: u64 = 1 << 20 | 1 << 19 | 1 << 17 | 1 << 16 | 3 << 12;
/// Flags that stay set: IF, and the bit that is always 1.
const FLAGS_SET: u64 = 1 << 9 | 1 << 1;

/// Writes the groups of `mtd` into `page`, with `qualification` (error code and address) as the reason.
pub fn save(frame: &Frame, mtd: Mtd, qualification: [u64; 2], page: &Page) {
    page[0].store(Header::STATE.word(), Relaxed);
    page[MTD].store(mtd.bits(), Relaxed);
    for (group, word, register) in GENERAL.iter().chain(&[RIP, RFLAGS]) {
        if mtd.contains(*group) {
            page[*word].store(register(frame).get(), Relaxed);
        }
    }
    if mtd.contains(Mtd::QUAL) {
        page[QUAL].store(qualification[0], Relaxed);
        page[QUAL + 1].store(qualification[1], Relaxed);
    }
}

/// Changes the registers whose groups the page's own descriptor names. The context goes on with exactly these registers:
/// not as after SYSCALL, which changes some. Returns the descriptor; vector registers are left to [`restore_vectors`].
pub fn restore(page: &Page, frame: &Frame) -> Mtd {
    frame.vector.set(0);
    let mtd = Mtd::from_bits_retain(page[MTD].load(Relaxed));
    for (group, word, register) in &GENERAL {
        if mtd.contains(*group) {
            register(frame).set(page[*word].load(Relaxed));
        }
    }
    if mtd.contains(RIP.0) {
        frame.rip.set(page[RIP.1].load(Relaxed).min(USER_END));
    }
    if mtd.contains(RFLAGS.0) {
        frame.rflags.set(page[RFLAGS.1].load(Relaxed) & !FLAGS_CLEARED | FLAGS_SET);
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

    fn values(frame: &Frame) -> Vec<u64> {
        GENERAL.iter().chain(&[RIP, RFLAGS]).map(|(_, _, register)| register(frame).get()).collect()
    }

    fn numbered() -> Frame {
        let frame = Frame::user(0x1234, 0x5678);
        for (index, (_, _, register)) in GENERAL.iter().enumerate() {
            register(&frame).set(0xA000 + index as u64);
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
            for (group, word, register) in GENERAL.iter().chain(&[RIP, RFLAGS]) {
                if mtd.contains(*group) {
                    expected[*word] = register(&frame).get();
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
            for (group, _, register) in &GENERAL {
                prop_assert!(mtd.contains(*group) || register(&frame).get() == register(&untouched).get());
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
        let offsets: Vec<usize> = GENERAL.iter().map(|(_, word, _)| word * 8).collect();
        let expected = [0x50, 0x58, 0x60, 0x68, 0x78, 0x80, 0x88, 0x70, 0x90, 0x98, 0xA0, 0xA8, 0xB0, 0xB8, 0xC0, 0xC8];
        assert_eq!(offsets, expected);
        assert_eq!([MTD * 8, RIP.1 * 8, RFLAGS.1 * 8, QUAL * 8], [0x20, 0x30, 0x38, 0xD0]);
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
