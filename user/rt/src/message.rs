//! Messages: values as words, one after the other.
//!
//! [`message!`](crate::message!) declares the messages of a service as an enumeration and makes their encoding: a word
//! with the number of the variant, then the fields.
//! Invariants: decoding takes any words and gives a value or `None`, never a panic; what was encoded decodes to itself.
//! Concurrency: plain values.
//! Source: none; the interface only moves words.

mod text;

pub use text::Text;

/// Somewhere words lie: a UTCB, a page, an array.
pub trait Words {
    /// Word `index`; `None` beyond the end.
    fn get(&self, index: usize) -> Option<u64>;
    /// Writes word `index`; `false` beyond the end.
    fn set(&mut self, index: usize, word: u64) -> bool;
}

impl<const N: usize> Words for [u64; N] {
    fn get(&self, index: usize) -> Option<u64> {
        self.as_slice().get(index).copied()
    }

    fn set(&mut self, index: usize, word: u64) -> bool {
        self.get_mut(index).map(|slot| *slot = word).is_some()
    }
}

/// Appends words.
pub struct Writer<'a> {
    words: &'a mut dyn Words,
    count: usize,
    complete: bool,
}

impl<'a> Writer<'a> {
    /// Nothing written so far.
    pub fn new(words: &'a mut dyn Words) -> Self {
        Self { words, count: 0, complete: true }
    }

    /// Appends a word.
    pub fn word(&mut self, word: u64) {
        self.complete &= self.words.set(self.count, word);
        self.count += 1;
    }

    /// How many words were written; `None` if they did not fit.
    #[must_use]
    pub fn finish(self) -> Option<usize> {
        self.complete.then_some(self.count)
    }
}

/// Takes words off.
pub struct Reader<'a> {
    words: &'a dyn Words,
    at: usize,
    count: usize,
}

impl<'a> Reader<'a> {
    /// The first `count` words.
    #[must_use]
    pub fn new(words: &'a dyn Words, count: usize) -> Self {
        Self { words, at: 0, count }
    }

    /// The next word; `None` at the end.
    pub fn word(&mut self) -> Option<u64> {
        let word = self.words.get(self.at).filter(|_| self.at < self.count)?;
        self.at += 1;
        Some(word)
    }
}

/// A value that a message can carry.
pub trait Encode {
    /// Appends the value.
    fn encode(&self, to: &mut Writer<'_>);
}

/// A value that can be read from a message.
pub trait Decode: Sized {
    /// Reads the value; `None` if the words are none.
    fn decode(from: &mut Reader<'_>) -> Option<Self>;
}

impl Encode for u64 {
    fn encode(&self, to: &mut Writer<'_>) {
        to.word(*self);
    }
}

impl Decode for u64 {
    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        from.word()
    }
}

impl Encode for u32 {
    fn encode(&self, to: &mut Writer<'_>) {
        to.word((*self).into());
    }
}

impl Decode for u32 {
    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        from.word()?.try_into().ok()
    }
}

impl Encode for bool {
    fn encode(&self, to: &mut Writer<'_>) {
        to.word((*self).into());
    }
}

impl Decode for bool {
    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        match from.word()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<T: Encode, const N: usize> Encode for [T; N] {
    fn encode(&self, to: &mut Writer<'_>) {
        self.iter().for_each(|each| each.encode(to));
    }
}

impl<T: Decode + Copy + Default, const N: usize> Decode for [T; N] {
    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let mut all = [T::default(); N];
        for each in &mut all {
            *each = T::decode(from)?;
        }
        Some(all)
    }
}

/// Declares an enumeration of messages with its encoding.
///
/// ```
/// rt::message! {
///     /// What a counter can be asked.
///     pub enum Request {
///         /// Add a number.
///         Add(amount: u64) = 1,
///         /// The sum so far.
///         Sum() = 2,
///     }
/// }
/// # use rt::message::{Decode, Encode, Reader, Writer};
/// let mut words = [0_u64; 4];
/// let mut writer = Writer::new(&mut words);
/// Request::Add(5).encode(&mut writer);
/// assert_eq!(writer.finish(), Some(2));
/// assert_eq!(Request::decode(&mut Reader::new(&words, 2)), Some(Request::Add(5)));
/// ```
#[macro_export]
macro_rules! message {
    ($(#[$doc:meta])* pub enum $name:ident {
        $($(#[$variant_doc:meta])* $variant:ident($($field:ident: $type:ty),*) = $number:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Debug)]
        #[allow(clippy::large_enum_variant, reason = "messages are made and taken apart at once")]
        pub enum $name {
            $($(#[$variant_doc])* $variant($($type),*),)+
        }

        impl $crate::message::Encode for $name {
            fn encode(&self, to: &mut $crate::message::Writer<'_>) {
                match self {
                    $(Self::$variant($($field),*) => {
                        to.word($number);
                        $($crate::message::Encode::encode($field, to);)*
                    })+
                }
            }
        }

        impl $crate::message::Decode for $name {
            fn decode(from: &mut $crate::message::Reader<'_>) -> ::core::option::Option<Self> {
                match from.word()? {
                    $($number => ::core::option::Option::Some(Self::$variant(
                        $(<$type as $crate::message::Decode>::decode(from)?),*
                    )),)+
                    _ => ::core::option::Option::None,
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    crate::message! {
        /// For the tests.
        pub enum Sample {
            /// Nothing.
            Empty() = 1,
            /// Numbers.
            Numbers(all: [u64; 3], last: u32) = 2,
            /// Text.
            Words(text: Text<20>, flag: bool) = 7,
        }
    }

    fn through<T: Encode + Decode, const ROOM: usize>(value: &T) -> Option<T> {
        let mut words = [0; ROOM];
        let mut writer = Writer::new(&mut words);
        value.encode(&mut writer);
        let count = writer.finish()?;
        T::decode(&mut Reader::new(&words, count))
    }

    #[test]
    fn a_message_that_does_not_fit_says_so() {
        assert_eq!(through::<_, 4>(&Sample::Numbers([1, 2, 3], 4)), None);
        assert_eq!(through::<_, 5>(&Sample::Numbers([1, 2, 3], 4)), Some(Sample::Numbers([1, 2, 3], 4)));
    }

    proptest! {
        #[test]
        fn messages_arrive_as_they_were_sent(all: [u64; 3], last: u32, text in "\\PC{0,30}", flag: bool) {
            for message in [Sample::Empty(), Sample::Numbers(all, last), Sample::Words(Text::new(&text), flag)] {
                prop_assert_eq!(through::<_, 16>(&message), Some(message));
            }
        }

        #[test]
        fn any_words_decode_or_are_refused(words in proptest::collection::vec(prop_oneof![0..8_u64, any::<u64>()], 0..8)) {
            let mut all = [0; 8];
            all.iter_mut().zip(&words).for_each(|(slot, word)| *slot = *word);
            if let Some(message) = Sample::decode(&mut Reader::new(&all, words.len())) {
                prop_assert_eq!(through::<_, 16>(&message), Some(message));
            }
        }
    }
}
