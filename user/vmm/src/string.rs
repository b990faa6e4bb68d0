//! String port instructions: INS and OUTS, between ports and the guest's memory.
//!
//! Their exits come without the registers that they need; who handles them asks for those first ([`NEEDS`]).
//! Invariants: the guest's kernel alone may use them, because its own tables' permissions are not looked at; at most
//! [`ROUND`] elements are moved, then the guest runs the instruction again.
//! Concurrency: plain values; the guest may change its memory meanwhile.
//! Source: Intel SDM volume 2, "INS", "OUTS" and "REP".

use abi::Mtd;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};
use rt::message::Words;
use vm_memory::Memory;

use crate::exit::Exit;
use crate::instruction;
use crate::state::State;
use crate::walk::Paging;

/// The state that they need.
pub const NEEDS: Mtd = Exit::Memory.needs();
/// Elements that are moved at once.
const ROUND: u64 = 1024;
const DIRECTION: u64 = 1 << 10;

/// The ports.
pub trait Ports {
    /// Reads `size` bytes: 1, 2 or 4.
    fn port_read(&self, port: u16, size: u8) -> u32;
    /// Writes them.
    fn port_write(&self, port: u16, size: u8, value: u32);
}

/// Why an instruction stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is not allowed, or not understood.
    Protection,
    /// There is no memory at this address.
    Page {
        /// The linear address.
        address: u64,
        /// Whether it would have been written.
        write: bool,
    },
}

/// What an instruction moves, from where to where.
struct Move {
    read: bool,
    size: u8,
    /// Bits of the pointer and the counter that count.
    mask: u64,
    segment: u64,
    repeat: bool,
}

/// Carries out the instruction at the instruction pointer, or a part of it.
///
/// # Errors
/// The exception that it raises; what was moved before is done.
pub fn run<W: Words>(
    state: &mut State<'_, W>,
    memory: &impl Memory,
    port: u16,
    ports: &impl Ports,
) -> Result<(), Fault> {
    let instruction = instruction::fetch(state, memory).filter(|_| state.level() == 0).ok_or(Fault::Protection)?;
    let what = decode(state, &instruction).ok_or(Fault::Protection)?;
    let paging = Paging { cr0: state.cr0(), cr3: state.cr3(), cr4: state.cr4(), efer: state.efer() };
    let step = if state.rflags() & DIRECTION != 0 { u64::from(what.size).wrapping_neg() } else { what.size.into() };
    let mut left = if what.repeat { state.rcx() & what.mask } else { 1 };
    for _ in 0..left.min(ROUND) {
        let pointer = if what.read { state.rdi() } else { state.rsi() };
        let address = what.segment.wrapping_add(pointer & what.mask);
        let mut places = [0; 4];
        let places = places.get_mut(..what.size.into()).unwrap_or_default();
        for (offset, place) in (0..).zip(places.iter_mut()) {
            let address = address.wrapping_add(offset);
            let found = paging.translate(memory, address);
            *place = found.ok_or(Fault::Page { address, write: what.read })?;
        }
        let mut value = [0; 4];
        if what.read {
            value = ports.port_read(port, what.size).to_le_bytes();
            // What is no memory takes nothing.
            places.iter().zip(&value).for_each(|(place, byte)| _ = memory.write(*place, &[*byte]));
        } else {
            places
                .iter()
                .zip(&mut value)
                .for_each(|(place, byte)| _ = memory.read(*place, core::slice::from_mut(byte)));
            ports.port_write(port, what.size, u32::from_le_bytes(value));
        }
        let next = part(pointer, pointer.wrapping_add(step), what.mask);
        if what.read {
            state.set_rdi(next);
        } else {
            state.set_rsi(next);
        }
        left -= 1;
        if what.repeat {
            state.set_rcx(part(state.rcx(), left, what.mask));
        }
    }
    if left == 0 {
        state.skip(instruction.len() as u64);
    }
    Ok(())
}

/// A register after an operation as wide as the addresses: 32 bits clear the upper half.
const fn part(old: u64, new: u64, mask: u64) -> u64 {
    if mask == 0xFFFF { old & !mask | new & mask } else { new & mask }
}

fn decode<W: Words>(state: &State<'_, W>, instruction: &Instruction) -> Option<Move> {
    let read = match instruction.mnemonic() {
        Mnemonic::Insb | Mnemonic::Insw | Mnemonic::Insd => true,
        Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Outsd => false,
        _ => return None,
    };
    let kind = if read { instruction.op0_kind() } else { instruction.op1_kind() };
    let mask = match kind {
        OpKind::MemorySegSI | OpKind::MemoryESDI => 0xFFFF,
        OpKind::MemorySegESI | OpKind::MemoryESEDI => 0xFFFF_FFFF,
        OpKind::MemorySegRSI | OpKind::MemoryESRDI => u64::MAX,
        _ => return None,
    };
    let number = match (read, instruction.memory_segment()) {
        (true, _) | (false, Register::ES) => 0,
        (_, Register::CS) => 1,
        (_, Register::SS) => 2,
        (_, Register::FS) => 4,
        (_, Register::GS) => 5,
        _ => 3,
    };
    // In 64-bit mode the first four have no base.
    let flat = number < 4 && state.segment(1).attributes & 1 << 9 != 0 && state.efer() & 1 << 10 != 0;
    let segment = if flat { 0 } else { state.segment(number).base };
    let repeat = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    Some(Move { read, size: instruction.memory_size().size() as u8, mask, segment, repeat })
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::arch_state::{ArchState, Segment};
    use core::cell::RefCell;
    use proptest::prelude::*;
    use vm_memory::TestMemory;

    #[derive(Default)]
    struct Seen(RefCell<Vec<(u16, u8, u32)>>);

    impl Ports for Seen {
        fn port_read(&self, port: u16, size: u8) -> u32 {
            self.0.borrow_mut().push((port, size, 0));
            0x4443_4241
        }
        fn port_write(&self, port: u16, size: u8, value: u32) {
            self.0.borrow_mut().push((port, size, value));
        }
    }

    /// Runs 64-bit code at 0x1000 with these registers; the state after it.
    fn play(code: &[u8], rcx: u64, pointer: u64, memory: &TestMemory, seen: &Seen) -> (Result<(), Fault>, [u64; 4]) {
        memory.write(0x1000, code);
        let mut words = [0_u64; 508];
        let mut state = State::new(&mut words);
        let cs = Segment { attributes: 1 << 9, ..Segment::default() };
        let ds = Segment { base: 0x7777, ..Segment::default() };
        let all = ArchState { cs, ds, rip: 0x1000, efer: 1 << 10, cr0: 1, ..Default::default() };
        state.load(&all, Mtd::all());
        state.set_rcx(rcx);
        state.set_rsi(pointer);
        state.set_rdi(pointer);
        let done = run(&mut state, memory, 0x3F8, seen);
        (done, [state.rip(), state.rcx(), state.rsi(), state.rdi()])
    }

    #[test]
    fn strings_go_out_and_come_in() {
        let (memory, seen) = (TestMemory::new(0x4000), Seen::default());
        memory.write(0x2000, b"hi!\n");
        let after = play(&[0xF3, 0x6E], 4, 0x2000, &memory, &seen); // rep outsb
        assert_eq!(after, (Ok(()), [0x1002, 0, 0x2004, 0x2000]));
        assert_eq!(seen.0.take().into_iter().map(|(_, _, byte)| byte as u8).collect::<Vec<_>>(), b"hi!\n");
        let after = play(&[0x66, 0x6F], 9, 0x2002, &memory, &seen); // outsw
        assert_eq!((after.1, seen.0.borrow_mut().pop()), ([0x1002, 9, 0x2004, 0x2002], Some((0x3F8, 2, 0x0A21))));
        let after = play(&[0xF3, 0x6D], 2, 0x3000, &memory, &seen); // rep insd
        assert_eq!(after, (Ok(()), [0x1002, 0, 0x3000, 0x3008]));
        let mut bytes = [0; 8];
        assert!(memory.read(0x3000, &mut bytes));
        assert_eq!(&bytes, b"ABCDABCD");
    }

    #[test]
    fn a_long_one_takes_several_rounds_and_one_of_nothing_is_over() {
        let (memory, seen) = (TestMemory::new(0x4000), Seen::default());
        let (_, [rip, rcx, ..]) = play(&[0xF3, 0x6E], ROUND + 5, 0x2000, &memory, &seen);
        assert_eq!((rip, rcx, seen.0.borrow().len() as u64), (0x1000, 5, ROUND));
        assert_eq!(play(&[0xF3, 0x6E], 0, 0x2000, &memory, &seen).1[0], 0x1002);
    }

    proptest! {
        #[test]
        fn no_code_makes_it_panic(code: [u8; 15], rcx: u64, pointer: u64) {
            let memory = TestMemory::new(0x4000);
            let _ = play(&code, rcx, pointer, &memory, &Seen::default());
        }
    }
}
