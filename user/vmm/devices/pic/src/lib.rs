//! Device model: two 8259A interrupt controllers, the second one at input 2 of the first.
//!
//! Invariants: no write by the guest panics; [`Pics::acknowledge`] gives a vector for what [`Pics::pending`] announced,
//! or that of a spurious interrupt.
//! Concurrency: plain value.
//! Source: Intel 8259A data sheet; ICH9 data sheet, "8259 Interrupt Controllers" (ports, edge/level registers).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

/// What the next byte to the data port is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Expect {
    #[default]
    Mask,
    Base,
    Cascade,
    Mode,
}

/// One controller.
#[derive(Debug, Default)]
struct Pic {
    base: u8,
    mask: u8,
    requests: u8,
    in_service: u8,
    lines: u8,
    /// Inputs that are level-triggered.
    level: u8,
    expect: Expect,
    needs_mode: bool,
    automatic_end: bool,
    rotates: bool,
    read_in_service: bool,
    poll: bool,
    special_mask: bool,
    /// Input of lowest priority is the one before.
    first: u8,
}

impl Pic {
    fn set_line(&mut self, input: u8, asserted: bool) {
        let bit = 1 << (input & 7);
        if asserted {
            if self.level & bit != 0 || self.lines & bit == 0 {
                self.requests |= bit;
            }
            self.lines |= bit;
        } else {
            self.lines &= !bit;
            // An interrupt that is gone before it is acknowledged is none.
            self.requests &= !bit;
        }
    }

    /// The input of highest priority among `bits`.
    fn highest(&self, bits: u8) -> Option<u8> {
        (0..8).map(|step| self.first.wrapping_add(step) & 7).find(|input| bits & 1 << input != 0)
    }

    fn rank(&self, input: u8) -> u8 {
        input.wrapping_sub(self.first) & 7
    }

    /// The input to be served next, if the processor takes it.
    fn pending(&self) -> Option<u8> {
        let next = self.highest(self.requests & !self.mask)?;
        let served = if self.special_mask { self.in_service & !self.mask } else { self.in_service };
        match self.highest(served) {
            Some(served) if self.rank(next) >= self.rank(served) => None,
            _ => Some(next),
        }
    }

    fn acknowledge(&mut self) -> Option<u8> {
        let input = self.pending()?;
        let bit = 1 << input;
        if self.level & bit == 0 {
            self.requests &= !bit;
        }
        if !self.automatic_end {
            self.in_service |= bit;
        } else if self.rotates {
            self.first = input.wrapping_add(1) & 7;
        }
        Some(input)
    }

    fn command(&mut self, value: u8) {
        if value & 0x10 != 0 {
            let (lines, level) = (self.lines, self.level);
            *self = Self { lines, level, requests: lines & level, ..Self::default() };
            self.expect = Expect::Base;
            self.needs_mode = value & 1 != 0;
        } else if value & 8 != 0 {
            if value & 2 != 0 {
                self.read_in_service = value & 1 != 0;
            }
            self.poll = value & 4 != 0;
            if value & 0x40 != 0 {
                self.special_mask = value & 0x20 != 0;
            }
        } else {
            self.end_or_rotate(value);
        }
    }

    fn end_or_rotate(&mut self, value: u8) {
        let (rotate, specific, end) = (value & 0x80 != 0, value & 0x40 != 0, value & 0x20 != 0);
        let input = if specific { Some(value & 7) } else { self.highest(self.in_service) };
        match (end, input) {
            (true, Some(input)) => {
                self.in_service &= !(1 << input);
                if rotate {
                    self.first = input.wrapping_add(1) & 7;
                }
            }
            (false, _) if specific && rotate => self.first = (value & 7).wrapping_add(1) & 7,
            (false, _) if !specific => self.rotates = rotate,
            _ => {}
        }
    }

    fn data(&mut self, value: u8) {
        match self.expect {
            Expect::Mask => self.mask = value,
            Expect::Base => {
                self.base = value & 0xF8;
                self.expect = Expect::Cascade;
            }
            Expect::Cascade => self.expect = if self.needs_mode { Expect::Mode } else { Expect::Mask },
            Expect::Mode => {
                self.automatic_end = value & 2 != 0;
                self.expect = Expect::Mask;
            }
        }
    }

    fn read(&mut self, data: bool) -> u8 {
        if self.poll {
            self.poll = false;
            return self.acknowledge().map_or(0, |input| 0x80 | input);
        }
        match (data, self.read_in_service) {
            (true, _) => self.mask,
            (false, true) => self.in_service,
            (false, false) => self.requests,
        }
    }
}

const CASCADE: u8 = 2;

/// The pair.
#[derive(Debug)]
pub struct Pics {
    first: Pic,
    second: Pic,
}

impl Default for Pics {
    /// As firmware leaves it: all masked, until the guest sets it up.
    fn default() -> Self {
        let masked = || Pic { mask: 0xFF, ..Pic::default() };
        Self { first: masked(), second: masked() }
    }
}

impl Pics {
    /// Sets the level of input `line`, 0 to 15.
    pub fn set_line(&mut self, line: u8, asserted: bool) {
        match line {
            0..8 if line != CASCADE => self.first.set_line(line, asserted),
            8..16 => self.second.set_line(line - 8, asserted),
            _ => {}
        }
        self.cascade();
    }

    /// Whether the processor is asked for attention.
    #[must_use]
    pub fn pending(&self) -> bool {
        self.first.pending().is_some()
    }

    /// Whether an edge at input `line` of the first controller, 0 to 7, would be something new to the processor.
    #[must_use]
    pub const fn listens(&self, line: u8) -> bool {
        (self.first.mask | self.first.requests) >> (line & 7) & 1 == 0
    }

    /// The processor takes the interrupt; its vector.
    pub fn acknowledge(&mut self) -> u8 {
        let vector = match self.first.acknowledge() {
            Some(CASCADE) => self.second.base | self.second.acknowledge().unwrap_or(7),
            input => self.first.base | input.unwrap_or(7),
        };
        self.cascade();
        vector
    }

    /// Reads port 0x20, 0x21, 0xA0, 0xA1, 0x4D0 or 0x4D1; others are 0xFF.
    pub fn read(&mut self, port: u16) -> u8 {
        let value = match port {
            0x20 | 0x21 => self.first.read(port & 1 != 0),
            0xA0 | 0xA1 => self.second.read(port & 1 != 0),
            0x4D0 => self.first.level,
            0x4D1 => self.second.level,
            _ => 0xFF,
        };
        self.cascade();
        value
    }

    /// Writes one of these ports.
    pub fn write(&mut self, port: u16, value: u8) {
        match port {
            0x20 => self.first.command(value),
            0x21 => self.first.data(value),
            0xA0 => self.second.command(value),
            0xA1 => self.second.data(value),
            // Timer, keyboard, cascade, clock and coprocessor are edge-triggered for good.
            0x4D0 => self.first.level = value & 0xF8,
            0x4D1 => self.second.level = value & 0xDE,
            _ => {}
        }
        self.cascade();
    }

    fn cascade(&mut self) {
        let asserted = self.second.pending().is_some();
        // The second one asks as long as it has something, so that input acts like a level.
        if asserted {
            self.first.requests |= 1 << CASCADE;
        } else {
            self.first.requests &= !(1 << CASCADE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set_up() -> Pics {
        let mut pics = Pics::default();
        for (port, value) in [(0x20, 0x11), (0x21, 0x30), (0x21, 4), (0x21, 1), (0x21, 0)] {
            pics.write(port, value);
        }
        for (port, value) in [(0xA0, 0x11), (0xA1, 0x38), (0xA1, 2), (0xA1, 1), (0xA1, 0)] {
            pics.write(port, value);
        }
        pics
    }

    #[test]
    fn nothing_comes_before_it_is_set_up() {
        let mut pics = Pics::default();
        pics.set_line(4, true);
        pics.set_line(9, true);
        assert!(!pics.pending());
        pics.write(0x20, 0x11);
        assert_eq!(pics.read(0x21), 0, "the first command takes the mask away");
    }

    #[test]
    fn the_lower_line_comes_first_and_the_others_after_its_end() {
        let mut pics = set_up();
        pics.set_line(4, true);
        pics.set_line(0, true);
        assert!(pics.pending());
        assert_eq!(pics.acknowledge(), 0x30);
        assert!(!pics.pending(), "4 waits for the end of 0");
        pics.write(0x20, 0x20);
        assert_eq!(pics.acknowledge(), 0x34);
        pics.write(0x20, 0x64);
        assert!(!pics.pending(), "an edge is served once");
    }

    #[test]
    fn lines_of_the_second_one_come_through_the_first() {
        let mut pics = set_up();
        pics.set_line(12, true);
        assert_eq!(pics.acknowledge(), 0x3C);
        pics.set_line(8, true);
        pics.write(0xA0, 0x20);
        assert!(!pics.pending(), "the first one still serves its input 2");
        pics.write(0x20, 0x20);
        assert_eq!(pics.acknowledge(), 0x38);
    }

    #[test]
    fn what_is_gone_or_masked_is_spurious() {
        let mut pics = set_up();
        pics.set_line(5, true);
        pics.write(0x21, 0x20);
        assert!(!pics.pending());
        assert_eq!(pics.acknowledge(), 0x37);
        pics.write(0x21, 0);
        assert!(pics.pending());
        pics.set_line(5, false);
        assert!(!pics.pending());
    }

    #[test]
    fn masks_read_back_which_is_how_its_presence_is_probed() {
        let mut pics = set_up();
        pics.write(0x21, 0xFB);
        pics.write(0xA1, 0xFF);
        assert_eq!((pics.read(0x21), pics.read(0xA1), pics.read(0x22)), (0xFB, 0xFF, 0xFF));
    }

    proptest! {
        #[test]
        fn no_guest_makes_it_panic(steps in proptest::collection::vec((0..6_usize, any::<u8>(), 0..16_u8, any::<bool>()), 0..200)) {
            let mut pics = Pics::default();
            for (port, value, line, asserted) in steps {
                let port = [0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1][port];
                pics.write(port, value);
                pics.set_line(line, asserted);
                let _ = pics.read(port);
                if pics.pending() && value & 1 != 0 {
                    pics.acknowledge();
                }
            }
        }
    }
}
