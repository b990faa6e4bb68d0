//! The legacy interrupt controllers: out of the way.
//!
//! Purpose: masked, and remapped so that a spurious interrupt of theirs is recognised as such.
//! Invariants: no legacy interrupt but a spurious one arrives after [`silence`].
//! Concurrency: boot core, once.
//! Source: Intel 8259A data sheet; AMD64 manual volume 2, §8.1.
use crate::{port::Port, vector};

/// Remaps both controllers to [`vector::LEGACY`] and masks all their inputs.
pub fn silence() {
    for (base, offset, cascade) in [(0x20, 0, 4), (0xA0, 8, 2)] {
        // SAFETY: the legacy interrupt controllers; they raise interrupts, and are told not to.
        let (command, data) = unsafe { (Port::new(base), Port::new(base + 1)) };
        command.write8(0x11);
        for word in [vector::LEGACY + offset, cascade, 1, 0xFF] {
            data.write8(word);
        }
    }
}
