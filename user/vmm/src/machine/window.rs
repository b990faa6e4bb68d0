//! Accesses to memory that is none: the local APIC's page, and the windows of devices.
//!
//! Invariants: a processor's own local APIC needs no lock.
//! Concurrency: devices are under the machine's lock.

use vm_memory::Memory;

use super::{Host, Machine};
use crate::cpu::{Cpu, Private};
use crate::instruction::Device;

/// A place in memory where a device is.
pub(super) struct Window<'a, M, H> {
    pub machine: &'a Machine<M, H>,
    pub this: &'a Cpu,
    pub private: &'a mut Private,
    pub address: u64,
}

impl<M, H> Window<'_, M, H> {
    /// Index of the local APIC's register, if it is one.
    fn register(&self) -> Option<u32> {
        let offset = self.address.checked_sub(vm_lapic::BASE_ADDRESS).filter(|offset| *offset < 0x1000)?;
        let there = self.private.lapic.enabled() && !self.private.lapic.x2apic();
        there.then_some(offset as u32 >> 4)
    }
}

impl<M: Memory, H: Host> Device for Window<'_, M, H> {
    fn read(&mut self, size: u8) -> u64 {
        match self.register() {
            Some(index) => self.private.lapic.read(&self.this.shared, index, self.machine.host.now()).into(),
            None => {
                let access = self.machine.access();
                self.machine.devices.lock().memory_read(self.address, size, &access)
            }
        }
    }

    fn write(&mut self, size: u8, value: u64) {
        match self.register() {
            Some(index) => {
                let now = self.machine.host.now();
                let effect = self.private.lapic.write(&self.this.shared, index, value as u32, now);
                self.machine.effect(effect);
            }
            None => {
                let access = self.machine.access();
                let due = {
                    let mut devices = self.machine.devices.lock();
                    devices.memory_write(self.address, size, value, &access);
                    devices.deadline(access.now)
                };
                // A pin that was unmasked lets a timer be heard.
                if let Some(due) = due {
                    self.machine.host.set_device_timer(self.machine.ticks(due));
                }
            }
        }
    }

    fn address(&self) -> u64 {
        self.address
    }
}
