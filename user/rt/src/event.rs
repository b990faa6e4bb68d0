//! Events: what the kernel tells a handler about a thread, and what the handler answers.
//!
//! Invariants: none; any words are a state.
//! Concurrency: plain values.
//! Source: classic interface, "UTCB" and "Events".

use core::fmt;
use core::mem::offset_of;

use abi::Mtd;
use abi::arch_state::ArchState;
use abi::event::Exception;

use crate::message::Words;

const fn index(offset: usize) -> usize {
    offset / 8
}
const MTD: usize = index(offset_of!(ArchState, mtd));
const RIP: usize = index(offset_of!(ArchState, rip));
const RSP: usize = index(offset_of!(ArchState, rsp));
const RDI: usize = index(offset_of!(ArchState, rdi));
const QUAL: usize = index(offset_of!(ArchState, qual));

/// What a handler needs of a thread's state: [`Event::STATE`] makes the kernel deliver it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event {
    /// The event's number: a vector, or one of [`abi::event`].
    pub number: u8,
    /// Where the thread stands.
    pub rip: u64,
    /// Its stack pointer.
    pub rsp: u64,
    /// Error code of an exception.
    pub code: u64,
    /// The address that a page fault is about.
    pub address: u64,
}

impl Event {
    /// The registers that a portal has to ask for.
    pub const STATE: Mtd = Mtd::RIP_LEN.union(Mtd::RSP).union(Mtd::QUAL);

    /// Reads the message of event `number`.
    #[must_use]
    pub fn read(number: u8, words: &dyn Words) -> Self {
        let word = |index| words.get(index).unwrap_or(0);
        Self { number, rip: word(RIP), rsp: word(RSP), code: word(QUAL), address: word(QUAL + 1) }
    }
}

/// Where a thread starts, or goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resume {
    /// Instruction pointer.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// First argument.
    pub rdi: u64,
}

impl Resume {
    /// Writes the answer to an event.
    pub fn write(self, words: &mut dyn Words) {
        let state = Mtd::RIP_LEN | Mtd::RSP | Mtd::BSD;
        for (index, word) in [(MTD, state.word()), (RIP, self.rip), (RSP, self.rsp), (RDI, self.rdi)] {
            words.set(index, word);
        }
        // BSD covers rbp, rsi and rdi.
        words.set(index(offset_of!(ArchState, rbp)), 0);
        words.set(index(offset_of!(ArchState, rsi)), 0);
    }
}

/// An event in words.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, rip, code, address, .. } = *self;
        match number {
            14 => {
                let what = match (code & 16 != 0, code & 2 != 0) {
                    (true, _) => "execute",
                    (false, true) => "write",
                    (false, false) => "read",
                };
                write!(f, "page fault at {rip:#x}: may not {what} {address:#x}")
            }
            13 => write!(f, "general protection fault at {rip:#x} (error code {code:#x})"),
            _ => {
                let names = [
                    (Exception::DIVIDE, "division by zero"),
                    (Exception::DEBUG, "debug exception"),
                    (Exception::BREAKPOINT, "breakpoint"),
                    (Exception::UNDEFINED, "undefined instruction"),
                ];
                match names.iter().find(|(exception, _)| exception.vector() == number) {
                    Some((_, name)) => write!(f, "{name} at {rip:#x}"),
                    None => write!(f, "exception {number} at {rip:#x} (error code {code:#x})"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_in_words() {
        let event = |number, code| Event { number, rip: 0x10_2030, rsp: 0, code, address: 0x18 }.to_string();
        assert_eq!(event(14, 4), "page fault at 0x102030: may not read 0x18");
        assert_eq!(event(14, 6), "page fault at 0x102030: may not write 0x18");
        assert_eq!(event(14, 0x15), "page fault at 0x102030: may not execute 0x18");
        assert_eq!(event(6, 0), "undefined instruction at 0x102030");
        assert_eq!(event(17, 0), "exception 17 at 0x102030 (error code 0x0)");
    }

    #[test]
    fn a_state_is_read_from_where_the_kernel_puts_it() {
        let mut words = [0_u64; 80];
        Resume { rip: 1, rsp: 2, rdi: 3 }.write(&mut words);
        assert_eq!((words[2], words[10], words[13]), (1, 2, 3));
        words[22] = 7;
        words[23] = 8;
        let event = Event::read(14, &words);
        assert_eq!(event, Event { number: 14, rip: 1, rsp: 2, code: 7, address: 8 });
    }
}
