//! Devices that raise interrupts, for the program that waits for them: interval timer, serial line, random numbers.
//!
//! Purpose: make a device want something at a known moment, in as few steps as it takes.
//! Invariants: a device writes only into memory that was taken for it.
//! Concurrency: one thread drives the devices.
//! Source: Intel 8254 data sheet; PC16550D data sheet; PCI local bus 3.0, §6.1, §6.8.2; virtio 1.1, §2.6 and §4.1.
use crate::raw::{word, word32};
use abi::item::ItemFlags;
use abi::rights::MemoryRights;
use abi::{Crd, Selector, Status, TypedItem};
use core::sync::atomic::Ordering::SeqCst;
use rt::hypercall;
use rt::ports::IoPorts;

/// Takes 2^`order` pages of the hypervisor's space from physical address `phys` on, to be seen at `virt`.
pub fn take_memory(phys: u64, virt: u64, order: u32) -> u64 {
    let rights = MemoryRights::READ | MemoryRights::WRITE;
    take(Crd::memory(phys >> 12, order, rights), Crd::memory(virt >> 12, order, rights))
}

/// Takes what `from` names in the hypervisor's space to where `to` says; both of the same size.
pub fn take(from: Option<Crd>, to: Option<Crd>) -> u64 {
    let (Some(from), Some(to)) = (from, to) else { return u64::from(Status::BadParameter.number()) };
    let item = TypedItem::delegate(from, ItemFlags::HYPERVISOR, 0);
    u64::from(hypercall::delegate(Selector::ROOT_DOMAIN, to, Selector::ROOT_DOMAIN, &[item]).number())
}

/// The interval timer: stops its first channel.
pub fn stop_timer(ports: IoPorts) {
    ports.port8(0x43).write(0x30);
}

/// Has the interval timer raise its interrupt once, after `count` of its ticks (1 193 182 a second).
pub fn fire_timer(ports: IoPorts, count: u16) {
    stop_timer(ports);
    ports.port8(0x40).write(count as u8);
    ports.port8(0x40).write((count >> 8) as u8);
}

/// Lets the first serial device raise an interrupt while it can take a byte, or not any more.
pub fn serial_interrupt(ports: IoPorts, on: bool) {
    // Without the second output the line to the interrupt controller is cut.
    ports.port8(0x3FC).write(0x0B);
    ports.port8(0x3F9).write(if on { 2 } else { 0 });
}

/// Has the serial device raise its interrupt once, before this returns; what it wants is withdrawn.
pub fn fire_serial(ports: IoPorts) {
    serial_interrupt(ports, true);
    let _ = serial_reason(ports);
    serial_interrupt(ports, false);
}

/// What the serial device says it wants; asking is the acknowledgement.
pub fn serial_reason(ports: IoPorts) -> u8 {
    ports.port8(0x3FA).read() & 7
}

/// A PCI function of bus 0: reads a word of its configuration.
#[must_use]
pub fn configuration(ports: IoPorts, slot: u32, offset: u32) -> u32 {
    ports.port32(0xCF8).write(1 << 31 | slot << 11 | offset & 0xFC);
    ports.port32(0xCFC).read()
}

fn configure(ports: IoPorts, slot: u32, offset: u32, value: u32) {
    ports.port32(0xCF8).write(1 << 31 | slot << 11 | offset & 0xFC);
    ports.port32(0xCFC).write(value);
}

/// A virtio device for random numbers, in its old form, with a queue of its own.
#[derive(Debug)]
pub struct RandomNumbers {
    ports: IoPorts,
    /// Its number on bus 0.
    pub slot: u32,
    base: u16,
    memory: u64,
    size: u64,
    requests: u64,
}

/// Vendor and device.
const ID: u32 = 0x1005_1AF4;
/// Registers.
const QUEUE_PAGE: u16 = 8;
const QUEUE_SIZE: u16 = 12;
const NOTIFY: u16 = 16;
const STATE: u16 = 18;
const REASON: u16 = 19;
const QUEUE_VECTOR: u16 = 22;
/// Of a PCI function.
const MESSAGES: u32 = 0x11;

impl RandomNumbers {
    /// Finds the device and starts it, with four pages at physical address `phys` that the program sees at `memory`.
    #[must_use]
    pub fn find(ports: IoPorts, phys: u64, memory: u64) -> Option<Self> {
        let slot = (0..32).find(|&slot| configuration(ports, slot, 0) == ID)?;
        let base = configuration(ports, slot, 0x10) as u16 & !3;
        configure(ports, slot, 4, configuration(ports, slot, 4) & 0xFFFF | 7);
        let device = Self { ports, slot, base, memory, size: 0, requests: 0 };
        Some(device.start(phys))
    }

    fn start(mut self, phys: u64) -> Self {
        let state = self.ports.port8(self.base + STATE);
        [0, 1, 3].into_iter().for_each(|step| state.write(step));
        self.ports.port32(self.base + 4).write(0);
        self.size = self.ports.port16(self.base + QUEUE_SIZE).read().into();
        self.ports.port32(self.base + QUEUE_PAGE).write((phys >> 12) as u32);
        // One descriptor: eight bytes, for the device to write.
        word(self.memory, 0).store(phys + 0x3000, SeqCst);
        word(self.memory, 1).store(8 | 2 << 32, SeqCst);
        state.write(7);
        self
    }

    /// Asks for a random number; the device raises an interrupt when it is there.
    pub fn ask(&mut self) {
        self.requests += 1;
        // Flags 0, the number of requests, and descriptor 0 in all places.
        word32(self.memory + self.size * 16).store((self.requests as u32 & 0xFFFF) << 16, SeqCst);
        self.ports.port16(self.base + NOTIFY).write(0);
    }

    /// Whether all requests were served.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let used = (self.memory + self.size * 16 + 6 + self.size * 2).next_multiple_of(4096);
        u64::from(word32(used).load(SeqCst) >> 16) == self.requests & 0xFFFF
    }

    /// Why it has raised an interrupt; asking withdraws it.
    #[must_use]
    pub fn reason(&self) -> u8 {
        self.ports.port8(self.base + REASON).read()
    }

    /// Has it send messages instead: their table is to be seen at `virt`. Returns the status of that, and the vector that
    /// the queue has then; 0 is the first.
    pub fn use_messages(&self, virt: u64) -> Option<(u64, u16)> {
        let (ports, slot) = (self.ports, self.slot);
        let mut at = configuration(ports, slot, 0x34) & 0xFC;
        while at != 0 && configuration(ports, slot, at) & 0xFF != MESSAGES {
            at = configuration(ports, slot, at) >> 8 & 0xFC;
        }
        let table = configuration(ports, slot, at + 4);
        let region = configuration(ports, slot, 0x10 + 4 * (table & 7)) & !0xFFF;
        let taken = take_memory(region.into(), virt, 0);
        configure(ports, slot, at, configuration(ports, slot, at) | 1 << 31);
        let vector = ports.port16(self.base + QUEUE_VECTOR);
        vector.write(0);
        (at != 0).then(|| (taken, vector.read()))
    }
}
