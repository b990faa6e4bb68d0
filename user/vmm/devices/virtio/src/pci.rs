//! The transport: configuration registers of a virtio device on the PCI bus.
//!
//! Window 0 holds all registers, as ports; window 1 the table of interrupt messages.
//! Invariants: queues are used only between "driver is ready" and a reset.
//! Concurrency: plain value.
//! Source: VIRTIO 1.2, §4.1 "Virtio Over PCI Bus".

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use vm_pci::{Bus, Config, Device, Identity, MsiX, Window};

use crate::queue::MAX_SIZE;
use crate::{Broken, Context, Model, Queue};

const VENDOR: u16 = 0x1AF4;
const FIRST_DEVICE: u16 = 0x1040;
/// Number of the capabilities that say where registers are.
const VENDOR_CAPABILITY: u8 = 9;

/// Window 0.
const PORTS: u16 = 0x100;
const COMMON: u64 = 0;
const COMMON_SIZE: u64 = 0x38;
const INTERRUPT: u64 = 0x40;
const NOTIFY: u64 = 0x44;
const SPECIFIC: u64 = 0x80;
/// Window 1.
const TABLE: u32 = 0x1000;

const VERSION_1: u64 = 1 << 32;
const INDIRECT: u64 = 1 << 28;
const BY_EVENT: u64 = 1 << 29;

const FEATURES_OK: u8 = 8;
const DRIVER_OK: u8 = 4;
const NEEDS_RESET: u8 = 0x40;
const NO_VECTOR: u16 = 0xFFFF;
/// Causes: queue, configuration.
const QUEUE_CAUSE: u8 = 1;
const CONFIG_CAUSE: u8 = 2;

/// A device and its registers.
pub struct Pci<M> {
    config: Config,
    messages: Option<MsiX>,
    model: M,
    queues: Vec<Queue>,
    offered: u64,
    accepted: u64,
    offered_half: u32,
    accepted_half: u32,
    selected: u16,
    config_vector: u16,
    status: u8,
    cause: u8,
}

impl<M: Model> Pci<M> {
    /// The device, its ports at `ports` and its table of messages at `table` until the guest moves them.
    #[must_use]
    pub fn new(model: M, ports: u16, table: u32) -> Self {
        let kind = model.kind();
        let identity = Identity {
            device: (VENDOR, FIRST_DEVICE + kind),
            subsystem: (VENDOR, 0x40 + kind),
            class: model.class(),
            revision: 1,
            pin: 1,
        };
        let mut config = Config::new(&identity);
        config.add_window(0, Window::Ports(PORTS), ports.into());
        config.add_window(1, Window::Memory(TABLE), table);
        let queues = model.queues();
        let messages = MsiX::new(&mut config, queues as u16 + 1, 1, TABLE);
        let specific = model.config().len() as u32;
        for (part, offset, length) in [
            (1, COMMON, COMMON_SIZE as u32),
            (3, INTERRUPT, 1),
            (2, NOTIFY, 2 * queues as u32),
            (4, SPECIFIC, specific),
        ] {
            if length == 0 {
                continue;
            }
            // Length of the capability, part, window 0, padding, offset, length; for notifications the multiplier.
            let mut body = vec![if part == 2 { 20 } else { 16 }, part, 0, 0, 0, 0];
            body.extend_from_slice(&(offset as u32).to_le_bytes());
            body.extend_from_slice(&length.to_le_bytes());
            if part == 2 {
                body.extend_from_slice(&2_u32.to_le_bytes());
            }
            config.add_capability(VENDOR_CAPABILITY, &body, &[]);
        }
        let offered = model.features() | VERSION_1 | INDIRECT | BY_EVENT;
        Self {
            config,
            messages,
            model,
            queues: vec![Queue::default(); queues],
            offered,
            accepted: 0,
            offered_half: 0,
            accepted_half: 0,
            selected: 0,
            config_vector: NO_VECTOR,
            status: 0,
            cause: 0,
        }
    }

    /// The same in a box, as a bus takes it.
    #[must_use]
    pub fn boxed(model: M, ports: u16, table: u32) -> Box<dyn Device>
    where
        M: 'static,
    {
        Box::new(Self::new(model, ports, table))
    }

    fn reset(&mut self) {
        self.queues.iter_mut().for_each(|queue| *queue = Queue::default());
        (self.accepted, self.status, self.cause, self.config_vector) = (0, 0, 0, NO_VECTOR);
    }

    fn queue(&mut self) -> Option<&mut Queue> {
        self.queues.get_mut(usize::from(self.selected))
    }

    fn common(&mut self, offset: u64) -> u64 {
        let half = |features: u64, half: u32| if half > 1 { 0 } else { features >> (32 * half) & 0xFFFF_FFFF };
        let (selected, count) = (self.selected, self.queues.len() as u64);
        match offset {
            0x00 => self.offered_half.into(),
            0x04 => half(self.offered, self.offered_half),
            0x08 => self.accepted_half.into(),
            0x0C => half(self.accepted, self.accepted_half),
            0x10 => self.config_vector.into(),
            0x12 => count,
            0x14 => self.status.into(),
            0x16 => selected.into(),
            0x1E => selected.into(),
            _ => {
                let Some(queue) = self.queue() else { return 0 };
                match offset {
                    0x18 => queue.size.into(),
                    0x1A => queue.vector.into(),
                    0x1C => queue.ready.into(),
                    0x20 => queue.descriptors & 0xFFFF_FFFF,
                    0x24 => queue.descriptors >> 32,
                    0x28 => queue.driver & 0xFFFF_FFFF,
                    0x2C => queue.driver >> 32,
                    0x30 => queue.device & 0xFFFF_FFFF,
                    0x34 => queue.device >> 32,
                    _ => 0,
                }
            }
        }
    }

    fn set_common(&mut self, offset: u64, value: u32) {
        let vectors = self.queues.len() as u16 + 1;
        let vector = if (value as u16) < vectors { value as u16 } else { NO_VECTOR };
        match offset {
            0x00 => self.offered_half = value,
            0x08 => self.accepted_half = value,
            0x0C if self.accepted_half < 2 && self.status & FEATURES_OK == 0 => {
                let shift = 32 * self.accepted_half;
                self.accepted = self.accepted & !(0xFFFF_FFFF << shift) | u64::from(value) << shift;
            }
            0x10 => self.config_vector = vector,
            0x14 => self.set_status(value as u8),
            0x16 => self.selected = value as u16,
            _ => {
                let by_event = self.accepted & BY_EVENT != 0;
                let Some(queue) = self.queue().filter(|queue| !queue.ready || offset == 0x1A) else { return };
                let (low, high) = (u64::from(value), u64::from(value) << 32);
                match offset {
                    0x18 if (value as u16).is_power_of_two() && value as u16 <= MAX_SIZE => queue.size = value as u16,
                    0x1A => queue.vector = vector,
                    0x1C => (queue.ready, queue.by_event) = (value & 1 != 0, by_event),
                    0x20 => queue.descriptors = queue.descriptors >> 32 << 32 | low,
                    0x24 => queue.descriptors = queue.descriptors & 0xFFFF_FFFF | high,
                    0x28 => queue.driver = queue.driver >> 32 << 32 | low,
                    0x2C => queue.driver = queue.driver & 0xFFFF_FFFF | high,
                    0x30 => queue.device = queue.device >> 32 << 32 | low,
                    0x34 => queue.device = queue.device & 0xFFFF_FFFF | high,
                    _ => {}
                }
            }
        }
    }

    fn set_status(&mut self, value: u8) {
        if value == 0 {
            return self.reset();
        }
        let mut value = value | self.status & NEEDS_RESET;
        if value & FEATURES_OK != 0 && self.status & FEATURES_OK == 0 {
            let possible = self.accepted & !self.offered == 0 && self.accepted & VERSION_1 != 0;
            if possible {
                self.model.accept(self.accepted);
            } else {
                value &= !FEATURES_OK;
            }
        }
        self.status = value;
    }

    /// Lets the model work, then tells the driver.
    fn work(&mut self, number: Option<usize>, bus: &mut dyn Bus) {
        if self.status & DRIVER_OK == 0 || self.status & NEEDS_RESET != 0 {
            return;
        }
        let outcome = {
            let outside: &dyn Bus = bus;
            let mut print = |bytes: &[u8]| outside.print(bytes);
            let mut context = Context { memory: outside.memory(), print: &mut print };
            match number {
                Some(number) if number >= self.queues.len() => Ok(()),
                Some(number) => self.model.serve(number, &mut self.queues, &mut context),
                None => self.model.poll(&mut self.queues, &mut context),
            }
        };
        if outcome == Err(Broken) {
            self.status |= NEEDS_RESET;
            self.cause |= CONFIG_CAUSE;
            self.send(self.config_vector, bus);
            return;
        }
        for index in 0..self.queues.len() {
            let Some(queue) = self.queues.get_mut(index) else { continue };
            if queue.ready && queue.wants_interrupt(bus.memory()) {
                let vector = queue.vector;
                self.cause |= QUEUE_CAUSE;
                self.send(vector, bus);
            }
        }
    }

    fn send(&mut self, vector: u16, bus: &mut dyn Bus) {
        if let Some(messages) = &mut self.messages
            && let Some(message) = messages.signal(&self.config, vector)
        {
            bus.signal(message);
        }
    }
}

impl<M: Model> Device for Pci<M> {
    fn config(&self) -> &Config {
        &self.config
    }

    fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    fn reset(&mut self) {
        Self::reset(self);
        self.config.reset();
        if let Some(messages) = &mut self.messages {
            messages.reset();
        }
        (self.offered_half, self.accepted_half, self.selected) = (0, 0, 0);
    }

    fn read(&mut self, window: usize, offset: u64, size: u8) -> u32 {
        if window == 1 {
            return self.messages.as_ref().map_or(0, |messages| messages.read(offset & !3, u64::from(TABLE) / 2));
        }
        let value = match offset {
            COMMON..COMMON_SIZE => self.common(offset),
            INTERRUPT => core::mem::take(&mut self.cause).into(),
            SPECIFIC.. => {
                let byte = |at: u64| self.model.config().get((offset - SPECIFIC + at) as usize).copied().unwrap_or(0);
                (0..u64::from(size.min(4))).fold(0, |value, at| value | u64::from(byte(at)) << (8 * at))
            }
            _ => 0,
        };
        value as u32
    }

    fn write(&mut self, window: usize, offset: u64, _size: u8, value: u32, bus: &mut dyn Bus) {
        if window == 1 {
            if let Some(messages) = &mut self.messages {
                messages.write(offset, value);
            }
            return self.poll(bus);
        }
        match offset {
            COMMON..COMMON_SIZE => self.set_common(offset, value),
            NOTIFY..SPECIFIC => self.work(Some(((offset - NOTIFY) / 2) as usize), bus),
            _ => {}
        }
    }

    fn poll(&mut self, bus: &mut dyn Bus) {
        // One by one: what stays masked keeps waiting.
        while let Some(message) = self.messages.as_mut().and_then(|messages| messages.unmasked(&self.config)) {
            bus.signal(message);
        }
        self.work(None, bus);
    }

    fn input(&mut self, byte: u8) -> bool {
        self.model.input(byte)
    }

    fn interrupt(&mut self) -> bool {
        let by_message = self.messages.as_ref().is_some_and(|messages| messages.is_enabled(&self.config));
        self.cause != 0 && !by_message
    }
}
