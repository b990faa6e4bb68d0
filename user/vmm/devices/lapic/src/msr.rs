//! The local APIC's model-specific registers: base, deadline, and the registers of x2APIC mode.
//!
//! Invariants: what the manual makes a fault is [`Unknown`]; nothing has changed then.
//! Concurrency: see the crate.

use crate::{END_ASSIST, Effect, Lapic, Shared, register};

/// Address and mode.
pub const APIC_BASE: u32 = 0x1B;
/// Time of the timer's interrupt.
pub const TSC_DEADLINE: u32 = 0x6E0;
/// First register of x2APIC mode.
pub const X2APIC_FIRST: u32 = 0x800;
/// Last one.
pub const X2APIC_LAST: u32 = 0x8FF;
/// Where the registers lie in xAPIC mode; they cannot be moved.
pub const BASE_ADDRESS: u64 = 0xFEE0_0000;
pub(crate) const BOOT: u64 = 1 << 8;
pub(crate) const X2APIC: u64 = 1 << 10;
pub(crate) const ENABLE: u64 = 1 << 11;

/// Whether a register is one of the local APIC's.
#[must_use]
pub const fn is_own(number: u32) -> bool {
    matches!(number, X2APIC_FIRST..=X2APIC_LAST | APIC_BASE | TSC_DEADLINE | END_ASSIST)
}

/// The register is not there, or does not take the value: a general-protection fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unknown;

impl Lapic {
    /// Reads a model-specific register.
    ///
    /// # Errors
    /// [`Unknown`].
    pub fn read_msr(&self, shared: &Shared, number: u32, now: u64) -> Result<u64, Unknown> {
        match number {
            APIC_BASE => Ok(self.base),
            TSC_DEADLINE => Ok(self.timer.time()),
            END_ASSIST => Ok(self.assist.register()),
            X2APIC_FIRST..=X2APIC_LAST if self.x2apic() => match number - X2APIC_FIRST {
                register::ICR => Ok(self.command),
                register::DFR | register::ICR_HIGH | register::EOI | register::SELF_IPI => Err(Unknown),
                index if is_register(index) => Ok(self.read(shared, index, now).into()),
                _ => Err(Unknown),
            },
            _ => Err(Unknown),
        }
    }

    /// Writes a model-specific register.
    ///
    /// # Errors
    /// [`Unknown`].
    pub fn write_msr(&mut self, shared: &Shared, number: u32, value: u64, now: u64) -> Result<Effect, Unknown> {
        match number {
            TSC_DEADLINE => {
                self.timer.set_time(value);
                Ok(Effect::Timer)
            }
            APIC_BASE => self.set_base(shared, value),
            END_ASSIST => self.assist.set_register(value).map(|()| Effect::None),
            X2APIC_FIRST..=X2APIC_LAST if self.x2apic() => {
                self.write_register(shared, number - X2APIC_FIRST, value, now)
            }
            _ => Err(Unknown),
        }
    }

    fn write_register(&mut self, shared: &Shared, index: u32, value: u64, now: u64) -> Result<Effect, Unknown> {
        if index == register::ICR {
            self.command = value & 0xFFFF_FFFF_000C_CFFF;
            return Ok(self.send(shared));
        }
        let value = u32::try_from(value).map_err(|_| Unknown)?;
        match index {
            register::SELF_IPI => {
                self.raise(shared, value & 0xFF);
                Ok(Effect::None)
            }
            register::EOI | register::ESR if value != 0 => Err(Unknown),
            register::TPR | register::EOI | register::SVR | register::ESR | register::CMCI | register::DIVIDE => {
                Ok(self.write(shared, index, value, now))
            }
            register::LVT..=register::INITIAL => Ok(self.write(shared, index, value, now)),
            _ => Err(Unknown),
        }
    }

    fn set_base(&mut self, shared: &Shared, value: u64) -> Result<Effect, Unknown> {
        let (old, new) = (self.base & (ENABLE | X2APIC), value & (ENABLE | X2APIC));
        // x2APIC mode is entered from xAPIC mode and left by switching off.
        let possible = new != X2APIC && !(old == 0 && new & X2APIC != 0) && !(old & X2APIC != 0 && new == ENABLE);
        if !possible || value & !(0xFFF | BASE_ADDRESS) != 0 || value & 0xFF & !(BOOT) != 0 {
            return Err(Unknown);
        }
        self.base = BASE_ADDRESS | self.base & BOOT | new;
        if new == 0 {
            let base = self.base;
            *self = Self { base, ..Self::new(false) };
            shared.reset(false);
        }
        shared.set_mode(self.x2apic());
        Ok(Effect::Timer)
    }
}

/// Whether x2APIC mode has the register, for reading.
const fn is_register(index: u32) -> bool {
    matches!(index, 0x02 | 0x03 | 0x08 | 0x0A | 0x0D | 0x0F..=0x28 | 0x2F | 0x30 | 0x32..=0x39 | 0x3E)
}
