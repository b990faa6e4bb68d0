//! Model-specific registers for the root program.
//!
//! Purpose: what power management reads and writes: counters, temperatures, energy, performance states.
//! Invariants: only registers of the two lists are touched; one that the processor lacks makes that access fail, nothing
//! else.
//! Concurrency: the calling core's registers.
//! Source: interface §5 ("ec_ctrl", operation 8); Intel SDM volume 4, chapter 2; AMD64 manual volume 2, appendix A.
use crate::root;
use abi::Status;
use abi::utcb::Header;
use arch::msr;
use core::sync::atomic::Ordering::Relaxed;
use ipc::message::FIRST;
use objects::{Page, Store};

/// In a word that names a register: write it, with the value in the next word.
const WRITE: u64 = 1 << 29;

/// Registers that may be read: frequency counters, temperatures, hardware-controlled performance states, energy bias,
/// residency in idle states, energy; performance states of AMD.
fn may_read(register: u32) -> bool {
    may_write(register)
        || matches!(register, 0xE7 | 0xE8 | 0x19C | 0x1A2 | 0x1B1 | 0x3F8..=0x3FA | 0x3FC..=0x3FE | 0x606 | 0x60D)
        || matches!(register, 0x610..=0x614 | 0x618..=0x61C | 0x630..=0x632 | 0x638..=0x642 | 0x64D | 0x660 | 0x771)
        || matches!(register, 0xC001_0061 | 0xC001_0063..=0xC001_006B | 0xC001_0299..=0xC001_029B)
}

/// Registers that may be written.
fn may_write(register: u32) -> bool {
    matches!(register, 0x1B0 | 0x770 | 0x772 | 0x774 | 0xC001_0062)
}

/// Does what the words of `page` say; values that were read replace the names, and the header says which accesses worked.
///
/// # Errors
/// [`Status::BadCapability`] unless the capability at `selector` is the root program's for this.
pub fn access(store: &Store<'_>, selector: u64, page: &Page) -> Result<(), Status> {
    root::require(store, root::Key::Msr, selector)?;
    let words = Header::from_word(page[0].load(Relaxed)).words();
    let mut words = page[FIRST..].iter().take(words);
    let mut done = 0;
    for operation in 0..u64::BITS {
        let Some(word) = words.next() else { break };
        let name = word.load(Relaxed);
        let register = (name & !WRITE) as u32;
        let worked = if name & WRITE == 0 {
            let value = may_read(register).then(|| msr::read(register)).flatten();
            word.store(value.unwrap_or(0), Relaxed);
            value.is_some()
        } else {
            let value = words.next().map_or(0, |value| value.load(Relaxed));
            // SAFETY: registers of the list set frequencies and bias.
            may_write(register) && unsafe { msr::write(register, value) }
        };
        done |= u64::from(worked) << operation;
    }
    page[0].store(done, Relaxed);
    Ok(())
}
