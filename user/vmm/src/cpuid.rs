//! What CPUID says: the processor that is there, without what the machine does not offer.
//!
//! Features are let through by list, so that a new one of a processor is hidden until somebody has thought about it.
//! Invariants: the result depends on the leaf, the processor's number and the machine only.
//! Concurrency: plain values.
//! Source: Intel SDM volume 2, "CPUID"; AMD64 manual volume 3, appendix E; Linux, Documentation/virt/kvm/x86/cpuid.

use crate::exit::Backend;

/// Four registers: eax, ebx, ecx, edx.
pub type Leaf = [u32; 4];

/// Leaves of the hypervisor.
const HYPERVISOR: u32 = 0x4000_0000;
/// The interface of this name tells a guest that it may use x2APIC mode without interrupt remapping.
const SIGNATURE: &[u8; 12] = b"KVMKVMKVM\0\0\0";
/// Features of that interface: port accesses need no delay; a page tells the time, the same on all processors; interrupts
/// may be ended without an exit; those of devices may name more than 255 processors.
const NO_DELAY: u32 = 1 << 1;
const CLOCK: u32 = 1 << 3 | 1 << 24;
const END_ASSIST: u32 = 1 << 6;
const WIDE_DESTINATIONS: u32 = 1 << 15;

/// Leaf 1, ecx: SSE3, PCLMULQDQ, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, RDRAND.
const ONE_ECX: u32 = 1 | 1 << 1 | 1 << 9 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 25 | 1 << 30;
/// CMPXCHG16B: QEMU 7.2 puts a wrong value into the flags with it when it translates, so its guests must do without; its name.
const PAIRS: u32 = 1 << 13;
const EMULATOR: &[u8; 12] = b"TCGTCGTCGTCG";
/// The same, where the hypervisor manages extended states: XSAVE, AVX, FMA, F16C; and that it does, or the guest.
const ONE_ECX_EXTENDED: u32 = 1 << 12 | 1 << 26 | 1 << 28 | 1 << 29;
const OSXSAVE: u32 = 1 << 27;
/// x2APIC, TSC deadline, under a hypervisor.
const ONE_ECX_OURS: u32 = 1 << 21 | 1 << 24 | 1 << 31;
/// Leaf 1, edx: all that is old but MTRR (12), thermal sensors and the like (18, 21, 22, 28 up). Machine checks have no banks.
const ONE_EDX: u32 = 0x0789_EBFF & !(1 << 12 | 1 << 18);
/// Leaf 7, ebx: FSGSBASE, BMI1, SMEP, BMI2, ERMS, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB.
const SEVEN_EBX: u32 = 1 | 1 << 3 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 23 | 1 << 24;
/// The same with extended states: AVX2.
const SEVEN_EBX_EXTENDED: u32 = 1 << 5;
/// Leaf 7, ecx: UMIP.
const SEVEN_ECX: u32 = 1 << 2;
/// Leaf 0x8000_0001, ecx: LAHF, LZCNT, SSE4a, misaligned SSE, PREFETCHW.
const EXTENDED_ECX: u32 = 1 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8;
/// Leaf 0x8000_0001, edx: as leaf 1 where AMD repeats it; SYSCALL, NX, MMX extensions, FXSAVE, 1 GiB pages, RDTSCP, 64 bits.
const EXTENDED_EDX: u32 = 0x0183_F3FF & ONE_EDX | 1 << 11 | 1 << 20 | 1 << 22 | 1 << 25 | 1 << 26 | 1 << 27 | 1 << 29;

/// Leaf 7, edx, on Intel's processors, where these registers are the guest's own: restricted speculation and prediction
/// barrier, the same for sibling threads, stores not bypassed.
const SEVEN_EDX_INTEL: u32 = 1 << 26 | 1 << 27 | 1 << 31;

/// Extended states that a guest may use: x87, SSE, AVX.
const STATES: u32 = 7;
const AVX: u32 = 1 << 2;
/// Bytes of the area for the first two, and its header.
const BASIC_SIZE: u32 = 576;
/// Leaf 0xD, subleaf 1, eax: XSAVEOPT.
const EXTENDED_EAX: u32 = 1;

/// The machine, as far as CPUID tells.
#[derive(Clone, Copy, Debug)]
pub struct Topology {
    /// Number of the asking processor.
    pub cpu: u32,
    /// How many there are.
    pub count: u32,
    /// Whether CR4.OSXSAVE is set.
    pub osxsave: bool,
    /// Extended states that the guest has enabled.
    pub xcr0: u64,
    /// What virtualises the processor.
    pub backend: Backend,
}

/// The extended states that a guest may enable; 0 if it has no such thing.
#[must_use]
pub fn states(host: impl Fn(u32, u32) -> Leaf) -> u32 {
    let [_, _, c, _] = host(1, 0);
    let [states, ..] = host(0xD, 0);
    if c & OSXSAVE == 0 { 0 } else { states & STATES }
}

/// Whether a guest may enable exactly these, if it may enable `known`: x87 always, AVX with SSE only.
#[must_use]
pub const fn is_set_of_states(value: u64, known: u32) -> bool {
    value & !(known as u64) == 0 && value & 1 != 0 && (value & 2 != 0 || value & AVX as u64 == 0)
}

/// Bytes that these extended states take.
fn size(host: impl Fn(u32, u32) -> Leaf, states: u32) -> u32 {
    let [size, offset, ..] = host(0xD, 2);
    if states & AVX == 0 { BASIC_SIZE } else { offset.saturating_add(size) }
}

/// Whether the processor is one that QEMU makes up.
fn is_translated(host: impl Fn(u32, u32) -> Leaf) -> bool {
    let [_, name @ ..] = host(HYPERVISOR, 0);
    name.map(u32::to_le_bytes).as_flattened() == EMULATOR
}

/// The answer for `leaf` and `subleaf`; `host` asks the processor.
#[must_use]
pub fn answer(host: impl Fn(u32, u32) -> Leaf, leaf: u32, subleaf: u32, machine: Topology) -> Leaf {
    let Topology { cpu, count, .. } = machine;
    let real = || host(leaf, subleaf);
    let bits = u32::BITS - count.saturating_sub(1).leading_zeros();
    match leaf {
        0 => {
            let [max, b, c, d] = real();
            [max.clamp(1, 0xD), b, c, d]
        }
        1 => {
            let [a, b, c, d] = real();
            let threads = if count > 1 { 1 << 28 } else { 0 };
            let b = b & 0xFF00 | cpu << 24 | count.next_power_of_two() << 16;
            let extended = if states(&host) == 0 { 0 } else { ONE_ECX_EXTENDED };
            let enabled = if machine.osxsave { OSXSAVE } else { 0 };
            let c = if is_translated(&host) { c & !PAIRS } else { c };
            [a, b, c & (ONE_ECX | extended) | ONE_ECX_OURS | enabled, d & ONE_EDX | threads]
        }
        2 => real(),
        4 => {
            let [a, b, c, d] = real();
            let shared = if a >> 5 & 7 == 3 { count.saturating_sub(1) } else { 0 };
            let cores = if a & 0x1F == 0 { 0 } else { count.next_power_of_two() - 1 };
            [a & 0x3FFF | shared << 14 | cores << 26, b, c, d]
        }
        // The timer goes on in all states of sleep.
        6 => [1 << 2, 0, 0, 0],
        7 if subleaf == 0 => {
            let [_, b, c, d] = real();
            let extended = if states(&host) == 0 { 0 } else { SEVEN_EBX_EXTENDED };
            let speculation = if machine.backend == Backend::Vmx { SEVEN_EDX_INTEL } else { 0 };
            [0, b & (SEVEN_EBX | extended), c & SEVEN_ECX, d & speculation]
        }
        0xB => match subleaf {
            0 => [0, 1, 1 << 8, cpu],
            1 => [bits, count, 2 << 8 | 1, cpu],
            _ => [0, 0, subleaf & 0xFF, cpu],
        },
        0xD => match (subleaf, states(&host)) {
            (_, 0) => [0; 4],
            (0, all) => [all, size(&host, all & machine.xcr0 as u32), size(&host, all), 0],
            (1, _) => {
                let [a, ..] = real();
                [a & EXTENDED_EAX, 0, 0, 0]
            }
            (2, all) if all & AVX != 0 => {
                let [size, offset, ..] = real();
                [size, offset, 0, 0]
            }
            _ => [0; 4],
        },
        HYPERVISOR => {
            let word = |at: usize| {
                SIGNATURE.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_le_bytes)
            };
            [HYPERVISOR + 1, word(0), word(4), word(8)]
        }
        0x4000_0001 => [NO_DELAY | CLOCK | END_ASSIST | WIDE_DESTINATIONS, 0, 0, 0],
        0x8000_0000 => {
            let [max, b, c, d] = real();
            [max.clamp(0x8000_0001, 0x8000_0008), b, c, d]
        }
        0x8000_0001 => {
            let [a, b, c, d] = real();
            [a, b, c & EXTENDED_ECX, d & EXTENDED_EDX]
        }
        0x8000_0002..=0x8000_0006 => real(),
        // The counter runs at one speed whatever the processor does.
        0x8000_0007 => [0, 0, 0, 1 << 8],
        0x8000_0008 => {
            let [a, ..] = real();
            [a & 0xFFFF, 0, bits << 12 | count.saturating_sub(1), 0]
        }
        _ => [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Topology = Topology { cpu: 1, count: 2, osxsave: false, xcr0: 3, backend: Backend::Svm };

    #[test]
    fn guests_of_qemus_translator_do_without_what_it_gets_wrong() {
        let name = EMULATOR.as_chunks::<4>().0;
        let translated = |leaf, _| match leaf {
            HYPERVISOR => [0, 1, 2, 3].map(|at| if at == 0 { 0 } else { u32::from_le_bytes(name[at - 1]) }),
            _ => [u32::MAX; 4],
        };
        let [_, _, with, _] = all(1, 0);
        let [_, _, without, _] = answer(translated, 1, 0, TWO);
        assert_eq!(with ^ without, PAIRS);
    }

    fn all(leaf: u32, subleaf: u32) -> Leaf {
        answer(|_, _| [u32::MAX; 4], leaf, subleaf, TWO)
    }

    #[test]
    fn what_the_machine_lacks_is_hidden_and_what_it_has_is_shown() {
        let [_, ebx, ecx, edx] = all(1, 0);
        assert_eq!(ebx >> 24, 1);
        for bit in [3, 5, 27] {
            assert_eq!(ecx & 1 << bit, 0, "ecx bit {bit}");
        }
        assert_eq!(edx & (1 << 12 | 1 << 22 | 1 << 29), 0);
        let none = answer(|_, _| [0; 4], 1, 0, TWO);
        assert_eq!(none[2], ONE_ECX_OURS);
        assert_eq!(all(0x8000_0001, 0)[2] & (1 << 2 | 1 << 22), 0, "no SVM, no topology leaves");
        assert_eq!(all(0x8000_0007, 0)[3], 1 << 8);
        assert_eq!(all(0xA, 0), [0; 4]);
        let on_intel = answer(|_, _| [u32::MAX; 4], 7, 0, Topology { backend: Backend::Vmx, ..TWO });
        assert_eq!((all(7, 0)[3], on_intel[3]), (0, SEVEN_EDX_INTEL));
    }

    #[test]
    fn extended_states_are_those_that_the_hypervisor_manages() {
        let host = |leaf, subleaf| match (leaf, subleaf) {
            (0xD, 0) => [0x207, 0xA88, 0xA88, 0],
            (0xD, 2) => [256, 576, 0, 0],
            _ => [u32::MAX; 4],
        };
        assert_eq!(answer(host, 0xD, 0, TWO), [7, 576, 832, 0]);
        assert_eq!(answer(host, 0xD, 0, Topology { xcr0: 7, ..TWO }), [7, 832, 832, 0]);
        assert_eq!(answer(host, 0xD, 1, TWO), [1, 0, 0, 0]);
        assert_eq!((answer(host, 0xD, 2, TWO), answer(host, 0xD, 9, TWO)), ([256, 576, 0, 0], [0; 4]));
        assert_eq!(answer(host, 1, 0, Topology { osxsave: true, ..TWO })[2] & OSXSAVE, OSXSAVE);
        assert!([1, 3, 7].iter().all(|&set| is_set_of_states(set, states(host))));
        assert!([0, 2, 5, 6, 0xF, 1 << 32 | 1].iter().all(|&set| !is_set_of_states(set, states(host))));
        // One that does not use them has no areas for them.
        let without = |leaf, subleaf| host(leaf, subleaf).map(|word| if leaf == 1 { word & !OSXSAVE } else { word });
        assert_eq!((answer(without, 0xD, 0, TWO), answer(without, 1, 0, TWO)[2] & ONE_ECX_EXTENDED), ([0; 4], 0));
        assert_eq!(answer(without, 7, 0, TWO)[1] & SEVEN_EBX_EXTENDED, 0);
        assert!(!is_set_of_states(1, states(without)));
    }

    #[test]
    fn the_topology_is_one_package_of_cores() {
        assert_eq!(all(0xB, 0), [0, 1, 0x100, 1]);
        assert_eq!(all(0xB, 1), [1, 2, 0x201, 1]);
        assert_eq!(all(0x8000_0008, 0)[2], 1 << 12 | 1);
    }
}
