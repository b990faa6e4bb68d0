//! Instructions that access memory which is none: what they do with a value that a device gives or takes.
//!
//! Only what compilers and kernels use on device registers is understood; the rest is a fault in the guest.
//! Invariants: any bytes decode to something or nothing; nothing is looked at but the bytes and the registers.
//! Concurrency: plain values.
//! Source: Intel SDM volume 2; the decoder is the crate `iced-x86`.

use abi::arch_state::Segment;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use rt::message::Words;
use vm_memory::Memory;

use crate::exit::PLACE;
use crate::state::State;
use crate::walk::Paging;

const PROTECTION: u8 = 13;
/// Longest instruction in bytes.
const LONGEST: usize = 15;
/// Arithmetic flags that are computed: carry, parity, zero, sign, overflow.
const FLAGS: u64 = 1 | 1 << 2 | 1 << 6 | 1 << 7 | 1 << 11;
const DIRECTION: u64 = 1 << 10;

/// What stands in memory at the instruction pointer.
#[must_use]
pub fn fetch<W: Words>(state: &State<'_, W>, memory: &impl Memory) -> Option<Instruction> {
    let code = state.segment(1);
    let (bits, base) = mode(state, code);
    let paging = Paging { cr0: state.cr0(), cr3: state.cr3(), cr4: state.cr4(), efer: state.efer() };
    let (mut bytes, mut have) = ([0; LONGEST], 0);
    let start = base.wrapping_add(state.rip());
    while have < LONGEST {
        let address = start.wrapping_add(have as u64);
        let Some(physical) = paging.translate(memory, address) else { break };
        let room = (0x1000 - (address & 0xFFF) as usize).min(LONGEST - have);
        let part = bytes.get_mut(have..have + room)?;
        if !memory.read(physical, part) {
            break;
        }
        have += room;
    }
    let mut decoder = Decoder::with_ip(bits, bytes.get(..have)?, state.rip(), DecoderOptions::NONE);
    let instruction = decoder.decode();
    (!instruction.is_invalid()).then_some(instruction)
}

/// Whether the guest's kernel is about to execute HLT; no, if the exit did not bring what it takes to know.
#[must_use]
pub fn halts<W: Words>(state: &State<'_, W>, memory: &impl Memory) -> bool {
    const HLT: u8 = 0xF4;
    if !state.brought().contains(PLACE) || state.level() != 0 {
        return false;
    }
    let (_, base) = mode(state, state.segment(1));
    let paging = Paging { cr0: state.cr0(), cr3: state.cr3(), cr4: state.cr4(), efer: state.efer() };
    let mut byte = [0];
    let physical = paging.translate(memory, base.wrapping_add(state.rip()));
    physical.is_some_and(|physical| memory.read(physical, &mut byte)) && byte == [HLT]
}

/// Width of the code, and where its segment starts.
fn mode<W: Words>(state: &State<'_, W>, code: Segment) -> (u32, u64) {
    const LONG: u16 = 1 << 9;
    const WIDE: u16 = 1 << 10;
    if state.efer() & 1 << 10 != 0 && code.attributes & LONG != 0 {
        (64, 0)
    } else if state.cr0() & 1 != 0 && code.attributes & WIDE != 0 {
        (32, code.base)
    } else {
        (16, code.base)
    }
}

/// Carries out an access of `instruction` to a device: `read` and `write` reach it with a size of 1, 2, 4 or 8 bytes.
/// Whether it was understood; the instruction pointer has moved on then, unless it has to be repeated.
pub fn emulate<W: Words>(
    state: &mut State<'_, W>,
    instruction: &Instruction,
    memory: &impl Memory,
    device: &mut dyn Device,
) -> bool {
    use Mnemonic::{
        Cmp, Mov, Movsb, Movsd, Movsq, Movsw, Movsx, Movsxd, Movzx, Stosb, Stosd, Stosq, Stosw, Test, Xchg,
    };
    let size = instruction.memory_size().size() as u8;
    if !matches!(size, 1 | 2 | 4 | 8) {
        return false;
    }
    match instruction.mnemonic() {
        // A move of a vector register has the name of one.
        Movsd if !instruction.is_string_instruction() => return false,
        Stosb | Stosw | Stosd | Stosq => {
            device.write(size, state.rax() & mask(size));
            return advance_string(state, instruction, size, false, true);
        }
        Movsb | Movsw | Movsd | Movsq => return move_string(state, instruction, size, memory, device),
        _ => {}
    }
    let writes = instruction.op0_kind() == OpKind::Memory;
    let other = u32::from(writes);
    match instruction.mnemonic() {
        Mov if writes => {
            let Some(value) = operand(state, instruction, other) else { return false };
            device.write(size, value & mask(size));
        }
        Mov | Movzx => {
            let value = device.read(size);
            if !set_register(state, instruction.op0_register(), value) {
                return false;
            }
        }
        Movsx | Movsxd => {
            let shift = 64 - 8 * u32::from(size);
            let value = ((device.read(size) << shift) as i64 >> shift) as u64;
            if !set_register(state, instruction.op0_register(), value) {
                return false;
            }
        }
        Xchg => {
            let register = if writes { instruction.op1_register() } else { instruction.op0_register() };
            let Some(new) = read_register(state, register) else { return false };
            let old = device.read(size);
            device.write(size, new & mask(size));
            set_register(state, register, old);
        }
        operation => {
            let Some(value) = operand(state, instruction, other) else { return false };
            let there = device.read(size);
            let (left, right) = if writes { (there, value) } else { (value, there) };
            let Some((result, flags)) = compute(operation, left, right & mask(size), size) else { return false };
            state.set_rflags(state.rflags() & !FLAGS | flags);
            if !matches!(operation, Cmp | Test) {
                if writes {
                    device.write(size, result);
                } else if !set_register(state, instruction.op0_register(), result) {
                    return false;
                }
            }
        }
    }
    state.skip(instruction.len() as u64);
    true
}

/// Carries out a move between a general register and control register 8, which has this `class`: the new one, if it is
/// written. `None` if `instruction` is another. What is too large is a fault in the guest.
pub fn priority<W: Words>(state: &mut State<'_, W>, instruction: &Instruction, class: u8) -> Option<Option<u8>> {
    if instruction.mnemonic() != Mnemonic::Mov {
        return None;
    }
    let written = match (instruction.op0_register(), instruction.op1_register()) {
        (Register::CR8, from) => Some(read_register(state, from)?),
        (to, Register::CR8) => {
            if !set_register(state, to, class.into()) {
                return None;
            }
            None
        }
        _ => return None,
    };
    if written.is_some_and(|value| value > 15) {
        state.inject_exception(PROTECTION, Some(0));
        return Some(None);
    }
    state.skip(instruction.len() as u64);
    Some(written.map(|value| value as u8))
}

/// The device that is accessed.
pub trait Device {
    /// Reads `size` bytes.
    fn read(&mut self, size: u8) -> u64;
    /// Writes them.
    fn write(&mut self, size: u8, value: u64);
    /// The physical address that is accessed.
    fn address(&self) -> u64;
}

const fn mask(size: u8) -> u64 {
    u64::MAX >> (64 - 8 * size as u32)
}

/// The operand that is not in memory.
fn operand<W: Words>(state: &State<'_, W>, instruction: &Instruction, number: u32) -> Option<u64> {
    match instruction.op_kind(number) {
        OpKind::Register => read_register(state, instruction.op_register(number)),
        OpKind::Memory => None,
        _ => instruction.try_immediate(number).ok(),
    }
}

/// Number in the encoding, lowest bit and size of a general register.
fn place(register: Register) -> Option<(usize, u32, u8)> {
    use Register::{AH, BH, CH, DH};
    if !register.is_gpr() {
        return None;
    }
    Some(match register {
        AH | CH | DH | BH => (register as usize - AH as usize, 8, 1),
        _ => (register.full_register().number(), 0, register.size() as u8),
    })
}

fn read_register<W: Words>(state: &State<'_, W>, register: Register) -> Option<u64> {
    let (number, shift, size) = place(register)?;
    Some(state.register(number) >> shift & mask(size))
}

fn set_register<W: Words>(state: &mut State<'_, W>, register: Register, value: u64) -> bool {
    let Some((number, shift, size)) = place(register) else { return false };
    let value = match size {
        8 => value,
        // 32 bits clear the upper half.
        4 => value & mask(4),
        _ => state.register(number) & !(mask(size) << shift) | (value & mask(size)) << shift,
    };
    state.set_register(number, value);
    true
}

/// Result and flags of an operation on `size` bytes.
fn compute(operation: Mnemonic, left: u64, right: u64, size: u8) -> Option<(u64, u64)> {
    let (mask, sign) = (mask(size), 1 << (8 * u32::from(size) - 1));
    let left = left & mask;
    let (result, carry, overflow) = match operation {
        Mnemonic::And | Mnemonic::Test => (left & right, false, false),
        Mnemonic::Or => (left | right, false, false),
        Mnemonic::Xor => (left ^ right, false, false),
        Mnemonic::Add => {
            let result = left.wrapping_add(right) & mask;
            (result, result < left, (left ^ result) & (right ^ result) & sign != 0)
        }
        Mnemonic::Sub | Mnemonic::Cmp => {
            let result = left.wrapping_sub(right) & mask;
            (result, left < right, (left ^ right) & (left ^ result) & sign != 0)
        }
        _ => return None,
    };
    let parity = (result as u8).count_ones().is_multiple_of(2);
    let flags = u64::from(carry)
        | u64::from(parity) << 2
        | u64::from(result == 0) << 6
        | u64::from(result & sign != 0) << 7
        | u64::from(overflow) << 11;
    Some((result, flags))
}

/// One step of MOVS between memory and a device.
fn move_string<W: Words>(
    state: &mut State<'_, W>,
    instruction: &Instruction,
    size: u8,
    memory: &impl Memory,
    device: &mut dyn Device,
) -> bool {
    let paging = Paging { cr0: state.cr0(), cr3: state.cr3(), cr4: state.cr4(), efer: state.efer() };
    let segment = match instruction.memory_segment() {
        Register::FS => state.segment(4).base,
        Register::GS => state.segment(5).base,
        _ => 0,
    };
    let from = paging.translate(memory, segment.wrapping_add(state.rsi()));
    let to = paging.translate(memory, state.rdi());
    let mut bytes = [0; 8];
    let Some(part) = bytes.get_mut(..size.into()) else { return false };
    if to == Some(device.address()) {
        // From a device to a device is left out.
        if from.is_none_or(|from| !memory.read(from, part)) {
            return false;
        }
        device.write(size, u64::from_le_bytes(bytes));
    } else {
        part.copy_from_slice(device.read(size).to_le_bytes().get(..size.into()).unwrap_or_default());
        if to.is_none_or(|to| !memory.write(to, part)) {
            return false;
        }
    }
    advance_string(state, instruction, size, true, true)
}

/// Moves the pointers on; the instruction is repeated as long as its prefix says.
fn advance_string<W: Words>(
    state: &mut State<'_, W>,
    instruction: &Instruction,
    size: u8,
    source: bool,
    destination: bool,
) -> bool {
    let step = u64::from(size);
    let step = if state.rflags() & DIRECTION != 0 { step.wrapping_neg() } else { step };
    if source {
        state.set_rsi(state.rsi().wrapping_add(step));
    }
    if destination {
        state.set_rdi(state.rdi().wrapping_add(step));
    }
    if instruction.has_rep_prefix() || instruction.has_repne_prefix() {
        let left = state.rcx().wrapping_sub(1);
        state.set_rcx(left);
        if left != 0 {
            return true;
        }
    }
    state.skip(instruction.len() as u64);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use vm_memory::TestMemory;

    #[derive(Default)]
    struct Register32 {
        value: u64,
        written: Vec<(u8, u64)>,
    }

    impl Device for Register32 {
        fn read(&mut self, size: u8) -> u64 {
            self.value & mask(size)
        }

        fn write(&mut self, size: u8, value: u64) {
            self.written.push((size, value));
        }

        fn address(&self) -> u64 {
            0xFEC0_0000
        }
    }

    /// Runs one instruction of 64-bit code without paging being on for the walk.
    fn run(code: &[u8], registers: &[(usize, u64)], device: &mut Register32) -> Option<Vec<u64>> {
        let memory = TestMemory::new(0x2000);
        memory.write(0x1000, code);
        let mut words = [0_u64; 508];
        let mut state = State::new(&mut words);
        let cs = Segment { attributes: 1 << 9, ..Segment::default() };
        let all = abi::arch_state::ArchState { cs, rip: 0x1000, efer: 1 << 10, cr0: 1, ..Default::default() };
        state.load(&all, abi::Mtd::all());
        registers.iter().for_each(|(number, value)| state.set_register(*number, *value));
        let instruction = fetch(&state, &memory)?;
        let understood = emulate(&mut state, &instruction, &memory, device);
        understood.then(|| (0..16).map(|number| state.register(number)).chain([state.rip(), state.rflags()]).collect())
    }

    #[test]
    fn moves_read_and_write() {
        let mut device = Register32 { value: 0x8765_4321, ..Default::default() };
        let after = run(&[0x8B, 0x07], &[(0, u64::MAX)], &mut device); // mov eax, [rdi]
        assert_eq!(after.map(|r| (r[0], r[16])), Some((0x8765_4321, 0x1002)));
        let after = run(&[0x41, 0x89, 0x07], &[(0, 5 << 32 | 7)], &mut device); // mov [r15], eax
        assert_eq!((after.map(|r| r[16]), device.written.pop()), (Some(0x1003), Some((4, 7))));
        let after = run(&[0xC7, 0x07, 1, 0, 0, 0x80], &[], &mut device); // mov dword [rdi], imm
        assert_eq!((after.map(|r| r[16]), device.written.pop()), (Some(0x1006), Some((4, 0x8000_0001))));
        let after = run(&[0xF2, 0x0F, 0x11, 0x07], &[(6, 0x10)], &mut device); // movsd [rdi], xmm0
        assert_eq!((after, device.written.len()), (None, 0));
        let after = run(&[0x66, 0x89, 0x0F], &[(1, 0x1_2345)], &mut device); // mov [rdi], cx
        assert_eq!((after.is_some(), device.written.pop()), (true, Some((2, 0x2345))));
        let after = run(&[0x8A, 0x27], &[(0, 0xFFFF)], &mut device); // mov ah, [rdi]
        assert_eq!(after.map(|r| r[0]), Some(0x21FF));
        let after = run(&[0x48, 0x0F, 0xBE, 0x07], &[], &mut Register32 { value: 0x80, ..Default::default() }); // movsx rax, byte
        assert_eq!(after.map(|r| r[0]), Some(0xFFFF_FFFF_FFFF_FF80));
    }

    #[test]
    fn moves_of_the_priority_are_done_or_fault() {
        let mut words = [0_u64; 508];
        let mut go = |code: &[u8], value| {
            let mut state = State::new(&mut words);
            state.set_rip(0x1000);
            state.set_rax(value);
            state.set_injection(0);
            let instruction = Decoder::with_ip(64, code, 0x1000, DecoderOptions::NONE).decode();
            (priority(&mut state, &instruction, 9), state.rip(), state.rax(), state.injection() as u8)
        };
        assert_eq!(go(&[0x44, 0x0F, 0x22, 0xC0], 5), (Some(Some(5)), 0x1004, 5, 0)); // mov cr8, rax
        assert_eq!(go(&[0x44, 0x0F, 0x20, 0xC0], 5), (Some(None), 0x1004, 9, 0)); // mov rax, cr8
        assert_eq!(go(&[0x44, 0x0F, 0x22, 0xC0], 16), (Some(None), 0x1000, 16, PROTECTION));
        assert_eq!(go(&[0x0F, 0x22, 0xC0], 5).0, None); // mov cr0, rax
    }

    #[test]
    fn operations_set_flags() {
        let mut device = Register32 { value: 3, ..Default::default() };
        let after = run(&[0x83, 0x0F, 4], &[], &mut device); // or dword [rdi], 4
        assert_eq!((after.map(|r| r[17] & FLAGS), device.written.pop()), (Some(0), Some((4, 7))));
        let after = run(&[0x83, 0x3F, 3], &[], &mut device); // cmp dword [rdi], 3
        assert_eq!((after.map(|r| r[17] & FLAGS), device.written.is_empty()), (Some(1 << 6 | 1 << 2), true));
        let after = run(&[0x2B, 0x07], &[(0, 2)], &mut device); // sub eax, [rdi]
        assert_eq!(after.map(|r| (r[0], r[17] & 1)), Some((0xFFFF_FFFF, 1)));
        let after = run(&[0xF7, 0x07, 8, 0, 0, 0], &[], &mut device); // test dword [rdi], 8
        assert_eq!(after.map(|r| r[17] & 1 << 6), Some(1 << 6));
    }

    #[test]
    fn repeated_stores_take_one_step_at_a_time() {
        let mut device = Register32::default();
        let after = run(&[0xF3, 0xAA], &[(1, 2), (0, 0x55)], &mut device); // rep stosb
        assert_eq!(after.map(|r| (r[1], r[7], r[16])), Some((1, 1, 0x1000)));
        let after = run(&[0xF3, 0xAB], &[(1, 1), (0, 0x55)], &mut device); // rep stosd
        assert_eq!(after.map(|r| (r[1], r[7], r[16])), Some((0, 4, 0x1002)));
        assert_eq!(device.written, [(1, 0x55), (4, 0x55)]);
    }

    proptest! {
        #[test]
        fn no_code_makes_it_panic(code: [u8; 15], registers: [u64; 16], value: u64) {
            let registers: Vec<_> = registers.into_iter().enumerate().collect();
            let _ = run(&code, &registers, &mut Register32 { value, ..Default::default() });
        }
    }
}
