//! A machine without a processor: what drives it makes up the exits. For tests and for the fuzzer.
//!
//! Invariants: none; it is driven by anything.
//! Concurrency: one thread.

use alloc::boxed::Box;
use alloc::vec;
use core::sync::atomic::{AtomicU64, Ordering};

use vm_block::{Block, Disk};
use vm_console::Console;
use vm_memory::TestMemory;
use vm_net::{FRAME, Net, Wire};
use vm_rng::{Entropy, Source};
use vm_virtio::Pci;

use crate::cpuid::Leaf;
use crate::devices::Devices;
use crate::exit::{Backend, Exit};
use crate::layout::{PCI_CONFIG, PCI_PORTS, PCI_WINDOW};
use crate::machine::{Action, End, Host, Machine, Parts};
use crate::start::Boot;
use crate::state::State;

/// Words of a message.
const WORDS: usize = 508;
/// Most steps of a trial.
const STEPS: usize = 4096;

/// A world where time goes on when somebody says so.
#[derive(Debug, Default)]
pub struct World {
    now: AtomicU64,
    /// Recalls and wakes so far.
    pub kicks: AtomicU64,
    /// The byte that was printed last, plus 256 times the number of bytes.
    pub printed: AtomicU64,
}

impl Host for World {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn cpuid(&self, leaf: u32, _: u32) -> Leaf {
        [leaf; 4]
    }

    fn recall(&self, _: usize) {
        self.kicks.fetch_add(1, Ordering::Relaxed);
    }

    fn wake(&self, _: usize) {
        self.kicks.fetch_add(1, Ordering::Relaxed);
    }

    fn set_timer(&self, _: usize, _: u64) {}

    fn set_device_timer(&self, _: u64) {}

    fn print(&self, byte: u8) {
        let count = self.printed.load(Ordering::Relaxed) >> 8;
        self.printed.store((count + 1) << 8 | u64::from(byte), Ordering::Relaxed);
    }
}

impl World {
    /// Lets time go on by so many ticks; there are 1000 to a microsecond.
    pub fn pass(&self, ticks: u64) {
        self.now.fetch_add(ticks, Ordering::Relaxed);
    }
}

struct Loop(Option<alloc::vec::Vec<u8>>);

impl Wire for Loop {
    fn send(&mut self, frame: &[u8]) {
        self.0 = Some(frame.to_vec());
    }

    fn receive(&mut self, to: &mut [u8; FRAME]) -> usize {
        let Some(frame) = self.0.take() else { return 0 };
        to.iter_mut().zip(&frame).for_each(|(slot, byte)| *slot = *byte);
        frame.len().min(FRAME)
    }
}

struct Count(u64);

impl Source for Count {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// Memory without a guest.
#[must_use]
pub fn memory(size: usize) -> TestMemory {
    TestMemory::new(size)
}

/// A machine with all devices and two processors.
#[must_use]
pub fn machine(backend: Backend) -> Machine<TestMemory, World> {
    let place = |index: u16| (PCI_PORTS + 0x100 * index, PCI_WINDOW as u32 + 0x1000 * u32::from(index));
    let [disk, net, console, entropy] = [0, 1, 2, 3].map(place);
    let devices = Devices::new(
        1_700_000_000,
        vec![
            Pci::boxed(Block::new(Disk::Memory(vec![0; 8192].into_boxed_slice())), disk.0, disk.1)
                as Box<dyn vm_pci::Device>,
            Pci::boxed(Net::new(Loop(None), [2, 0, 0, 0, 0, 1]), net.0, net.1),
            Pci::boxed(Console::default(), console.0, console.1),
            Pci::boxed(Entropy(Count(0)), entropy.0, entropy.1),
        ],
    );
    let boot = Boot::Linux { entry: 0x10_0000 };
    let memory = memory(0x8000);
    Machine::new(Parts { memory, host: World::default(), backend, cpus: 2, devices, tsc_khz: 1_000_000, boot })
}

/// A message with the state of a processor.
pub type Message = [u64; WORDS];

/// Ports that something is at.
const PORTS: [u16; 16] = [
    0x20,
    0x21,
    0xA0,
    0xA1,
    0x40,
    0x43,
    0x42,
    0x61,
    0x70,
    0x71,
    0x3F8,
    0x600,
    0xCF8,
    0xCFC,
    PCI_PORTS,
    PCI_PORTS + 0x44,
];
/// Addresses that something is at.
const ADDRESSES: [u64; 6] =
    [vm_ioapic::ADDRESS, vm_lapic::BASE_ADDRESS, PCI_CONFIG, PCI_CONFIG + 0x8000, PCI_WINDOW, 0xD123_4000];

/// A machine that steps drive.
pub struct Trial {
    machine: Machine<TestMemory, World>,
    backend: Backend,
    messages: [Message; 2],
}

impl Trial {
    /// A machine whose processors have started.
    #[must_use]
    pub fn new(backend: Backend) -> Self {
        let machine = machine(backend);
        let mut messages = [[0; WORDS]; 2];
        for (cpu, message) in messages.iter_mut().enumerate() {
            let _ = machine.exit(cpu, Exit::Startup, &mut State::new(message));
        }
        Self { machine, backend, messages }
    }

    /// Makes an exit out of two words and has it handled: nothing may go wrong. Whether the machine still runs.
    pub fn step(&mut self, first: u64, second: u64) -> bool {
        let cpu = (first >> 4 & 1) as usize;
        self.machine.host().pass(first >> 40);
        if let Some(message) = self.messages.get_mut(cpu) {
            one(&self.machine, self.backend, cpu, message, first, second);
        }
        match self.machine.end() {
            None => true,
            Some(End::Reset) => {
                self.restart();
                true
            }
            Some(_) => false,
        }
    }

    /// Starts the machine again, which has ended.
    fn restart(&mut self) {
        let Self { machine, messages, .. } = self;
        for (cpu, message) in messages.iter_mut().enumerate() {
            let _ = machine.resume(cpu, &mut State::new(message));
        }
        assert!(machine.is_quiet(), "a processor has not heard of the end");
        machine.reset_devices();
        machine.restart();
        for (cpu, message) in messages.iter_mut().enumerate() {
            let action = machine.resume(cpu, &mut State::new(message));
            assert_eq!(action == Action::Resume, cpu == 0, "the first processor runs, and no other");
        }
    }
}

/// Makes exits out of `data` and has them handled: each takes 16 bytes. Nothing may go wrong.
pub fn run(data: &[u8]) {
    let backend = if data.first().is_some_and(|byte| byte & 1 != 0) { Backend::Vmx } else { Backend::Svm };
    let mut trial = Trial::new(backend);
    for step in data.as_chunks::<16>().0.iter().take(STEPS) {
        let (low, high) = step.split_at(8);
        let word = |half: &[u8]| half.first_chunk().copied().map_or(0, u64::from_le_bytes);
        if !trial.step(word(low), word(high)) {
            return;
        }
    }
}

fn one(
    machine: &Machine<TestMemory, World>,
    backend: Backend,
    cpu: usize,
    message: &mut Message,
    first: u64,
    second: u64,
) {
    use core::mem::offset_of;
    const QUALIFICATION: usize = offset_of!(abi::arch_state::ArchState, qual) / 8;
    let pick = (first >> 8) as usize;
    let mut state = State::new(message);
    let exit = match first & 0xF {
        0..=4 => {
            state.set_rax(second);
            let port = PORTS.get(pick % PORTS.len()).copied().unwrap_or(0).wrapping_add((first >> 16) as u16 & 0x3F);
            let port = if first >> 5 & 1 != 0 { port } else { port & !0x30 };
            let size = 1_u64 << (first >> 6 & 3).min(2);
            let read = first >> 39 & 1;
            let qualification = match backend {
                Backend::Svm => u64::from(port) << 16 | size << 4 | read,
                Backend::Vmx => u64::from(port) << 16 | read << 3 | (size - 1),
            };
            message[QUALIFICATION] = qualification;
            Exit::Port
        }
        5..=7 => {
            let number = match pick & 7 {
                0 | 4 => 0x800 + (first >> 16 & 0x3F),
                1 => 0x6E0,
                2 => 0x1B,
                3 => vm_lapic::END_ASSIST.into(),
                _ => first >> 16 & 0xFFFF_FFFF,
            };
            state.set_rcx(number);
            state.set_rax(second & 0xFFFF_FFFF);
            state.set_rdx(second >> 32);
            Exit::Msr(Some(first >> 39 & 1 == 0))
        }
        8 | 9 => {
            // An instruction made of the input, in real mode at a place in memory.
            machine.write_memory(0x1000, &second.to_le_bytes());
            state.set_cr0(0);
            state.set_rip(0x1000);
            message[QUALIFICATION + 1] =
                ADDRESSES.get(pick % ADDRESSES.len()).copied().unwrap_or(0) + (first >> 16 & 0xFFF);
            Exit::Memory
        }
        10 => {
            // Rings and descriptors.
            machine.write_memory(first >> 16 & 0x7FF8, &second.to_le_bytes());
            return;
        }
        11 => {
            machine.input(second as u8, first >> 16 & 1 != 0);
            return;
        }
        12 => {
            let _ = machine.poll_devices();
            return;
        }
        13 => Exit::Halt,
        14 => Exit::Cpuid,
        _ => Exit::new(backend, second as u8),
    };
    let mut state = State::new(message);
    if matches!(exit, Exit::TripleFault | Exit::Invalid | Exit::Other(_)) {
        return;
    }
    if let Action::Wait(_) = machine.exit(cpu, exit, &mut state) {
        let _ = machine.resume(cpu, &mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{INTERRUPTS_ON, VALID};
    use abi::Mtd;
    use abi::arch_state::ArchState;
    use core::mem::offset_of;
    use proptest::prelude::*;
    use vm_memory::Memory;

    const QUALIFICATION: usize = offset_of!(ArchState, qual) / 8;
    const EVENT: usize = offset_of!(ArchState, inj_info) / 8;

    fn all(message: &mut Message) {
        message[0] = Mtd::all().word();
    }

    fn msr(machine: &Machine<TestMemory, World>, cpu: usize, message: &mut Message, number: u64, value: u64) -> Action {
        all(message);
        let mut state = State::new(message);
        state.set_rcx(number);
        state.set_rax(value & 0xFFFF_FFFF);
        state.set_rdx(value >> 32);
        machine.exit(cpu, Exit::Msr(Some(true)), &mut state)
    }

    /// A machine whose first processor runs with its local APIC on in x2APIC mode, and interrupts on.
    fn running() -> (Machine<TestMemory, World>, [Message; 2]) {
        let machine = machine(Backend::Svm);
        let mut messages = [[0; WORDS]; 2];
        assert_eq!(machine.exit(0, Exit::Startup, &mut State::new(&mut messages[0])), Action::Resume);
        assert_eq!(machine.exit(1, Exit::Startup, &mut State::new(&mut messages[1])), Action::Wait(u64::MAX));
        for (number, value) in [(0x1B, 0xFEE0_0D00), (0x80F, 0x1FF), (0x832, 0x4_0041)] {
            assert_eq!(msr(&machine, 0, &mut messages[0], number, value), Action::Resume);
        }
        State::new(&mut messages[0]).set_rflags(INTERRUPTS_ON);
        (machine, messages)
    }

    #[test]
    fn a_halted_processor_waits_for_its_timer_and_takes_the_interrupt() {
        let (machine, [mut message, _]) = running();
        assert_eq!(msr(&machine, 0, &mut message, 0x6E0, 5000), Action::Resume);
        all(&mut message);
        let mut state = State::new(&mut message);
        assert_eq!(machine.exit(0, Exit::Halt, &mut state), Action::Wait(5000));
        machine.host().pass(5000);
        assert_eq!(machine.resume(0, &mut state), Action::Resume);
        assert_eq!(message[EVENT] as u32, VALID | 0x41);
    }

    #[test]
    fn a_processor_that_halts_with_interrupts_off_waits_though_one_is_pending() {
        let (machine, [mut message, _]) = running();
        State::new(&mut message).set_rflags(0);
        assert_eq!(msr(&machine, 0, &mut message, 0x83F, 0x55), Action::Resume);
        all(&mut message);
        assert_eq!(machine.exit(0, Exit::Halt, &mut State::new(&mut message)), Action::Wait(u64::MAX));
    }

    #[test]
    fn an_interrupt_waits_for_the_window() {
        let (machine, [mut message, _]) = running();
        State::new(&mut message).set_rflags(0);
        assert_eq!(msr(&machine, 0, &mut message, 0x83F, 0x55), Action::Resume);
        assert_eq!(message[EVENT] as u32, crate::state::WINDOW);
        all(&mut message);
        message[EVENT] = 0;
        let mut state = State::new(&mut message);
        state.set_rflags(INTERRUPTS_ON);
        assert_eq!(machine.exit(0, Exit::Window, &mut state), Action::Resume);
        assert_eq!(message[EVENT] as u32, VALID | 0x55);
    }

    /// The command for a non-maskable interrupt.
    const NMI: u64 = 0x4400;
    const NMI_EVENT: u32 = VALID | 2 << 8 | 2;

    #[test]
    fn a_non_maskable_interrupt_waits_for_what_is_delivered_before_it() {
        let (machine, [mut message, _]) = running();
        let again = u64::from(VALID | 0x66);
        for event in [NMI_EVENT, VALID | 0x66 | crate::state::WINDOW, NMI_EVENT] {
            // The second comes while an exit has interrupted something else, the third at the window.
            message[EVENT] = if event & 0xFF == 0x66 { again } else { 0 };
            let exit = if machine.cpus()[0].shared.has_nmi() {
                all(&mut message);
                machine.exit(0, Exit::Window, &mut State::new(&mut message))
            } else {
                msr(&machine, 0, &mut message, 0x830, NMI)
            };
            assert_eq!((exit, message[EVENT] as u32), (Action::Resume, event));
        }
        // Twice at once is twice.
        machine.cpus()[0].shared.request_nmi();
        message[EVENT] = 0;
        assert_eq!(machine.exit(0, Exit::Recall, &mut State::new(&mut message)), Action::Resume);
    }

    #[test]
    fn a_processor_that_takes_no_non_maskable_interrupt_does_not_spin() {
        let machine = machine(Backend::Vmx);
        let mut messages = [[0; WORDS]; 2];
        let [first, second] = &mut messages;
        assert_eq!(machine.exit(0, Exit::Startup, &mut State::new(first)), Action::Resume);
        // One that waits for a start-up message.
        machine.cpus()[1].shared.request_nmi();
        assert_eq!(machine.exit(1, Exit::Startup, &mut State::new(second)), Action::Wait(u64::MAX));
        assert!(!machine.cpus()[1].shared.has_nmi());
        // One that is in the handler of another: it asks for the window, or halts.
        machine.cpus()[0].shared.request_nmi();
        all(first);
        first[offset_of!(ArchState, intr_state) / 8] = 1 << 3;
        first[EVENT] = 0;
        assert_eq!(machine.exit(0, Exit::Recall, &mut State::new(first)), Action::Resume);
        assert_eq!(first[EVENT] as u32, crate::state::NMI_WINDOW);
        all(first);
        assert_eq!(machine.exit(0, Exit::Halt, &mut State::new(first)), Action::Wait(u64::MAX));
        first[offset_of!(ArchState, intr_state) / 8] = 0;
        assert_eq!(machine.resume(0, &mut State::new(first)), Action::Resume);
        assert_eq!(first[EVENT] as u32, NMI_EVENT);
    }

    #[test]
    fn an_interrupt_at_hlt_comes_behind_it() {
        for (instruction, exit, rip) in
            [(0xF4, Exit::Window, 0x3001), (0xF4, Exit::Recall, 0x3001), (0x90, Exit::Window, 0x3000)]
        {
            let (machine, [mut message, _]) = running();
            assert!(machine.write_memory(0x3000, &[instruction]));
            State::new(&mut message).set_rflags(0);
            assert_eq!(msr(&machine, 0, &mut message, 0x83F, 0x55), Action::Resume);
            all(&mut message);
            message[EVENT] = 0;
            let mut state = State::new(&mut message);
            state.set_rflags(INTERRUPTS_ON);
            state.set_rip(0x3000);
            // Without paging.
            state.set_cr0(1);
            assert_eq!(machine.exit(0, exit, &mut state), Action::Resume);
            assert_eq!((state.rip(), state.injection()), (rip, VALID | 0x55), "{instruction:#x}, {exit:?}");
        }
    }

    #[test]
    fn an_interrupt_that_the_guests_word_ends_makes_room_for_the_next() {
        let (machine, [mut message, _]) = running();
        let word = |value: u32| assert!(machine.write_memory(0x2000, &value.to_le_bytes()));
        word(7);
        assert_eq!(msr(&machine, 0, &mut message, vm_lapic::END_ASSIST.into(), 0x2001), Action::Resume);
        for ended in [true, false] {
            State::new(&mut message).set_rflags(INTERRUPTS_ON);
            message[EVENT] = 0;
            assert_eq!(msr(&machine, 0, &mut message, 0x83F, 0x55), Action::Resume);
            assert_eq!(message[EVENT] as u32, VALID | 0x55);
            word(u32::from(!ended));
        }
        message[EVENT] = 0;
        assert_eq!(msr(&machine, 0, &mut message, 0x83F, 0x55), Action::Resume);
        assert_eq!(message[EVENT] as u32 & VALID, 0, "the one before is still in service");
    }

    #[test]
    fn a_start_up_message_starts_the_other_processor_in_real_mode() {
        let (machine, [mut first, mut second]) = running();
        let mut state = State::new(&mut second);
        for command in [0x4500_u64, 0x469A] {
            assert_eq!(msr(&machine, 0, &mut first, 0x830, command | 1 << 32), Action::Resume);
            let action = machine.resume(1, &mut state);
            assert_eq!(action == Action::Resume, command == 0x469A, "{action:?}");
        }
        assert_eq!((state.segment(1).base, state.segment(1).selector, state.rip()), (0x9_A000, 0x9A00, 0));
        assert_eq!(machine.host().kicks.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn the_serial_port_prints_and_the_exit_port_ends_the_machine() {
        let (machine, [mut message, _]) = running();
        for (port, value, action) in [(0x3F8_u64, 0x41, Action::Resume), (0xF4, 7, Action::End(End::Exit(7)))] {
            all(&mut message);
            message[QUALIFICATION] = port << 16 | 1 << 4;
            message[QUALIFICATION + 1] = 0x1234;
            let mut state = State::new(&mut message);
            // Bytes above the one that is written do not count.
            state.set_rax(value | 0x2BAD_B000);
            assert_eq!(machine.exit(0, Exit::Port, &mut state), action);
        }
        assert_eq!(machine.host().printed.load(Ordering::Relaxed), 1 << 8 | 0x41);
        assert_eq!(State::new(&mut message).rip(), 0x1234);
    }

    #[test]
    fn what_was_being_delivered_is_delivered_again() {
        let (machine, [mut message, _]) = running();
        all(&mut message);
        message[EVENT] = u64::from(VALID | 0x66);
        assert_eq!(machine.exit(0, Exit::Recall, &mut State::new(&mut message)), Action::Resume);
        assert_eq!(message[EVENT] as u32, VALID | 0x66);
        all(&mut message);
        message[EVENT] = u64::from(VALID | 4 << 8 | 0x80);
        assert_eq!(machine.exit(0, Exit::Recall, &mut State::new(&mut message)), Action::Resume);
        assert_eq!(message[EVENT] as u32 & VALID, 0, "an instruction raises it again");
    }

    #[test]
    fn a_machine_whose_guest_faults_three_times_ends_with_that_reason() {
        let (machine, [mut message, _]) = running();
        State::new(&mut message).set_rip(0x1234);
        let action = machine.exit(0, Exit::TripleFault, &mut State::new(&mut message));
        let end = machine.end();
        assert_eq!(Some(action), end.map(Action::End));
        assert!(end.is_some_and(|end| end.to_string().contains("double fault: virtual CPU 0 at rip=0x1234 ")));
        machine.stop(End::Off);
        assert_eq!(machine.end(), end, "the first reason counts");
    }

    #[test]
    fn a_reset_waits_for_all_processors_and_starts_as_at_power_on() {
        let (machine, [mut first, mut second]) = running();
        machine.write_memory(0x1000, &[7]);
        all(&mut first);
        first[QUALIFICATION] = 0xCF9 << 16 | 1 << 4;
        let mut state = State::new(&mut first);
        state.set_rax(6);
        assert_eq!(machine.exit(0, Exit::Port, &mut state), Action::End(End::Reset));
        assert!(!machine.is_quiet());
        assert_eq!(machine.resume(1, &mut State::new(&mut second)), Action::End(End::Reset));
        assert!(machine.is_quiet());
        machine.reset_devices();
        machine.restart();
        assert_eq!((machine.end(), machine.memory().read_u16(0x1000)), (None, Some(0)));
        assert_eq!(machine.resume(1, &mut State::new(&mut second)), Action::Wait(u64::MAX));
        assert_eq!(machine.resume(0, &mut State::new(&mut first)), Action::Resume);
        assert_eq!(State::new(&mut first).rip(), 0x10_0000, "where it is entered");
        // The local APIC is in its first mode again.
        all(&mut first);
        let mut state = State::new(&mut first);
        state.set_rcx(0x1B);
        assert_eq!(machine.exit(0, Exit::Msr(Some(false)), &mut state), Action::Resume);
        assert_eq!(state.rax(), 0xFEE0_0900);
    }

    #[test]
    fn a_processor_that_stays_in_the_guest_is_found() {
        let (machine, [mut message, _]) = running();
        let mut exits = [0; 2];
        assert_eq!(machine.stuck(&mut exits), None, "it had exits");
        assert_eq!(machine.stuck(&mut exits), Some(0));
        all(&mut message);
        assert_eq!(machine.exit(0, Exit::Halt, &mut State::new(&mut message)), Action::Wait(u64::MAX));
        let _ = machine.stuck(&mut exits);
        assert_eq!(machine.stuck(&mut exits), None, "it waits");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_guest_makes_the_machine_panic(data in proptest::collection::vec(any::<u8>(), 0..4096)) {
            run(&data);
        }
    }
}
