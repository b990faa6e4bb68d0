//! Adding rights to what is mapped.
//!
//! Purpose: an upgrade in place. Whoever remembers fewer rights faults, and finds those that are there now.
//! Invariants: nothing is unmapped meanwhile, and nothing that the hardware has noted is lost.
//! Concurrency: as in `table.rs`; the hardware notes accesses at any time.
//! Source: trap T7; AMD64 manual volume 2, §5.5.3 (a fault forgets the entry that it met).
use super::{Table, parts, shift};
use crate::format::{Attributes, Entry, Format};
use crate::mmu::Mmu;
use abi::VirtAddr;

impl<F: Format> Table<F> {
    /// Adds `rights` to the leaves of `size` bytes at `virt`, both multiples of the page size. What is not mapped stays so.
    /// False if there is a larger leaf of which the range is a part: that one stays as it is.
    #[must_use]
    pub fn raise(&self, mmu: &impl Mmu, range: (VirtAddr, u64), rights: Attributes) -> bool {
        self.raise_below(mmu, F::LEVELS, range, rights)
    }

    fn raise_below(&self, mmu: &impl Mmu, level: u32, (virt, size): (VirtAddr, u64), rights: Attributes) -> bool {
        let mut complete = true;
        for (done, part) in parts(level, virt, size) {
            let (at, index) = (virt.offset(done), virt.offset(done).index(level));
            let old = mmu.read(self.root, index);
            match F::decode(old, level) {
                Entry::Absent => {}
                Entry::Table(next) => complete &= Self::new(next).raise_below(mmu, level - 1, (at, part), rights),
                Entry::Leaf(..) if part != 1 << shift(level) => complete = false,
                Entry::Leaf(base, attributes) => {
                    let mut entry = F::leaf(base, level, attributes | rights) | old & F::EVIDENCE;
                    loop {
                        let missed = mmu.exchange(self.root, index, entry) & F::EVIDENCE & !entry;
                        if missed == 0 {
                            break;
                        }
                        entry |= missed;
                    }
                }
            }
        }
        complete
    }
}
