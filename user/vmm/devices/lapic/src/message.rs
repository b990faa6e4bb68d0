//! Interrupt messages: from a command register, from the I/O APIC, or from a device.
//!
//! Invariants: any bits are a message or none.
//! Concurrency: plain values.
//! Source: Intel SDM volume 3, "Interrupt Command Register", "Message Signalled Interrupts".

/// How a message is delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// An interrupt with the message's vector.
    Fixed,
    /// The same, to one of several processors.
    Lowest,
    /// A non-maskable interrupt.
    Nmi,
    /// Resets the processor, which then waits for a start-up message.
    Init,
    /// Starts a processor that waits for it, at the page that is the vector.
    Startup,
    /// An interrupt whose vector the 8259A knows.
    External,
}

/// Whom a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// The processor with this number; `u32::MAX` is all.
    Physical(u32),
    /// Those that a logical number names, in xAPIC mode of 8 bits.
    Logical(u32),
    /// The sender, by its number.
    Own(u32),
    /// All but the sender.
    Others(u32),
}

/// A message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// How.
    pub delivery: Delivery,
    /// Vector, or page of a start-up message.
    pub vector: u8,
    /// Whether the interrupt is level-triggered.
    pub level: bool,
    /// For whom.
    pub destination: Destination,
}

impl Message {
    /// The message that a command register describes; `None` if it is none.
    #[must_use]
    pub fn from_command(command: u64, x2apic: bool, own: u32) -> Option<Self> {
        let delivery = delivery(command as u32 >> 8)?;
        let level = command & 1 << 15 != 0;
        // The end of a level-triggered INIT is for processors long gone.
        if delivery == Delivery::Init && level && command & 1 << 14 == 0 {
            return None;
        }
        let destination = match command >> 18 & 3 {
            1 => Destination::Own(own),
            2 => Destination::Physical(u32::MAX),
            3 => Destination::Others(own),
            _ => destination((command >> 32) as u32, x2apic, command & 1 << 11 != 0),
        };
        Some(Self { delivery, vector: command as u8, level: false, destination })
    }

    /// The message that a device writes to `address`; `None` if that is not one.
    #[must_use]
    pub fn from_device(address: u64, data: u32) -> Option<Self> {
        if address >> 20 != 0xFEE {
            return None;
        }
        // Bits 11:5 extend the destination, as hypervisors offer it to guests with many processors.
        let number = (address >> 12 & 0xFF | (address >> 5 & 0x7F) << 8) as u32;
        let logical = address & 1 << 2 != 0;
        let destination = destination(if number == 0xFF { 0xFF00_0000 } else { number << 24 }, false, logical);
        Some(Self { delivery: delivery(data >> 8)?, vector: data as u8, level: data & 1 << 15 != 0, destination })
    }
}

fn delivery(mode: u32) -> Option<Delivery> {
    Some(match mode & 7 {
        0 => Delivery::Fixed,
        1 => Delivery::Lowest,
        4 => Delivery::Nmi,
        5 => Delivery::Init,
        6 => Delivery::Startup,
        7 => Delivery::External,
        _ => return None,
    })
}

/// From the upper half of a command register.
const fn destination(high: u32, x2apic: bool, logical: bool) -> Destination {
    let number = match (x2apic, high >> 24) {
        (true, _) => high,
        (false, 0xFF) if !logical => u32::MAX,
        (false, number) => number,
    };
    if logical { Destination::Logical(number) } else { Destination::Physical(number) }
}
