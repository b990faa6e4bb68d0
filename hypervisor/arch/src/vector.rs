//! The vector map: what each of the 256 interrupt vectors is for.
//!
//! Purpose: one place for the numbers.
//! Invariants: 0-31 exceptions (named in `abi::event`); 32-223 devices (pin interrupts and messages, allocated per core);
//! 224-239 the legacy controllers' spurious interrupts; 240 and up the kernel's own.
//! Concurrency: constants.
//! Source: AMD64 manual volume 2, §8.1; `docs/src/decisions/0008-vectors.md`.

/// First vector of devices.
pub const DEVICE_FIRST: u8 = 32;
/// Last vector of devices.
pub const DEVICE_LAST: u8 = 223;
/// First of the 16 vectors of the legacy interrupt controllers, which are masked.
pub const LEGACY: u8 = 224;
/// Local timer.
pub const TIMER: u8 = 240;
/// Request from another core to look at the hazard word.
pub const REQUEST: u8 = 241;
/// Thermal sensor, performance counter and corrected-machine-check interrupts, all masked.
pub const LOCAL_OTHER: u8 = 242;
/// Local APIC error.
pub const ERROR: u8 = 254;
/// Local APIC spurious interrupt; the low four bits must be ones on old processors.
pub const SPURIOUS: u8 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_map_do_not_overlap() {
        let parts = [
            (0, 31),
            (DEVICE_FIRST, DEVICE_LAST),
            (LEGACY, LEGACY + 15),
            (TIMER, TIMER),
            (REQUEST, REQUEST),
            (LOCAL_OTHER, LOCAL_OTHER),
            (ERROR, ERROR),
            (SPURIOUS, SPURIOUS),
        ];
        assert!(parts.windows(2).all(|pair| pair[0].1 < pair[1].0), "{parts:?}");
        assert_eq!(SPURIOUS & 0xF, 0xF);
    }
}
