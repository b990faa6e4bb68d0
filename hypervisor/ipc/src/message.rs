//! Messages of untyped words.
//!
//! Purpose: copy the header and the words that it counts.
//! Invariants: at most 508 words; the receiver's windows and its own word of storage stay as they are.
//! Concurrency: see the crate.
//! Source: interface §4 (layout), §5 ("call", "reply").
use abi::utcb::{Header, Utcb};
use core::mem::offset_of;
use objects::Page;
use sync::atomic::Ordering::Relaxed;

/// First message word in a page.
pub const FIRST: usize = offset_of!(Utcb, words) / 8;

/// Copies the header word and the untyped words; returns the header.
pub fn copy(from: &Page, to: &Page) -> Header {
    let word = from[0].load(Relaxed);
    let header = Header::from_word(word);
    to[0].store(word, Relaxed);
    let words = from[FIRST..].iter().zip(&to[FIRST..]).take(header.words());
    for (source, destination) in words {
        destination.store(source.load(Relaxed), Relaxed);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::array;
    use proptest::prelude::*;
    use sync::atomic::AtomicU64;

    proptest! {
        #[test]
        fn exactly_the_counted_words_are_copied(count in 0u64..70_000, items in 0u64..300) {
            let from: Box<Page> = Box::new(array::from_fn(|index| AtomicU64::new(index as u64 + 1000)));
            let to: Box<Page> = Box::new(array::from_fn(|_| AtomicU64::new(7)));
            let word = (count & 0xFFFF) | items << 16;
            from[0].store(word, Relaxed);
            copy(&from, &to);
            let words = (count & 0xFFFF).min(508) as usize;
            prop_assert_eq!(to[0].load(Relaxed), word);
            for index in 1..512 {
                let copied = (FIRST..FIRST + words).contains(&index);
                prop_assert_eq!(to[index].load(Relaxed), if copied { index as u64 + 1000 } else { 7 });
            }
        }
    }
}
