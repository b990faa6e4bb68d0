//! The devices behind ports and memory windows, and the lines between them and the interrupt controllers.
//!
//! Invariants: after every access the levels of all lines are what the devices say.
//! Concurrency: under one lock; messages go out through [`Sink`], which does not take it.

use alloc::boxed::Box;
use alloc::vec::Vec;

use vm_ioapic::{IoApic, PINS};
use vm_lapic::Message;
use vm_memory::Memory;
use vm_pci::{Bridge, Bus, Config, Device, HostBridge, PORTS, Place, Vector};
use vm_pic::Pics;
use vm_pit::Pit;
use vm_power::{Outcome, Power};
use vm_rtc::Rtc;
use vm_uart::Uart;

use crate::layout;

/// Where interrupts go.
pub trait Sink {
    /// Sends a message to processors.
    fn send(&self, message: Message);
    /// Prints what the guest sent to a console.
    fn print(&self, bytes: &[u8]);
    /// The 8259A pair asks the boot processor for attention, or does not any more.
    fn external(&self, pending: bool);
}

/// What the outside has to do for an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Nothing.
    None,
    /// The guest sent this byte through its serial port or its debug port.
    Print(u8),
    /// The guest ends.
    End(Outcome),
}

/// The devices.
pub struct Devices {
    pic: Pics,
    ioapic: IoApic,
    pit: Pit,
    rtc: Rtc,
    /// The serial port.
    pub uart: Uart,
    /// Power management.
    pub power: Power,
    bridge: Bridge,
    functions: Vec<Box<dyn Device>>,
    /// Levels of the lines at the last look.
    lines: u32,
    external: bool,
}

struct PciBus<'a, M> {
    memory: &'a M,
    sink: &'a dyn Sink,
}

impl<M: Memory> Bus for PciBus<'_, M> {
    fn memory(&self) -> &dyn Memory {
        self.memory
    }

    fn signal(&mut self, message: Vector) {
        if let Some(message) = Message::from_device(message.address, message.data) {
            self.sink.send(message);
        }
    }

    fn print(&self, bytes: &[u8]) {
        self.sink.print(bytes);
    }
}

/// What an access needs besides the devices.
pub struct Access<'a, M> {
    /// The guest's memory.
    pub memory: &'a M,
    /// Where interrupts go.
    pub sink: &'a dyn Sink,
    /// Nanoseconds since the machine started.
    pub now: u64,
}

impl Devices {
    /// Devices whose clock starts at `seconds` since 1970, with these besides the host bridge on the PCI bus.
    #[must_use]
    pub fn new(seconds: u64, others: Vec<Box<dyn Device>>) -> Self {
        let mut functions: Vec<Box<dyn Device>> = Vec::with_capacity(others.len() + 1);
        functions.push(Box::new(HostBridge::default()));
        functions.extend(others);
        Self {
            pic: Pics::default(),
            ioapic: IoApic::default(),
            pit: Pit::default(),
            rtc: Rtc::new(seconds),
            uart: Uart::default(),
            power: Power::default(),
            bridge: Bridge::default(),
            functions,
            lines: 0,
            external: false,
        }
    }

    /// As at power-on, but for what a battery or a disk keeps.
    pub fn reset(&mut self) {
        (self.pic, self.ioapic, self.pit) = (Pics::default(), IoApic::default(), Pit::default());
        (self.uart, self.power, self.bridge) = (Uart::default(), Power::default(), Bridge::default());
        self.rtc.reset();
        self.functions.iter_mut().for_each(|function| function.reset());
        (self.lines, self.external) = (0, false);
    }

    /// Seconds since 1970 at the start of the machine.
    #[must_use]
    pub const fn date(&self) -> u64 {
        self.rtc.epoch()
    }

    /// Reads `size` bytes (1, 2 or 4) at `port`.
    pub fn port_read<M: Memory>(&mut self, port: u16, size: u8, access: &Access<'_, M>) -> u32 {
        let now = access.now;
        let value = match port {
            0x3F8..=0x3FF => self.uart.read(port - layout::UART).into(),
            0x20 | 0x21 | 0xA0 | 0xA1 | 0x4D0 | 0x4D1 => self.pic.read(port).into(),
            0x40..=0x43 | 0x61 => self.pit.read(port, now).into(),
            0x70 | 0x71 => self.rtc.read(port, now).into(),
            port if Power::has(port) => self.power.read(port, size, now),
            PORTS if size == 4 => self.bridge.address(),
            0xCFC..=0xCFF => match self.bridge.place(port) {
                Some(place) => self.config_read(place, size),
                None => u32::MAX,
            },
            _ => self.window_read(true, port.into(), size),
        };
        self.update(access);
        value
    }

    /// Writes `size` bytes at `port`.
    pub fn port_write<M: Memory>(&mut self, port: u16, size: u8, value: u32, access: &Access<'_, M>) -> Event {
        let (now, byte) = (access.now, value as u8);
        let mut event = Event::None;
        match port {
            0x3F8..=0x3FF => {
                if let Some(sent) = self.uart.write(port - layout::UART, byte) {
                    event = Event::Print(sent);
                }
            }
            0x20 | 0x21 | 0xA0 | 0xA1 | 0x4D0 | 0x4D1 => self.pic.write(port, byte),
            0x40..=0x43 | 0x61 => self.pit.write(port, byte, now),
            0x70 | 0x71 => self.rtc.write(port, byte, now),
            port if Power::has(port) => {
                event = match self.power.write(port, size, value) {
                    Some(Outcome::Print(byte)) => Event::Print(byte),
                    Some(outcome) => Event::End(outcome),
                    None => Event::None,
                }
            }
            PORTS if size == 4 => self.bridge.set_address(value),
            0xCFC..=0xCFF => {
                if let Some(place) = self.bridge.place(port) {
                    self.config_write(place, size, value, access);
                }
            }
            _ => self.window_write(true, port.into(), size, value, access),
        }
        self.update(access);
        event
    }

    /// Reads `size` bytes (1, 2, 4 or 8) of memory that is none.
    pub fn memory_read<M: Memory>(&mut self, address: u64, size: u8, access: &Access<'_, M>) -> u64 {
        if size == 8 {
            let low = self.memory_read(address, 4, access);
            return low | self.memory_read(address.wrapping_add(4), 4, access) << 32;
        }
        let value = match address {
            _ if address & !0xFFF == vm_ioapic::ADDRESS => self.ioapic.read(address & 0xFF),
            layout::PCI_CONFIG.. if address - layout::PCI_CONFIG < vm_pci::WINDOW_SIZE => {
                Place::in_window(address - layout::PCI_CONFIG).map_or(u32::MAX, |place| self.config_read(place, size))
            }
            _ => self.window_read(false, address, size),
        };
        self.update(access);
        // What is not there is all ones, as many as were asked for.
        (value & u32::MAX >> (32 - 8 * u32::from(size.clamp(1, 4)))).into()
    }

    /// Writes them.
    pub fn memory_write<M: Memory>(&mut self, address: u64, size: u8, value: u64, access: &Access<'_, M>) {
        if size == 8 {
            self.memory_write(address, 4, value & 0xFFFF_FFFF, access);
            return self.memory_write(address.wrapping_add(4), 4, value >> 32, access);
        }
        let value = value as u32;
        match address {
            _ if address & !0xFFF == vm_ioapic::ADDRESS => {
                let offset = address & 0xFF;
                match IoApic::is_end(offset, value) {
                    Some(vector) => self.end_of_level(vector, access),
                    None => {
                        if let Some(message) = self.ioapic.write(offset, value) {
                            access.sink.send(message);
                        }
                    }
                }
            }
            layout::PCI_CONFIG.. if address - layout::PCI_CONFIG < vm_pci::WINDOW_SIZE => {
                if let Some(place) = Place::in_window(address - layout::PCI_CONFIG) {
                    self.config_write(place, size, value, access);
                }
            }
            _ => self.window_write(false, address, size, value, access),
        }
        self.update(access);
    }

    /// A processor has dealt with a level-triggered interrupt.
    pub fn end_of_level<M: Memory>(&mut self, vector: u8, access: &Access<'_, M>) {
        for message in self.ioapic.end_of_interrupt(vector) {
            access.sink.send(message);
        }
    }

    /// The boot processor takes an interrupt of the 8259A pair; its vector.
    pub fn acknowledge<M: Memory>(&mut self, access: &Access<'_, M>) -> u8 {
        let vector = self.pic.acknowledge();
        self.update(access);
        vector
    }

    /// Somebody types: a virtio console takes the byte if there is one and `preferred`, else the serial port.
    pub fn input<M: Memory>(&mut self, byte: u8, preferred: bool, access: &Access<'_, M>) {
        if !(preferred && self.functions.iter_mut().any(|function| function.input(byte))) {
            self.uart.receive(byte);
        }
        self.poll(access);
    }

    /// The outside has something for the devices: input, or their time has come.
    pub fn poll<M: Memory>(&mut self, access: &Access<'_, M>) {
        let mut bus = PciBus { memory: access.memory, sink: access.sink };
        self.functions.iter_mut().for_each(|function| function.poll(&mut bus));
        self.update(access);
    }

    /// When [`Devices::poll`] has something to do, in nanoseconds since the machine started.
    #[must_use]
    pub fn deadline(&self, now: u64) -> Option<u64> {
        let heard = self.pic.listens(0) || !self.ioapic.is_masked(layout::TIMER_PIN.into());
        let timer = self.pit.deadline().filter(|_| heard);
        [timer, self.rtc.deadline(now), self.power.deadline(now)].into_iter().flatten().min()
    }

    fn function(&mut self, place: Place) -> Option<&mut Box<dyn Device>> {
        self.functions.get_mut(place.device)
    }

    fn config_read(&mut self, place: Place, size: u8) -> u32 {
        let read = |function: &mut Box<dyn Device>| function.config().read(place.offset.into(), size.into());
        self.function(place).map_or(u32::MAX, read)
    }

    fn config_write<M: Memory>(&mut self, place: Place, size: u8, value: u32, access: &Access<'_, M>) {
        let Some(function) = self.function(place) else { return };
        function.config_mut().write(place.offset.into(), size.into(), value);
        // Vectors may have been unmasked.
        function.poll(&mut PciBus { memory: access.memory, sink: access.sink });
    }

    fn find(&mut self, ports: bool, address: u64) -> Option<(&mut Box<dyn Device>, usize, u64)> {
        self.functions.iter_mut().find_map(|function| {
            let (window, offset) = Config::find(function.config(), ports, address)?;
            Some((function, window, offset))
        })
    }

    fn window_read(&mut self, ports: bool, address: u64, size: u8) -> u32 {
        match self.find(ports, address) {
            Some((function, window, offset)) => function.read(window, offset, size),
            None => u32::MAX,
        }
    }

    fn window_write<M: Memory>(&mut self, ports: bool, address: u64, size: u8, value: u32, access: &Access<'_, M>) {
        let mut bus = PciBus { memory: access.memory, sink: access.sink };
        if let Some((function, window, offset)) = self.find(ports, address) {
            function.write(window, offset, size, value, &mut bus);
        }
    }

    /// Brings the lines up to date.
    fn update<M: Memory>(&mut self, access: &Access<'_, M>) {
        let now = access.now;
        if self.pit.interrupt(now) {
            // A pulse: what matters is the edge.
            self.set_line(0, false, access.sink);
            self.set_line(0, true, access.sink);
        }
        self.set_line(layout::UART_INTERRUPT, self.uart.interrupt(), access.sink);
        let clock = self.rtc.interrupt(now);
        self.set_line(layout::RTC_INTERRUPT, clock, access.sink);
        let system = self.power.interrupt(now);
        self.set_line(layout::SYSTEM_INTERRUPT, system, access.sink);
        let mut shared = [false; 4];
        for (device, function) in self.functions.iter_mut().enumerate() {
            let asserted = function.interrupt();
            let asserted = function.config_mut().show_interrupt(asserted);
            if let Some(line) = shared.get_mut(device % 4) {
                *line |= asserted;
            }
        }
        for (index, asserted) in (0..).zip(shared) {
            self.set_line(layout::PCI_INTERRUPT + index, asserted, access.sink);
        }
        let external = self.pic.pending();
        if external != self.external {
            self.external = external;
            access.sink.external(external);
        }
    }

    fn set_line(&mut self, number: u8, asserted: bool, sink: &dyn Sink) {
        let bit = 1 << number;
        if (self.lines & bit != 0) == asserted {
            return;
        }
        self.lines ^= bit;
        if number < 16 {
            self.pic.set_line(number, asserted);
        }
        let pin = if number == 0 { layout::TIMER_PIN } else { number };
        if let Some(message) = self.ioapic.set_line(pin.into(), asserted) {
            sink.send(message);
        }
    }
}

const _: () = assert!(layout::PCI_INTERRUPT as usize + 4 <= PINS);
