//! What the root partition tells a program at its start, and where things lie in the program's spaces.
//!
//! Invariants: written by the root partition before the program runs, read-only from then on.
//! Concurrency: plain values.

use crate::message::{Decode, Encode, Reader, Text, Words, Writer};

/// Where a program finds the page with its [`Startup`]; the page before is the first thread's UTCB.
pub const PAGE: u64 = 0x8_0000_0000;
/// Where the program's heap starts.
pub const HEAP: u64 = 0x10_0000_0000;
/// Where the first module is that the program may read; the others follow.
pub const FILES: u64 = 0x18_0000_0000;
/// Most modules that a program may read.
pub const MAX_FILES: usize = 6;
/// Where the memory of the program's guest is.
pub const GUEST: u64 = 0x20_0000_0000;
/// Where the page is that those who print on the console share.
pub const CONSOLE_LOCK: u64 = PAGE + abi::address::PAGE_SIZE;
/// UTCBs of threads and serving contexts lie from here on.
pub const UTCBS: u64 = 0x7000_0000_0000;
/// Selectors per core: the events of the threads there.
pub const EVENTS: u64 = abi::event::THREAD_EVENTS;
/// The event slot that holds the portal to the root partition. The processor has no exception of this number.
pub const PARENT: u64 = 0x1A;
/// Selectors of the interrupts that the program may take, in the order of the configuration.
pub const INTERRUPTS: u64 = 0x2010;
/// Selector of the program's own domain.
pub const DOMAIN: u64 = 0x2000;
/// First selector that the program may use as it likes.
pub const FREE: u64 = 0x2040;

const MAGIC: u64 = u64::from_le_bytes(*b"VelaProg");

/// A set of cores.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Cores([u64; 4]);

impl Cores {
    /// Adds core `number`, 0 to 255; others are ignored.
    pub fn insert(&mut self, number: u32) {
        if let Some(word) = self.0.get_mut(number as usize / 64) {
            *word |= 1 << (number % 64);
        }
    }

    /// Whether core `number` is in it.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 != 0)
    }

    /// The cores in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<> {
        let set = *self;
        (0..256).filter(move |core| set.contains(*core))
    }
}

impl FromIterator<u32> for Cores {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Self {
        let mut set = Self::default();
        numbers.into_iter().for_each(|number| set.insert(number));
        set
    }
}

/// A module that the program may read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct File {
    /// Its name in the boot configuration; empty for none.
    pub name: Text<32>,
    /// Where it is.
    pub address: u64,
    /// Its size in bytes.
    pub size: u64,
}

impl Encode for File {
    fn encode(&self, to: &mut Writer<'_>) {
        self.name.encode(to);
        [self.address, self.size].encode(to);
    }
}

impl Decode for File {
    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let name = Text::decode(from)?;
        let [address, size] = Decode::decode(from)?;
        Some(Self { name, address, size })
    }
}

/// What a program finds when it starts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Startup {
    /// Its name in the boot configuration.
    pub name: Text<32>,
    /// Its arguments there.
    pub arguments: Text<256>,
    /// The core that the first thread runs on.
    pub core: u32,
    /// The cores that its threads may run on.
    pub cores: Cores,
    /// Ticks of the time-stamp counter per millisecond.
    pub tsc_khz: u32,
    /// Seconds from 1970 to the moment when the counter was 0.
    pub date: u64,
    /// Size of the heap in bytes.
    pub heap: u64,
    /// Whether it has I/O ports.
    pub ports: bool,
    /// Whether the console's are among them, and the lock page is there.
    pub console: bool,
    /// What virtualises the processor: the features of the information page.
    pub features: u32,
    /// Size of the guest's memory in bytes, 0 for no guest.
    pub guest: u64,
    /// The modules that it may read.
    pub files: [File; MAX_FILES],
}

impl Startup {
    /// Writes it to the start of `page`; `false` if that is too small.
    #[must_use]
    pub fn write(&self, page: &mut [u8]) -> bool {
        let mut page = Bytes(page);
        let mut to = Writer::new(&mut page);
        to.word(MAGIC);
        self.name.encode(&mut to);
        self.arguments.encode(&mut to);
        [self.core, self.tsc_khz].encode(&mut to);
        self.cores.0.encode(&mut to);
        [self.date, self.heap].encode(&mut to);
        [self.ports, self.console].encode(&mut to);
        self.features.encode(&mut to);
        self.guest.encode(&mut to);
        self.files.encode(&mut to);
        to.finish().is_some()
    }

    /// Reads it from the start of `page`; `None` if that holds something else.
    #[must_use]
    pub fn read(page: &[u8]) -> Option<Self> {
        let page = View(page);
        let mut from = Reader::new(&page, page.0.len() / 8);
        if from.word()? != MAGIC {
            return None;
        }
        let (name, arguments) = (Text::decode(&mut from)?, Text::decode(&mut from)?);
        let [core, tsc_khz] = Decode::decode(&mut from)?;
        let cores = Cores(Decode::decode(&mut from)?);
        let [date, heap] = Decode::decode(&mut from)?;
        let [ports, console] = Decode::decode(&mut from)?;
        let (features, guest, files) = (u32::decode(&mut from)?, u64::decode(&mut from)?, Decode::decode(&mut from)?);
        Some(Self { name, arguments, core, cores, tsc_khz, date, heap, ports, console, features, guest, files })
    }
}

struct Bytes<'a>(&'a mut [u8]);
struct View<'a>(&'a [u8]);

impl Words for Bytes<'_> {
    fn get(&self, index: usize) -> Option<u64> {
        View(self.0).get(index)
    }

    fn set(&mut self, index: usize, word: u64) -> bool {
        let slot = self.0.get_mut(8 * index..).and_then(|rest| rest.first_chunk_mut());
        slot.map(|slot| *slot = word.to_le_bytes()).is_some()
    }
}

impl Words for View<'_> {
    fn get(&self, index: usize) -> Option<u64> {
        self.0.get(8 * index..)?.first_chunk().copied().map(u64::from_le_bytes)
    }

    fn set(&mut self, _: usize, _: u64) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_program_reads_what_the_root_partition_wrote(
            name in "[a-z]{1,32}", arguments in "\\PC{0,60}", core in 0..256_u32, tsc_khz: u32, features: u32, guest: u64, [date, heap]: [u64; 2], [ports, console]: [bool; 2],
            cores in proptest::collection::btree_set(0..256_u32, 0..20),
        ) {
            let written = Startup {
                name: Text::new(&name), arguments: Text::new(&arguments), core, tsc_khz, date, heap, ports, console, features, guest,
                files: [File { name: Text::new(&arguments), address: heap, size: guest }; MAX_FILES],
                cores: cores.iter().copied().collect(),
            };
            let mut page = vec![0; 4096];
            prop_assert!(written.write(&mut page));
            prop_assert!(written.cores.iter().eq(cores));
            prop_assert_eq!(Startup::read(&page), Some(written));
        }

        #[test]
        fn no_page_makes_a_program_panic(page in proptest::collection::vec(any::<u8>(), 0..400), magic: bool) {
            let mut page = page;
            if let Some(start) = page.first_chunk_mut().filter(|_| magic) {
                *start = MAGIC.to_le_bytes();
            }
            let _ = Startup::read(&page);
        }
    }
}
