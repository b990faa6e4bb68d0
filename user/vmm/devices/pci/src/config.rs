//! The configuration space of one function: header, windows, capabilities.
//!
//! Invariants: only bits that are writable change; the list of capabilities is made once, and ends.
//! Concurrency: plain value.

extern crate alloc;

use alloc::boxed::Box;
use alloc::vec;

const SIZE: usize = 256;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const WINDOWS: usize = 0x10;
const CAPABILITIES: usize = 0x34;
const LINE: usize = 0x3C;
const FIRST_CAPABILITY: usize = 0x40;

const PORTS_ON: u16 = 1;
const MEMORY_ON: u16 = 2;
const INTERRUPT_OFF: u16 = 1 << 10;
/// Status: the interrupt line is asserted; there are capabilities.
const ASSERTED: u8 = 1 << 3;
const HAS_CAPABILITIES: u8 = 1 << 4;

/// What a function says it is.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Vendor and device.
    pub device: (u16, u16),
    /// Vendor and device of the subsystem.
    pub subsystem: (u16, u16),
    /// Base class, subclass, programming interface.
    pub class: (u8, u8, u8),
    /// Revision.
    pub revision: u8,
    /// Interrupt pin: 1 for INTA, 0 for none.
    pub pin: u8,
}

/// A window of registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// In port space: bytes.
    Ports(u16),
    /// In the first 4 GiB of memory: bytes.
    Memory(u32),
}

impl Window {
    const fn size(self) -> u32 {
        match self {
            Self::Ports(size) => size as u32,
            Self::Memory(size) => size,
        }
    }

    const fn kind(self) -> u32 {
        match self {
            Self::Ports(_) => 1,
            Self::Memory(_) => 0,
        }
    }
}

/// The space.
#[derive(Debug)]
pub struct Config {
    bytes: Box<[u8]>,
    /// The same as it was before the guest first wrote.
    before: Option<Box<[u8]>>,
    writable: Box<[u8]>,
    windows: [Option<Window>; 6],
    /// Where the next capability goes, and the byte that points to it.
    end: usize,
    link: usize,
}

impl Config {
    /// A function without windows and capabilities.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        let mut config = Self {
            bytes: vec![0; SIZE].into_boxed_slice(),
            before: None,
            writable: vec![0; SIZE].into_boxed_slice(),
            windows: [None; 6],
            end: FIRST_CAPABILITY,
            link: CAPABILITIES,
        };
        let Identity { device, subsystem, class, revision, pin } = *identity;
        config.put(0x00, &device.0.to_le_bytes());
        config.put(0x02, &device.1.to_le_bytes());
        config.put(0x08, &[revision, class.2, class.1, class.0]);
        config.put(0x2C, &subsystem.0.to_le_bytes());
        config.put(0x2E, &subsystem.1.to_le_bytes());
        config.put(LINE + 1, &[pin]);
        config.allow(COMMAND, &(PORTS_ON | MEMORY_ON | 4 | INTERRUPT_OFF).to_le_bytes());
        config.allow(LINE, &[0xFF]);
        config
    }

    /// Makes window `number`, 0 to 5, of a size that is a power of two, at `address` until the guest moves it.
    pub fn add_window(&mut self, number: usize, window: Window, address: u32) {
        if let Some(slot) = self.windows.get_mut(number) {
            *slot = Some(window);
            let at = WINDOWS + 4 * number;
            let free = !(window.size().max(16) - 1);
            let free = if window.kind() == 1 { free & 0xFFFF } else { free };
            self.put(at, &(address & free | window.kind()).to_le_bytes());
            self.allow(at, &free.to_le_bytes());
        }
    }

    /// Appends a capability: its number, what follows the link, and which bits of that can be written (as many bytes or
    /// fewer). Its offset; `None` if there is no room.
    pub fn add_capability(&mut self, number: u8, body: &[u8], writable: &[u8]) -> Option<usize> {
        let at = self.end;
        let next = at + (2 + body.len()).next_multiple_of(4);
        if next > SIZE {
            return None;
        }
        self.put(at, &[number, 0]);
        self.put(at + 2, body);
        self.allow(at + 2, writable);
        self.put(self.link, &[at as u8]);
        self.bytes[STATUS] |= HAS_CAPABILITIES;
        (self.link, self.end) = (at + 1, next);
        Some(at)
    }

    /// Reads `size` bytes (1, 2 or 4) at `offset`; what is not there is 0.
    #[must_use]
    pub fn read(&self, offset: usize, size: usize) -> u32 {
        let byte = |index: usize| u32::from(self.bytes.get(offset + index).copied().unwrap_or(0));
        (0..size.min(4)).fold(0, |value, index| value | byte(index) << (8 * index))
    }

    /// As it was before the guest first wrote.
    pub fn reset(&mut self) {
        if let Some(before) = self.before.take() {
            self.bytes = before;
        }
    }

    /// Writes `size` bytes at `offset`.
    pub fn write(&mut self, offset: usize, size: usize, value: u32) {
        self.before.get_or_insert_with(|| self.bytes.clone());
        for (index, new) in value.to_le_bytes().into_iter().enumerate().take(size) {
            let at = offset + index;
            if let (Some(byte), Some(mask)) = (self.bytes.get_mut(at), self.writable.get(at)) {
                *byte = *byte & !mask | new & mask;
            }
        }
    }

    /// Where window `number` lies, if the guest has switched its kind on: what kind, and its address.
    #[must_use]
    pub fn window(&self, number: usize) -> Option<(Window, u64)> {
        let window = (*self.windows.get(number)?)?;
        let on = match window {
            Window::Ports(_) => PORTS_ON,
            Window::Memory(_) => MEMORY_ON,
        };
        let address = self.read(WINDOWS + 4 * number, 4) & !(window.size().max(16) - 1);
        (self.command() & on != 0).then_some((window, address.into()))
    }

    /// The window that contains `address`, of ports or of memory, and the offset there.
    #[must_use]
    pub fn find(&self, ports: bool, address: u64) -> Option<(usize, u64)> {
        (0..self.windows.len()).find_map(|number| {
            let (window, start) = self.window(number)?;
            let inside = address.checked_sub(start).filter(|offset| *offset < window.size().into())?;
            (ports == (window.kind() == 1)).then_some((number, inside))
        })
    }

    /// Shows the level of the interrupt line; whether it is to be asserted.
    pub fn show_interrupt(&mut self, asserted: bool) -> bool {
        self.bytes[STATUS] = self.bytes[STATUS] & !ASSERTED | if asserted { ASSERTED } else { 0 };
        asserted && self.command() & INTERRUPT_OFF == 0
    }

    /// Whether the device may access memory by itself.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.command() & 4 != 0
    }

    fn command(&self) -> u16 {
        self.read(COMMAND, 2) as u16
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (slot, byte) in self.bytes.iter_mut().skip(offset).zip(bytes) {
            *slot = *byte;
        }
    }

    fn allow(&mut self, offset: usize, bits: &[u8]) {
        for (slot, bits) in self.writable.iter_mut().skip(offset).zip(bits) {
            *slot = *bits;
        }
    }
}
