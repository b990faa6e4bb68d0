//! Device model: the local APIC of one virtual processor, in xAPIC and in x2APIC mode.
//!
//! [`Shared`] is what others may touch: requests, and what decides whether a message is meant for this processor.
//! [`Lapic`] is the rest. Times are ticks of the time-stamp counter; the timer's clock is that counter.
//! Invariants: no write by the guest panics; a request is one bit, set by anybody, cleared by the owner.
//! Concurrency: `Shared` is lock-free; `Lapic` belongs to its processor's thread.
//! Source: Intel SDM volume 3, chapter "Advanced Programmable Interrupt Controller".
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod assist;
mod message;
mod msr;
mod shared;
#[cfg(test)]
mod tests;
mod timer;

pub use assist::{Assist, END_ASSIST};
pub use message::{Delivery, Destination, Message};
pub use msr::{APIC_BASE, BASE_ADDRESS, TSC_DEADLINE, Unknown, X2APIC_FIRST, X2APIC_LAST, is_own};
pub use shared::Shared;

use timer::Timer;

/// Version 0x14, seven entries of the local vector table.
const VERSION: u32 = 0x14 | 6 << 16;
const SOFTWARE_ENABLE: u32 = 1 << 8;
/// Bit of a local vector: masked.
const MASKED: u32 = 1 << 16;
/// Bits of a local vector that can be written, by entry from the CMCI on: CMCI, timer, thermal, performance, LINT0, LINT1, error.
const VECTOR_BITS: [u32; 7] = [0x1_07FF, 0x7_00FF, 0x1_07FF, 0x1_07FF, 0x1_A7FF, 0x1_A7FF, 0x1_00FF];
const TIMER: usize = 1;
const LINT0: usize = 4;
const LINT1: usize = 5;
/// Delivery modes of a local vector: to be asked of the 8259A, and non-maskable.
const EXTERNAL: u32 = 7 << 8;
const NON_MASKABLE: u32 = 4 << 8;
const ERROR: usize = 6;
/// Error: a vector below 16 was sent, received.
const SENT_ILLEGAL: u32 = 1 << 5;

/// Registers by their index: offset in the xAPIC page divided by 16, or distance from the first x2APIC register.
mod register {
    pub const ID: u32 = 0x02;
    pub const VERSION: u32 = 0x03;
    pub const TPR: u32 = 0x08;
    pub const PPR: u32 = 0x0A;
    pub const EOI: u32 = 0x0B;
    pub const LDR: u32 = 0x0D;
    pub const DFR: u32 = 0x0E;
    pub const SVR: u32 = 0x0F;
    pub const ISR: u32 = 0x10;
    pub const TMR: u32 = 0x18;
    pub const IRR: u32 = 0x20;
    pub const ESR: u32 = 0x28;
    pub const CMCI: u32 = 0x2F;
    pub const ICR: u32 = 0x30;
    pub const ICR_HIGH: u32 = 0x31;
    pub const LVT: u32 = 0x32;
    pub const INITIAL: u32 = 0x38;
    pub const CURRENT: u32 = 0x39;
    pub const DIVIDE: u32 = 0x3E;
    pub const SELF_IPI: u32 = 0x3F;
}

/// What a write asks of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing.
    None,
    /// A message to processors.
    Send(Message),
    /// A level-triggered interrupt with this vector has been dealt with.
    EndOfLevel(u8),
    /// The timer's deadline may have changed.
    Timer,
}

/// The local APIC's own part.
#[derive(Debug)]
pub struct Lapic {
    /// Bits 10 and 11 of the base register: x2APIC, enabled; bit 8: boot processor.
    base: u64,
    in_service: [u32; 8],
    task_priority: u32,
    spurious: u32,
    errors: u32,
    shown_errors: u32,
    command: u64,
    vectors: [u32; 7],
    timer: Timer,
    /// Where the guest may end interrupts without leaving.
    assist: Assist,
}

impl Lapic {
    /// As after reset; the first processor is the boot processor, whose firmware lets the interrupts of the 8259A pair
    /// through ("virtual wire"): a guest without a notion of local APICs has no others.
    #[must_use]
    pub fn new(boot: bool) -> Self {
        let mut vectors = [MASKED; 7];
        if boot {
            (vectors[LINT0], vectors[LINT1]) = (EXTERNAL, NON_MASKABLE);
        }
        Self {
            base: msr::BASE_ADDRESS | msr::ENABLE | if boot { msr::BOOT } else { 0 },
            in_service: [0; 8],
            task_priority: 0,
            spurious: 0xFF,
            errors: 0,
            shown_errors: 0,
            command: 0,
            vectors,
            timer: Timer::default(),
            assist: Assist::default(),
        }
    }

    /// That of a processor that is reset, with what others see of it.
    #[must_use]
    pub fn power_on(boot: bool, shared: &Shared) -> Self {
        shared.reset(false);
        while shared.take_start().is_some() {}
        Self::new(boot)
    }

    /// After an INIT: as after reset, but the mode stays.
    pub fn init(&mut self, shared: &Shared) {
        let base = self.base;
        *self = Self { base, ..Self::new(false) };
        shared.reset(self.x2apic());
    }

    /// Whether the registers are in x2APIC mode.
    #[must_use]
    pub const fn x2apic(&self) -> bool {
        self.base & msr::X2APIC != 0
    }

    /// Whether it is on: otherwise its page is not there, and interrupts come from the 8259A alone.
    #[must_use]
    pub const fn enabled(&self) -> bool {
        self.base & msr::ENABLE != 0
    }

    /// Whether interrupts of the 8259A pair reach the processor: through LINT0, or past a local APIC that is off.
    #[must_use]
    pub const fn takes_external(&self) -> bool {
        !self.enabled() || (self.vectors[LINT0] & (MASKED | 0x700)) == EXTERNAL
    }

    /// The vector of an interrupt that is to be delivered now, if the processor takes interrupts.
    #[must_use]
    pub fn pending(&self, shared: &Shared) -> Option<u8> {
        let vector = shared.highest_request()?;
        let usable = self.enabled() && self.spurious & SOFTWARE_ENABLE != 0;
        (usable && u32::from(vector) >> 4 > self.priority() >> 4).then_some(vector)
    }

    /// The interrupt `vector`, which was [`Lapic::pending`], is being delivered.
    pub fn accept(&mut self, shared: &Shared, vector: u8) {
        shared.clear_request(vector);
        if let Some(word) = self.in_service.get_mut(usize::from(vector) / 32) {
            *word |= 1 << (vector % 32);
        }
    }

    /// Class of the task priority, 0 to 15: what control register 8 shows.
    #[must_use]
    pub const fn class(&self) -> u8 {
        (self.task_priority >> 4) as u8
    }

    /// Sets it.
    pub fn set_class(&mut self, class: u8) {
        self.task_priority = u32::from(class & 0xF) << 4;
    }

    /// When the timer is next due, in ticks of the time-stamp counter.
    #[must_use]
    pub const fn deadline(&self) -> Option<u64> {
        self.timer.deadline()
    }

    /// Requests the timer's interrupt if it is due; whether it was.
    pub fn tick(&mut self, shared: &Shared, now: u64) -> bool {
        let due = self.timer.expire(now);
        if due && self.vectors[TIMER] & MASKED == 0 {
            self.raise(shared, self.vectors[TIMER]);
        }
        due
    }

    /// Reads the register `index` as xAPIC and x2APIC mode show it alike.
    #[must_use]
    pub fn read(&self, shared: &Shared, index: u32, now: u64) -> u32 {
        match index {
            register::ID if self.x2apic() => shared.id(),
            register::ID => shared.id() << 24,
            register::VERSION => VERSION,
            register::TPR => self.task_priority,
            register::PPR => self.priority(),
            register::LDR => shared.logical(),
            register::DFR if !self.x2apic() => shared.format(),
            register::SVR => self.spurious,
            register::ISR..register::TMR => self.in_service.get((index - register::ISR) as usize).copied().unwrap_or(0),
            register::TMR..register::IRR => shared.levels((index - register::TMR) as usize),
            register::IRR..register::ESR => shared.requests((index - register::IRR) as usize),
            register::ESR => self.shown_errors,
            register::CMCI => self.vectors[0],
            register::ICR => self.command as u32,
            register::ICR_HIGH => (self.command >> 32) as u32,
            register::LVT..register::INITIAL => {
                self.vectors.get((index - register::LVT) as usize + 1).copied().unwrap_or(0)
            }
            register::INITIAL => self.timer.initial(),
            register::CURRENT => self.timer.current(now),
            register::DIVIDE => self.timer.divide(),
            _ => 0,
        }
    }

    /// Writes the register `index` in xAPIC mode; those that both modes treat alike come from x2APIC mode too.
    pub fn write(&mut self, shared: &Shared, index: u32, value: u32, now: u64) -> Effect {
        match index {
            register::TPR => self.task_priority = value & 0xFF,
            register::EOI => return self.end_of_interrupt(shared),
            register::LDR if !self.x2apic() => shared.set_logical(value & 0xFF00_0000),
            register::DFR if !self.x2apic() => shared.set_format(value | 0x0FFF_FFFF),
            register::SVR => {
                self.spurious = value & 0x1FF;
                if value & SOFTWARE_ENABLE == 0 {
                    self.vectors.iter_mut().for_each(|vector| *vector |= MASKED);
                }
            }
            register::ESR => self.shown_errors = core::mem::take(&mut self.errors),
            register::CMCI => self.set_vector(0, value),
            register::ICR => {
                self.command = self.command & !0xFFFF_FFFF | u64::from(value & 0x000C_CFFF);
                return self.send(shared);
            }
            register::ICR_HIGH => self.command = self.command & 0xFFFF_FFFF | u64::from(value & 0xFF00_0000) << 32,
            register::LVT..register::INITIAL => {
                self.set_vector((index - register::LVT) as usize + 1, value);
                return Effect::Timer;
            }
            register::INITIAL => {
                self.timer.start(value, now);
                return Effect::Timer;
            }
            register::DIVIDE => {
                self.timer.set_divide(value, now);
                return Effect::Timer;
            }
            _ => {}
        }
        Effect::None
    }

    fn set_vector(&mut self, entry: usize, value: u32) {
        let off = self.spurious & SOFTWARE_ENABLE == 0;
        let (Some(slot), Some(bits)) = (self.vectors.get_mut(entry), VECTOR_BITS.get(entry)) else { return };
        *slot = value & bits | if off { MASKED } else { 0 };
        if entry == TIMER {
            self.timer.set_mode(value >> 17 & 3);
        }
    }

    fn end_of_interrupt(&mut self, shared: &Shared) -> Effect {
        let Some((word, bits)) = self.in_service.iter_mut().enumerate().rev().find(|(_, bits)| **bits != 0) else {
            return Effect::None;
        };
        let bit = bits.ilog2();
        *bits &= !(1 << bit);
        let vector = (word as u32 * 32 + bit) as u8;
        if shared.is_level(vector) { Effect::EndOfLevel(vector) } else { Effect::None }
    }

    /// The priority that an interrupt must exceed.
    fn priority(&self) -> u32 {
        let served = self.in_service.iter().enumerate().rev().find(|(_, bits)| **bits != 0);
        let served = served.map_or(0, |(word, bits)| word as u32 * 32 + bits.ilog2());
        if self.task_priority >> 4 >= served >> 4 { self.task_priority } else { served & 0xF0 }
    }

    fn raise(&mut self, shared: &Shared, vector: u32) {
        let vector = vector as u8;
        if vector >= 16 {
            shared.request(vector, false);
        } else {
            self.errors |= SENT_ILLEGAL << 1;
            let error = self.vectors[ERROR];
            if error & MASKED == 0 && error as u8 >= 16 {
                shared.request(error as u8, false);
            }
        }
    }

    fn send(&mut self, shared: &Shared) -> Effect {
        let message = Message::from_command(self.command, self.x2apic(), shared.id());
        match message {
            Some(message) if message.delivery == Delivery::Fixed && message.vector < 16 => {
                self.errors |= SENT_ILLEGAL;
                Effect::None
            }
            Some(message) => Effect::Send(message),
            None => Effect::None,
        }
    }
}
