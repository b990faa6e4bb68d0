//! Every device model, driven by steps that a hostile guest could take: from a fuzzer's bytes, or from a generator.
//!
//! Purpose: no guest's input makes the monitor panic. A step is two words; what they mean is the device's own affair: an
//! access to a register, time that passes, something that comes from outside.
//! Invariants: the same steps have the same effect, so a failure is found again by its seed; what a device promises of its
//! values is asserted after each step.
//! Concurrency: one thread.
//! Source: AFL and libFuzzer's way to see an input as a list of actions.

mod interrupts;
mod machine;
mod ports;
mod timers;
mod virtio;

/// A device, with what it needs around it.
pub trait Driven {
    /// Takes a step.
    ///
    /// # Panics
    /// The device broke a promise, which is what is looked for.
    fn step(&mut self, first: u64, second: u64);
}

/// A device that can be driven.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// A fresh one.
    pub make: fn() -> Box<dyn Driven>,
}

/// All device models, and the machine that has all of them.
pub const TARGETS: [Target; 14] = [
    Target { name: "lapic", make: interrupts::lapic },
    Target { name: "ioapic", make: interrupts::ioapic },
    Target { name: "pic", make: interrupts::pic },
    Target { name: "pit", make: timers::pit },
    Target { name: "rtc", make: timers::rtc },
    Target { name: "power", make: timers::power },
    Target { name: "uart", make: ports::uart },
    Target { name: "pci", make: ports::pci },
    Target { name: "virtio", make: virtio::transport },
    Target { name: "block", make: virtio::block },
    Target { name: "console", make: virtio::console },
    Target { name: "net", make: virtio::net },
    Target { name: "rng", make: virtio::rng },
    Target { name: "machine", make: machine::machine },
];

/// Steps after which a fresh device takes the place of the one that was driven so far.
const LIFE: u64 = 20_000;

/// Drives the device `name` with `data`: every 16 bytes are a step. Names that nobody has are ignored.
pub fn from_bytes(name: &str, data: &[u8]) {
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else { return };
    let mut device = (target.make)();
    for step in data.as_chunks::<16>().0 {
        let (low, high) = step.split_at(8);
        let word = |half: &[u8]| half.first_chunk().copied().map_or(0, u64::from_le_bytes);
        device.step(word(low), word(high));
    }
}

/// Drives `target` with `steps` steps of the generator that starts with `seed`.
pub fn from_generator(target: &Target, seed: u64, steps: u64) {
    let mut numbers = Numbers(seed);
    let mut device = (target.make)();
    for step in 0..steps {
        if step % LIFE == LIFE - 1 {
            device = (target.make)();
        }
        let first = numbers.next();
        // Half of the words have few bits set, or are small: those reach more than numbers evenly spread do.
        let second = match first >> 60 {
            0..4 => numbers.next() & 0xFF,
            4..6 => 1 << (numbers.next() & 63),
            6..8 => numbers.next() & numbers.next() & numbers.next(),
            _ => numbers.next(),
        };
        device.step(first, second);
    }
}

/// Numbers that look as if there were no rule (the generator `SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_stands_a_few_random_steps() {
        TARGETS.iter().for_each(|target| from_generator(target, 1, 2_000));
    }

    #[test]
    fn bytes_are_steps_and_a_rest_is_left_over() {
        TARGETS.iter().for_each(|target| from_bytes(target.name, &[0x5A; 100]));
        from_bytes("nobody", &[0; 16]);
    }

    #[test]
    fn names_are_unique() {
        for (index, target) in TARGETS.iter().enumerate() {
            assert!(TARGETS[..index].iter().all(|other| other.name != target.name));
        }
    }
}
