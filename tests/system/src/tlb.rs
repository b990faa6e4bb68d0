//! Reads the answers of QEMU's monitor about page tables: `info tlb`, `info mem`, `info registers`. Pure.
//!
//! `info tlb` prints every present leaf entry of the current CR3 with the
//! letters X G P D A C T U W; X is the no-execute bit, P the page-size bit of
//! the leaf (in a 4 KiB entry it is the PAT bit), C cache-disable, T write-through. The rights
//! are those of the leaf alone.

/// One leaf entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// Virtual address.
    pub address: u64,
    /// Physical address.
    pub frame: u64,
    /// No-execute bit.
    pub no_execute: bool,
    /// Global bit.
    pub global: bool,
    /// Page-size bit.
    pub large: bool,
    /// Cache-disable bit.
    pub uncached: bool,
    /// Write-through bit, which by itself selects write-combining here.
    pub combining: bool,
    /// User bit.
    pub user: bool,
    /// Write bit.
    pub writable: bool,
}

impl Page {
    /// Whether code may write the page and run it.
    pub fn writable_and_executable(&self) -> bool {
        self.writable && !self.no_execute
    }

    /// Whether the entry covers `address`; a large leaf is taken as 2 MiB.
    pub fn covers(&self, address: u64) -> bool {
        let size = if self.large { 0x20_0000 } else { 0x1000 };
        (self.address..=self.address + (size - 1)).contains(&address)
    }
}

/// The leaf entries of `info tlb`; `None` when a line is not understood.
pub fn pages(answer: &str) -> Option<Vec<Page>> {
    answer.lines().filter(|line| !line.trim().is_empty()).map(page).collect()
}

fn page(line: &str) -> Option<Page> {
    let (address, rest) = line.split_once(": ")?;
    let (frame, flags) = rest.trim().split_once(' ')?;
    let flags = flags.trim().as_bytes();
    let valid =
        flags.len() == 9 && flags.iter().zip(b"XGPDACTUW").all(|(flag, letter)| flag == letter || *flag == b'-');
    let [no_execute, global, large, .., uncached, through, user, writable] = flags else { return None };
    valid.then_some(Page {
        address: number(address)?,
        frame: number(frame)?,
        no_execute: *no_execute == b'X',
        global: *global == b'G',
        large: *large == b'P',
        uncached: *uncached == b'C',
        combining: *through == b'T',
        user: *user == b'U',
        writable: *writable == b'W',
    })
}

/// A range of `info mem`: first address, address after the last, whether it is user memory.
pub fn ranges(answer: &str) -> Option<Vec<(u64, u64, bool)>> {
    let range = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let rights = words.nth(1)?;
        Some((number(start)?, number(end)?, rights.starts_with('u')))
    };
    answer.lines().filter(|line| !line.trim().is_empty()).map(range).collect()
}

/// A register of `info registers`, as `CR3`.
pub fn register(answer: &str, name: &str) -> Option<u64> {
    let (_, value) = answer.split_once(&format!("{name}="))?;
    number(value.split_whitespace().next()?)
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TLB: &str = "0000000000400000: 0000000004001000 ----A--U-\n\
                       ffffffff81000000: 0000000001000000 -GPDA-T--\n\
                       ffffffffbfffe000: 00000000fee00000 XG-DAC--W\n";

    #[test]
    fn flags_of_leaf_entries_are_read() {
        let pages = pages(TLB).unwrap_or_default();
        assert_eq!(pages.len(), 3);
        assert!(pages[0].user && !pages[0].writable && !pages[0].no_execute);
        assert!(pages[1].global && pages[1].large && pages[1].combining && !pages[1].user);
        assert!(
            pages[2].uncached
                && !pages[2].combining
                && pages[2].writable
                && pages[2].no_execute
                && !pages[2].writable_and_executable()
        );
        assert_eq!((pages[2].address, pages[2].frame), (0xffff_ffff_bfff_e000, 0xfee0_0000));
    }

    #[test]
    fn a_large_page_covers_two_mebibytes_and_the_last_page_does_not_overflow() {
        let pages = pages(TLB).unwrap_or_default();
        assert!(pages[1].covers(0xffff_ffff_811f_ffff) && !pages[1].covers(0xffff_ffff_8120_0000));
        assert!(Page { address: u64::MAX - 0xfff, ..pages[0] }.covers(u64::MAX));
    }

    #[test]
    fn what_is_not_understood_is_no_answer() {
        assert_eq!(pages("unknown command: 'info tlb'\n"), None);
        assert_eq!(pages("0000000000400000: 0000000004001000 --ZZA--U-\n"), None);
        assert_eq!(pages("0000000000400000: 0000000004001000 ---\n"), None);
    }

    #[test]
    fn ranges_and_registers_are_read() {
        let text = "0000000000400000-0000000000402000 0000000000002000 ur-\n\
                    ffffffff81000000-ffffffff82000000 0000000001000000 -rw\n";
        let expected = [(0x40_0000, 0x40_2000, true), (0xffff_ffff_8100_0000, 0xffff_ffff_8200_0000, false)];
        assert_eq!(ranges(text).unwrap_or_default(), expected);
        assert_eq!(register("CR0=80010033 CR2=0 CR3=000000000102f000 CR4=00370e68", "CR3"), Some(0x102_f000));
    }
}
