//! What CPUID says: the processor that is there, without what the machine does not offer.
//!
//! Features are let through by list, so that a new one of a processor is hidden until somebody has thought about it.
//! Invariants: the result depends on the leaf, the processor's number and the machine only.
//! Concurrency: plain values.
//! Source: Intel SDM volume 2, "CPUID"; AMD64 manual volume 3, appendix E; Linux, Documentation/virt/kvm/x86/cpuid.

/// Four registers: eax, ebx, ecx, edx.
pub type Leaf = [u32; 4];

/// Leaves of the hypervisor.
const HYPERVISOR: u32 = 0x4000_0000;
/// The interface of this name tells a guest that it may use x2APIC mode without interrupt remapping.
const SIGNATURE: &[u8; 12] = b"KVMKVMKVM\0\0\0";
/// Features of that interface: port accesses need no delay; interrupts of devices may name more than 255 processors.
const NO_DELAY: u32 = 1 << 1;
const WIDE_DESTINATIONS: u32 = 1 << 15;

/// Leaf 1, ecx: SSE3, PCLMULQDQ, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, AES, RDRAND.
const ONE_ECX: u32 = 1 | 1 << 1 | 1 << 9 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 25 | 1 << 30;
/// x2APIC, TSC deadline, under a hypervisor.
const ONE_ECX_OURS: u32 = 1 << 21 | 1 << 24 | 1 << 31;
/// Leaf 1, edx: all that is old but MTRR (12), thermal sensors and the like (18, 21, 22, 28 up). Machine checks have no banks.
const ONE_EDX: u32 = 0x0789_EBFF & !(1 << 12 | 1 << 18);
/// Leaf 7, ebx: FSGSBASE, BMI1, SMEP, BMI2, ERMS, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB.
const SEVEN_EBX: u32 = 1 | 1 << 3 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 18 | 1 << 19 | 1 << 20 | 1 << 23 | 1 << 24;
/// Leaf 7, ecx: UMIP.
const SEVEN_ECX: u32 = 1 << 2;
/// Leaf 0x8000_0001, ecx: LAHF, LZCNT, SSE4a, misaligned SSE, PREFETCHW.
const EXTENDED_ECX: u32 = 1 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8;
/// Leaf 0x8000_0001, edx: as leaf 1 where AMD repeats it; SYSCALL, NX, MMX extensions, FXSAVE, 1 GiB pages, RDTSCP, 64 bits.
const EXTENDED_EDX: u32 = 0x0183_F3FF & ONE_EDX | 1 << 11 | 1 << 20 | 1 << 22 | 1 << 25 | 1 << 26 | 1 << 27 | 1 << 29;

/// The machine, as far as CPUID tells.
#[derive(Clone, Copy, Debug)]
pub struct Topology {
    /// Number of the asking processor.
    pub cpu: u32,
    /// How many there are.
    pub count: u32,
    /// Whether CR4.OSXSAVE is set.
    pub osxsave: bool,
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
            [max.clamp(1, 0xB), b, c, d]
        }
        1 => {
            let [a, b, c, d] = real();
            let threads = if count > 1 { 1 << 28 } else { 0 };
            let b = b & 0xFF00 | cpu << 24 | count.next_power_of_two() << 16;
            [a, b, c & ONE_ECX | ONE_ECX_OURS, d & ONE_EDX | threads]
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
            let [_, b, c, _] = real();
            [0, b & SEVEN_EBX, c & SEVEN_ECX, 0]
        }
        0xB => match subleaf {
            0 => [0, 1, 1 << 8, cpu],
            1 => [bits, count, 2 << 8 | 1, cpu],
            _ => [0, 0, subleaf & 0xFF, cpu],
        },
        HYPERVISOR => {
            let word = |at: usize| {
                SIGNATURE.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_le_bytes)
            };
            [HYPERVISOR + 1, word(0), word(4), word(8)]
        }
        0x4000_0001 => [NO_DELAY | WIDE_DESTINATIONS, 0, 0, 0],
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

    const TWO: Topology = Topology { cpu: 1, count: 2, osxsave: false };

    fn all(leaf: u32, subleaf: u32) -> Leaf {
        answer(|_, _| [u32::MAX; 4], leaf, subleaf, TWO)
    }

    #[test]
    fn what_the_machine_lacks_is_hidden_and_what_it_has_is_shown() {
        let [_, ebx, ecx, edx] = all(1, 0);
        assert_eq!(ebx >> 24, 1);
        for bit in [3, 5, 26, 27, 28] {
            assert_eq!(ecx & 1 << bit, 0, "ecx bit {bit}");
        }
        assert_eq!(edx & (1 << 12 | 1 << 22 | 1 << 29), 0);
        let none = answer(|_, _| [0; 4], 1, 0, TWO);
        assert_eq!(none[2], ONE_ECX_OURS);
        assert_eq!(all(0x8000_0001, 0)[2] & (1 << 2 | 1 << 22), 0, "no SVM, no topology leaves");
        assert_eq!(all(0x8000_0007, 0)[3], 1 << 8);
        assert_eq!(all(0xA, 0), [0; 4]);
    }

    #[test]
    fn the_topology_is_one_package_of_cores() {
        assert_eq!(all(0xB, 0), [0, 1, 0x100, 1]);
        assert_eq!(all(0xB, 1), [1, 2, 0x201, 1]);
        assert_eq!(all(0x8000_0008, 0)[2], 1 << 12 | 1);
    }
}
