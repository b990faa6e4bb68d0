//! Device model: ACPI power management (events, power-off, timer), the ways to reset, and the ports by which tests end
//! a machine and print.
//!
//! Time is nanoseconds since the start of the machine.
//! Invariants: no write by the guest panics.
//! Concurrency: plain value.
//! Source: ACPI 6.4, chapter 4 "Hardware Specification"; ICH9 data sheet, "Reset Control Register"; QEMU's isa-debug-exit.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

/// First port of the PM1 event registers: status and enable, 2 bytes each.
pub const EVENT: u16 = 0x600;
/// Port of the PM1 control register, 2 bytes.
pub const CONTROL: u16 = 0x604;
/// Port of the timer, 4 bytes.
pub const TIMER: u16 = 0x608;
/// Last port of this block.
pub const LAST: u16 = 0x60B;
/// Reset control register.
pub const RESET: u16 = 0xCF9;
/// Status and commands of the keyboard controller.
pub const KEYBOARD: u16 = 0x64;
/// Data of the keyboard controller.
pub const KEYBOARD_DATA: u16 = 0x60;
/// A value written here ends the machine.
pub const DEBUG_EXIT: u16 = 0xF4;
/// A byte written here is printed.
pub const DEBUG_PRINT: u16 = 0xE9;
/// Value of the control register's sleep type that means off.
pub const SLEEP_OFF: u8 = 5;
/// Frequency of the timer in Hz.
pub const FREQUENCY: u64 = 3_579_545;

const SECOND: u64 = 1_000_000_000;
const SLEEP: u16 = 1 << 13;
const SCI: u16 = 1;
/// Events: timer, power button.
const TIMER_EVENT: u16 = 1;
const BUTTON: u16 = 1 << 8;

/// What a write brings about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The guest switched itself off.
    Off,
    /// The guest asks for a reset.
    Reset,
    /// The guest ends with this value.
    Exit(u32),
    /// A byte to be printed.
    Print(u8),
}

/// The registers.
#[derive(Debug)]
pub struct Power {
    status: u16,
    enable: u16,
    control: u16,
    reset: u8,
    /// Times at which the timer's top bit changed that were seen.
    seen: u64,
}

impl Default for Power {
    fn default() -> Self {
        Self { status: 0, enable: 0, control: SCI, reset: 0, seen: 0 }
    }
}

impl Power {
    /// Whether a port is one of these.
    #[must_use]
    pub const fn has(port: u16) -> bool {
        matches!(port, EVENT..=LAST | RESET | KEYBOARD | KEYBOARD_DATA | DEBUG_EXIT | DEBUG_PRINT)
    }

    /// Reads `size` bytes (1, 2 or 4) at `port`.
    #[must_use]
    pub fn read(&self, port: u16, size: u8, now: u64) -> u32 {
        match port {
            EVENT..=LAST => {
                let timer = u64::from(ticks(now) as u32);
                let words = u128::from(self.status)
                    | u128::from(self.enable) << 16
                    | u128::from(self.control) << 32
                    | u128::from(timer) << 64;
                let value = (words >> (8 * (port - EVENT))) as u32;
                value & mask(size)
            }
            RESET => self.reset.into(),
            // No key, room for commands.
            KEYBOARD => 0,
            DEBUG_PRINT => 0xE9,
            _ => mask(size),
        }
    }

    /// Writes `size` bytes at `port`.
    pub fn write(&mut self, port: u16, size: u8, value: u32) -> Option<Outcome> {
        match port {
            EVENT if size >= 2 => {
                self.status &= !(value as u16);
                if size == 4 {
                    self.enable = (value >> 16) as u16;
                }
            }
            EVENT => self.status &= !(value as u16 & 0xFF),
            0x601 => self.status &= !(value as u16 & 0xFF) << 8 | 0xFF,
            0x602 if size >= 2 => self.enable = value as u16,
            0x602 => self.enable = self.enable & 0xFF00 | value as u16 & 0xFF,
            0x603 => self.enable = self.enable & 0xFF | (value as u16 & 0xFF) << 8,
            CONTROL | 0x605 => {
                let (value, old) = (value as u16, self.control);
                let new = match (port, size) {
                    (CONTROL, 1) => old & 0xFF00 | value & 0xFF,
                    (CONTROL, _) => value,
                    _ => old & 0xFF | (value & 0xFF) << 8,
                };
                self.control = new & !SLEEP | SCI;
                if new & SLEEP != 0 && new >> 10 & 7 == SLEEP_OFF.into() {
                    return Some(Outcome::Off);
                }
            }
            RESET => {
                self.reset = value as u8 & 0x0E;
                return (value & 4 != 0).then_some(Outcome::Reset);
            }
            KEYBOARD if value & 0xFF == 0xFE => return Some(Outcome::Reset),
            DEBUG_EXIT => return Some(Outcome::Exit(value)),
            DEBUG_PRINT => return Some(Outcome::Print(value as u8)),
            _ => {}
        }
        None
    }

    /// The power button is pressed.
    pub fn press(&mut self) {
        self.status |= BUTTON;
    }

    /// Whether the system control interrupt is asserted now.
    pub fn interrupt(&mut self, now: u64) -> bool {
        let changes = ticks(now) >> 31;
        if changes != self.seen {
            self.seen = changes;
            self.status |= TIMER_EVENT;
        }
        self.status & self.enable & (TIMER_EVENT | BUTTON) != 0
    }

    /// When the timer next asserts it; `None` if that is not enabled.
    #[must_use]
    pub fn deadline(&self, now: u64) -> Option<u64> {
        let next = u128::from((ticks(now) >> 31) + 1) << 31;
        let due = next * u128::from(SECOND) / u128::from(FREQUENCY) + 1;
        u64::try_from(due).ok().filter(|_| self.enable & TIMER_EVENT != 0)
    }
}

const fn ticks(nanoseconds: u64) -> u64 {
    (nanoseconds as u128 * FREQUENCY as u128 / SECOND as u128) as u64
}

/// The bits of `size` bytes.
const fn mask(size: u8) -> u32 {
    match size {
        1 => 0xFF,
        2 => 0xFFFF,
        _ => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sleeping_with_the_right_type_switches_off() {
        let mut power = Power::default();
        let off = u32::from(SLEEP) | u32::from(SLEEP_OFF) << 10;
        assert_eq!(power.write(CONTROL, 2, u32::from(SLEEP_OFF) << 10), None);
        assert_eq!(power.write(CONTROL, 2, u32::from(SLEEP) | 1 << 10), None);
        assert_eq!(power.write(CONTROL, 2, off), Some(Outcome::Off));
        assert_eq!(power.write(CONTROL + 1, 1, off >> 8), Some(Outcome::Off));
        assert_eq!(power.read(CONTROL, 2, 0) & 1, 1, "ACPI mode stays on");
    }

    #[test]
    fn the_timer_runs_at_its_frequency_and_interrupts_when_its_top_bit_changes() {
        let mut power = Power::default();
        assert_eq!(power.read(TIMER, 4, SECOND), 3_579_545);
        assert_eq!(power.deadline(0), None);
        power.write(EVENT + 2, 2, 1);
        let due = power.deadline(0).unwrap_or(0);
        assert!(!power.interrupt(due - 1000) && power.interrupt(due));
        power.write(EVENT, 2, 1);
        assert!(!power.interrupt(due));
        assert!(power.deadline(due).is_some_and(|next| next > due));
    }

    #[test]
    fn the_button_is_an_event_until_it_is_acknowledged() {
        let mut power = Power::default();
        power.press();
        assert!(!power.interrupt(0));
        power.write(EVENT + 2, 2, BUTTON.into());
        assert!(power.interrupt(0));
        assert_eq!(power.read(EVENT, 2, 0), u32::from(BUTTON));
        power.write(EVENT + 1, 1, 1);
        assert!(!power.interrupt(0));
    }

    #[test]
    fn resets_and_debug_ports_say_what_is_wanted() {
        let mut power = Power::default();
        assert_eq!(power.write(RESET, 1, 2), None);
        assert_eq!(power.write(RESET, 1, 6), Some(Outcome::Reset));
        assert_eq!(power.write(KEYBOARD, 1, 0xFE), Some(Outcome::Reset));
        assert_eq!(power.write(KEYBOARD, 1, 0xD1), None);
        assert_eq!(power.write(DEBUG_EXIT, 4, 0x1234), Some(Outcome::Exit(0x1234)));
        assert_eq!(power.write(DEBUG_PRINT, 1, 0x41), Some(Outcome::Print(0x41)));
    }

    proptest! {
        #[test]
        fn no_guest_makes_it_panic(steps in proptest::collection::vec((0x5FE..0x60F_u16, 0..3_u8, any::<u32>(), any::<u64>()), 0..200)) {
            let mut power = Power::default();
            for (port, size, value, now) in steps {
                let size = 1 << size;
                power.write(port, size, value);
                let _ = (power.read(port, size, now), power.interrupt(now), power.deadline(now));
            }
        }
    }
}
