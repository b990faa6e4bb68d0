//! Tests of transport and queues, with a device that gives back what it gets.

use crate::queue::MAX_SIZE;
use crate::*;
use proptest::prelude::*;
use vm_memory::TestMemory;
use vm_pci::{Bus, Device, Vector};

/// Copies what the driver wrote to where it may write.
struct Echo;

impl Model for Echo {
    fn kind(&self) -> u16 {
        4
    }

    fn class(&self) -> (u8, u8, u8) {
        (0xFF, 0, 0)
    }

    fn features(&self) -> u64 {
        2
    }

    fn queues(&self) -> usize {
        1
    }

    fn config(&self) -> &[u8] {
        &[1, 2, 3, 4]
    }

    fn serve(&mut self, _: usize, queues: &mut [Queue], context: &mut Context<'_>) -> Result<(), Broken> {
        let queue = queues.first_mut().ok_or(Broken)?;
        while let Some(chain) = queue.pop(context.memory)? {
            let mut bytes = [0; 64];
            let count = chain.read(context.memory, 0, &mut bytes)?;
            let written = chain.write(context.memory, 0, bytes.get(..count).unwrap_or_default())?;
            queue.push(context.memory, &chain, written as u32)?;
        }
        Ok(())
    }
}

struct Machine {
    memory: TestMemory,
    messages: Vec<Vector>,
}

impl Bus for Machine {
    fn memory(&self) -> &dyn vm_memory::Memory {
        &self.memory
    }

    fn signal(&mut self, message: Vector) {
        self.messages.push(message);
    }

    fn print(&self, _: &[u8]) {}
}

const DESCRIPTORS: u64 = 0x1000;
const DRIVER: u64 = 0x2000;
const DEVICE: u64 = 0x3000;

fn machine() -> Machine {
    Machine { memory: TestMemory::new(0x8000), messages: Vec::new() }
}

fn descriptor(memory: &TestMemory, index: u64, address: u64, length: u32, flags: u16, next: u16) {
    use vm_memory::Memory;
    let high = u64::from(length) | u64::from(flags) << 32 | u64::from(next) << 48;
    memory.write(DESCRIPTORS + 16 * index, &address.to_le_bytes());
    memory.write(DESCRIPTORS + 16 * index + 8, &high.to_le_bytes());
}

fn offer(memory: &TestMemory, index: u16, head: u16) {
    use vm_memory::Memory;
    memory.write(DRIVER + 4 + 2 * u64::from(index % 8), &head.to_le_bytes());
    memory.write(DRIVER + 2, &(index + 1).to_le_bytes());
}

/// A device whose driver is ready, with a queue of 8.
fn ready(machine: &mut Machine, features: u64) -> Pci<Echo> {
    let mut device = Pci::new(Echo, 0xC000, 0xD000_0000);
    device.config_mut().write(4, 2, 7);
    let mut set = |offset, value| device.write(0, offset, 4, value, machine);
    set(0x14, 3);
    for half in [0, 1] {
        set(0x08, half);
        set(0x0C, (features >> (32 * half)) as u32);
    }
    set(0x14, 0xB);
    for (offset, value) in [
        (0x16, 0),
        (0x18, 8),
        (0x1A, 0),
        (0x20, DESCRIPTORS as u32),
        (0x28, DRIVER as u32),
        (0x30, DEVICE as u32),
        (0x1C, 1),
    ] {
        set(offset, value);
    }
    set(0x14, 0xF);
    device
}

#[test]
fn registers_say_what_the_device_is() {
    let mut machine = machine();
    let mut device = Pci::new(Echo, 0xC000, 0xD000_0000);
    assert_eq!(device.config().read(0, 4), 0x1044_1AF4);
    assert_eq!(
        (device.read(0, 0x12, 2), device.read(0, 0x18, 2), device.read(0, 0x80, 4)),
        (1, MAX_SIZE.into(), 0x0403_0201)
    );
    assert_eq!(device.read(0, 4, 4), 2 | 3 << 28);
    device.write(0, 0, 4, 1, &mut machine);
    assert_eq!(device.read(0, 4, 4), 1);
}

#[test]
fn features_that_were_not_offered_are_refused() {
    let mut machine = machine();
    let mut device = ready(&mut machine, 1 << 32 | 1);
    assert_eq!(device.read(0, 0x14, 1) & 8, 0);
    let mut device = ready(&mut machine, 1 << 32);
    assert_eq!(device.read(0, 0x14, 1), 0xF);
    device.write(0, 0x14, 1, 0, &mut machine);
    assert_eq!((device.read(0, 0x14, 1), device.read(0, 0x1C, 2)), (0, 0));
}

#[test]
fn a_notified_chain_comes_back_with_an_interrupt() {
    use vm_memory::Memory;
    let mut machine = machine();
    let mut device = ready(&mut machine, 1 << 32);
    machine.memory.write(0x4000, b"hello");
    descriptor(&machine.memory, 2, 0x4000, 5, 1, 3);
    descriptor(&machine.memory, 3, 0x5000, 16, 2, 0);
    offer(&machine.memory, 0, 2);
    device.write(0, 0x44, 2, 0, &mut machine);
    assert_eq!(machine.memory.read_u16(DEVICE + 2), Some(1));
    assert_eq!(machine.memory.read_u64(DEVICE + 4), Some(5 << 32 | 2));
    assert_eq!(machine.memory.read_u32(0x5000), Some(u32::from_le_bytes(*b"hell")));
    assert!(device.interrupt());
    assert_eq!((device.read(0, 0x40, 1), device.interrupt()), (1, false));
}

#[test]
fn indirect_tables_and_events_work_and_messages_are_sent() {
    use vm_memory::Memory;
    let mut machine = machine();
    let mut device = ready(&mut machine, 1 << 32 | 3 << 28);
    device.config_mut().write(0x42, 2, 0x8000);
    device.write(1, 0, 4, 0xFEE0_0000, &mut machine);
    device.write(1, 8, 4, 0x41, &mut machine);
    device.write(1, 12, 4, 0, &mut machine);
    descriptor(&machine.memory, 0, 0x6000, 32, 4, 0);
    machine.memory.write(0x6000, &0x4000_u64.to_le_bytes());
    machine.memory.write(0x6008, &(8 | 1_u64 << 32 | 1 << 48).to_le_bytes());
    machine.memory.write(0x6010, &0x5000_u64.to_le_bytes());
    machine.memory.write(0x6018, &(8 | 2_u64 << 32).to_le_bytes());
    offer(&machine.memory, 0, 0);
    device.write(0, 0x44, 2, 0, &mut machine);
    assert_eq!(machine.messages, [Vector { address: 0xFEE0_0000, data: 0x41 }]);
    assert_eq!(machine.memory.read_u16(DEVICE + 4 + 64), Some(1), "tell me of the next one");
    offer(&machine.memory, 1, 0);
    device.write(0, 0x44, 2, 0, &mut machine);
    assert_eq!(machine.messages.len(), 1, "the driver wanted to be told of the first one only");
}

#[test]
fn messages_that_wait_are_all_sent_when_the_guest_lets_them() {
    let mut machine = machine();
    let mut device = ready(&mut machine, 1 << 32);
    device.config_mut().write(0x42, 2, 0xC000);
    for (offset, value) in [(0, 0xFEE0_0000), (8, 0x41), (12, 0), (16, 0xFEE0_0000), (24, 0x42), (28, 0)] {
        device.write(1, offset, 4, value, &mut machine);
    }
    device.write(0, 0x10, 2, 1, &mut machine);
    descriptor(&machine.memory, 0, 0x5000, 16, 2, 0);
    offer(&machine.memory, 0, 0);
    device.write(0, 0x44, 2, 0, &mut machine);
    // And the message that the device needs a reset.
    offer(&machine.memory, 1, 99);
    device.write(0, 0x44, 2, 0, &mut machine);
    assert_eq!(machine.messages, []);
    device.config_mut().write(0x42, 2, 0x8000);
    device.poll(&mut machine);
    assert_eq!(machine.messages.iter().map(|message| message.data).collect::<Vec<_>>(), [0x41, 0x42]);
}

#[test]
fn a_driver_that_breaks_the_rules_gets_a_device_that_needs_a_reset() {
    let mut machine = machine();
    for (address, next) in [(0x4000, 0), (0x10_0000, 1)] {
        let mut device = ready(&mut machine, 1 << 32);
        descriptor(&machine.memory, 0, address, 5, 1, next);
        offer(&machine.memory, 0, 0);
        device.write(0, 0x44, 2, 0, &mut machine);
        assert_eq!(device.read(0, 0x14, 1) & 0x40, 0x40, "a loop, or memory that is not there");
    }
}

proptest! {
    #[test]
    fn no_driver_makes_it_panic_or_hang(
        writes in proptest::collection::vec((0..0x110_u64, 0..3_u8, prop_oneof![0..16_u32, 0x1000..0x4000_u32, any::<u32>()]), 0..120),
        memory in proptest::collection::vec((0x1000..0x3100_u64, any::<u64>()), 0..60), known: bool,
    ) {
        use vm_memory::Memory;
        let mut machine = machine();
        let mut device = ready(&mut machine, if known { 1 << 32 | 3 << 28 } else { 1 << 32 });
        for (at, value) in memory {
            machine.memory.write(at, &(value & 0x0003_0007_0000_7FFF).to_le_bytes());
        }
        for (offset, size, value) in writes {
            device.write(usize::from(offset & 7 == 7), offset, 1 << size, value, &mut machine);
            device.write(0, 0x44, 2, 0, &mut machine);
            let _ = (device.read(0, offset, 1 << size), device.read(1, offset, 4), device.interrupt());
        }
    }
}
