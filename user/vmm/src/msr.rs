//! Model-specific registers other than the local APIC's.
//!
//! Invariants: what is not listed is a general-protection fault, which is how a guest finds out.
//! Concurrency: values of one processor.
//! Source: Intel SDM volume 4; AMD64 manual volume 2, appendix A.

use rt::message::Words;

use crate::state::State;

const TSC: u32 = 0x10;
const PLATFORM: u32 = 0x17;
const FEATURE_CONTROL: u32 = 0x3A;
const MICROCODE: u32 = 0x8B;
/// Machine checks: how many banks (none), and the state.
const MACHINE_CHECK: u32 = 0x179;
const MACHINE_CHECK_STATUS: u32 = 0x17A;
const SYSENTER: u32 = 0x174;
const MISC_ENABLE: u32 = 0x1A0;
const DEBUG_CONTROL: u32 = 0x1D9;
const PAT: u32 = 0x277;
const EFER: u32 = 0xC000_0080;
const TSC_AUX: u32 = 0xC000_0103;

const PAT_RESET: u64 = 0x0007_0406_0007_0406;
/// EFER: SVM, which a guest must not see, and what it may write.
const EFER_SVM: u64 = 1 << 12;
const EFER_WRITABLE: u64 = 1 | 1 << 8 | 1 << 11 | 1 << 14;
const EFER_ACTIVE: u64 = 1 << 10;

/// Registers that are kept but do nothing.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    pat: u64,
    misc_enable: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Self { pat: PAT_RESET, misc_enable: 1 }
    }
}

/// Registers of AMD's processors for their own set-up: they read as 0 and take anything.
const fn is_setup(number: u32) -> bool {
    matches!(number, 0xC001_0000..=0xC001_0117 | 0xC001_1000..=0xC001_10FF)
}

/// Reads a register of the processor whose state this is; `None` for a fault.
pub fn read<W: Words>(state: &State<'_, W>, kept: &Kept, number: u32, now: u64) -> Option<u64> {
    Some(match number {
        TSC => now,
        MACHINE_CHECK | MACHINE_CHECK_STATUS => 0,
        PLATFORM | FEATURE_CONTROL | MICROCODE | DEBUG_CONTROL => u64::from(number == FEATURE_CONTROL),
        SYSENTER => state.sysenter_cs(),
        0x175 => state.sysenter_rsp(),
        0x176 => state.sysenter_rip(),
        MISC_ENABLE => kept.misc_enable,
        PAT => kept.pat,
        EFER => state.efer() & !EFER_SVM,
        0xC000_0081 => state.star(),
        0xC000_0082 => state.lstar(),
        0xC000_0083 => state.cstar(),
        0xC000_0084 => state.sfmask(),
        0xC000_0102 => state.kernel_gs_base(),
        TSC_AUX => state.tsc_aux(),
        number if is_setup(number) => 0,
        _ => return None,
    })
}

/// Writes it; `None` for a fault.
pub fn write<W: Words>(state: &mut State<'_, W>, kept: &mut Kept, number: u32, value: u64) -> Option<()> {
    match number {
        // The counter is the machine's; one that is written goes on.
        TSC | PLATFORM | MICROCODE | DEBUG_CONTROL | MACHINE_CHECK_STATUS => {}
        SYSENTER => state.set_sysenter_cs(value),
        0x175 => state.set_sysenter_rsp(canonical(value)?),
        0x176 => state.set_sysenter_rip(canonical(value)?),
        MISC_ENABLE => kept.misc_enable = value,
        PAT if value.to_le_bytes().iter().all(|kind| matches!(kind, 0 | 1 | 4..=7)) => kept.pat = value,
        EFER if value & !(EFER_WRITABLE | EFER_ACTIVE) == 0 => {
            let kept = state.efer() & (EFER_SVM | EFER_ACTIVE);
            state.set_efer(value & EFER_WRITABLE | kept);
        }
        0xC000_0081 => state.set_star(value),
        0xC000_0082 => state.set_lstar(canonical(value)?),
        0xC000_0083 => state.set_cstar(canonical(value)?),
        0xC000_0084 => state.set_sfmask(value & 0xFFFF_FFFF),
        0xC000_0102 => state.set_kernel_gs_base(canonical(value)?),
        TSC_AUX => state.set_tsc_aux(u32::try_from(value).ok()?.into()),
        number if is_setup(number) => {}
        _ => return None,
    }
    Some(())
}

/// An address that the processor takes.
fn canonical(address: u64) -> Option<u64> {
    let sign = address as i64 >> 47;
    (sign == 0 || sign == -1).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::Mtd;

    #[test]
    fn a_guest_neither_sees_nor_touches_what_makes_it_one() {
        let (mut words, mut kept) = ([0_u64; 508], Kept::default());
        let mut state = State::new(&mut words);
        state.set_efer(EFER_SVM | 1 << 8 | EFER_ACTIVE);
        assert_eq!(read(&state, &kept, EFER, 0), Some(0x500));
        assert_eq!(write(&mut state, &mut kept, EFER, 0x501), Some(()));
        assert_eq!(state.efer(), EFER_SVM | 0x501);
        assert_eq!(write(&mut state, &mut kept, EFER, EFER_SVM), None);
    }

    #[test]
    fn addresses_have_to_be_canonical_and_unknown_registers_fault() {
        let (mut words, mut kept) = ([0_u64; 508], Kept::default());
        let mut state = State::new(&mut words);
        assert_eq!(write(&mut state, &mut kept, 0xC000_0082, 1 << 47), None);
        assert_eq!(write(&mut state, &mut kept, 0xC000_0082, u64::MAX << 47), Some(()));
        assert_eq!(state.reply(), Mtd::SYSCALL_SWAPGS);
        assert_eq!((read(&state, &kept, 0xFE, 0), write(&mut state, &mut kept, 0x1234, 0)), (None, None));
        assert_eq!(write(&mut state, &mut kept, PAT, 2), None);
        assert_eq!(read(&state, &kept, PAT, 0), Some(PAT_RESET));
    }
}
