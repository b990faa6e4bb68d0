//! The vector registers as a program sees them: patterns in all of them, and what has become of a pattern.
//!
//! The programs are built without vector registers, so what is in them stays there until these functions change it.
//! Invariants: x87, MXCSR and the sixteen XMM registers always; the wider ones as far as the kernel allows them.
//! Concurrency: the calling thread's registers; memory is atomics.
//! Source: AMD64 manual volume 2, §11.5.2 (the image of FXSAVE).
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// CPUID leaf 1, ECX: the kernel allows XSAVE.
const OSXSAVE: u32 = 1 << 27;

/// How wide the registers are that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// 16 XMM registers.
    Sse,
    /// 16 YMM registers.
    Avx,
    /// 32 ZMM registers and 8 masks.
    Avx512,
}

impl Class {
    /// What the processor has and the kernel allows.
    #[must_use]
    pub fn allowed() -> Self {
        const AVX: u32 = 1 << 28;
        const AVX_512F: u32 = 1 << 16;
        let basic = __cpuid(1).ecx;
        if basic & OSXSAVE == 0 {
            return Self::Sse;
        }
        let foundation = __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ebx & AVX_512F != 0;
        let components: u32;
        // SAFETY: reads a register that exists.
        unsafe { asm!("xgetbv", in("ecx") 0, out("eax") components, out("edx") _, options(nomem, nostack)) };
        match components {
            wide if wide & 0xE6 == 0xE6 && foundation => Self::Avx512,
            avx if avx & 6 == 6 && basic & AVX != 0 => Self::Avx,
            _ => Self::Sse,
        }
    }

    /// Words of a register, and number of registers.
    const fn extent(self) -> (usize, usize) {
        match self {
            Self::Sse => (2, 16),
            Self::Avx => (4, 16),
            Self::Avx512 => (8, 32),
        }
    }
}

/// Components whose registers are not in their initial state, as far as a program can know, without using them: bits of
/// XCR0 from SSE on.
#[must_use]
pub fn in_use() -> u64 {
    let components: u32;
    if __cpuid(1).ecx & OSXSAVE == 0 || __cpuid_count(0xD, 1).eax & 4 == 0 {
        return 0;
    }
    // SAFETY: reads what the processor says it can tell.
    unsafe { asm!("xgetbv", in("ecx") 1, out("eax") components, out("edx") _, options(nomem, nostack)) };
    u64::from(components) & 0xE6
}

/// Whether registers may hold state of others, unreachable: on AMD's processors; and under an emulator nobody knows.
#[must_use]
pub fn may_stay() -> bool {
    const HYPERVISOR: u32 = 1 << 31;
    __cpuid(0).ecx == u32::from_le_bytes(*b"cAMD") || __cpuid(1).ecx & HYPERVISOR != 0
}

/// Words of the image of FXSAVE: control, status and tag of x87; MXCSR; first of x87 and XMM registers.
const CONTROL: usize = 0;
const MXCSR: usize = 3;
const X87: usize = 4;
const XMM: usize = 20;
/// The bits that count in the first word: what follows is the last instruction's opcode.
const CONTROL_BITS: u64 = 0xFF_FFFF_FFFF;

/// Contents of all registers.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Registers {
    /// As FXSAVE writes it, and FXRSTOR reads it.
    pub legacy: [AtomicU64; 64],
    /// 32 registers of 8 words each.
    pub wide: [AtomicU64; 256],
    masks: [AtomicU64; 8],
}

impl Registers {
    /// All zeros, which no processor starts with: see [`Self::set_initial`].
    #[must_use]
    pub const fn new() -> Self {
        Self {
            legacy: [const { AtomicU64::new(0) }; 64],
            wide: [const { AtomicU64::new(0) }; 256],
            masks: [const { AtomicU64::new(0) }; 8],
        }
    }

    fn words(&self) -> impl Iterator<Item = &AtomicU64> {
        self.legacy.iter().chain(&self.wide).chain(&self.masks)
    }

    /// What a context starts with.
    pub fn set_initial(&self) {
        self.words().for_each(|word| word.store(0, Relaxed));
        self.legacy[CONTROL].store(0x37F, Relaxed);
        self.legacy[MXCSR].store(0x1F80, Relaxed);
    }

    /// A value for each register that no other has, for this seed.
    pub fn set_pattern(&self, seed: u64) {
        let value = |index: u64| (seed << 32 | (index + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.set_initial();
        self.legacy[CONTROL].store(0xFF << 32 | 0x37F | (seed & 3) << 10, Relaxed);
        self.legacy[MXCSR].store(0x1F80 | (seed & 3) << 13, Relaxed);
        for index in 0..8 {
            self.legacy[X87 + 2 * index].store(value(1000 + index as u64) | 1 << 63, Relaxed);
            self.legacy[X87 + 2 * index + 1].store(0x3FFF + index as u64, Relaxed);
            self.masks[index].store(value(2000 + index as u64) & 0xFFFF, Relaxed);
        }
        for (index, word) in self.wide.iter().enumerate() {
            word.store(value(index as u64), Relaxed);
        }
        for index in 0..32 {
            let low = &self.wide[index / 2 * 8 + index % 2];
            self.legacy[XMM + index].store(low.load(Relaxed), Relaxed);
        }
    }

    /// Loads the registers.
    pub fn load(&self, class: Class) {
        let (legacy, wide, masks) = (self.legacy.as_ptr(), self.wide.as_ptr(), self.masks.as_ptr());
        // SAFETY: nothing else uses these registers; the image is of this type, and reserved bits are 0.
        unsafe {
            asm!("fxrstor64 [{}]", in(reg) legacy, options(nostack, readonly));
            match class {
                Class::Sse => {}
                Class::Avx => asm!(
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", "vmovups ymm\\n, [{} + \\n * 64]", ".endr",
                    in(reg) wide, options(nostack, readonly)
                ),
                Class::Avx512 => asm!(
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                    "vmovups zmm\\n, [{} + \\n * 64]", ".endr",
                    ".irp n,0,1,2,3,4,5,6,7", "kmovw k\\n, [{} + \\n * 8]", ".endr",
                    in(reg) wide, in(reg) masks, options(nostack, readonly)
                ),
            }
        }
    }

    /// Stores the registers, which keep their values.
    pub fn store(&self, class: Class) {
        let (legacy, wide, masks) = (self.legacy.as_ptr(), self.wide.as_ptr(), self.masks.as_ptr());
        // SAFETY: as for `load`; the memory is ours.
        unsafe {
            asm!("fxsave64 [{}]", in(reg) legacy, options(nostack));
            match class {
                Class::Sse => {}
                Class::Avx => asm!(
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15", "vmovups [{} + \\n * 64], ymm\\n", ".endr",
                    in(reg) wide, options(nostack)
                ),
                Class::Avx512 => asm!(
                    ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31",
                    "vmovups [{} + \\n * 64], zmm\\n", ".endr",
                    ".irp n,0,1,2,3,4,5,6,7", "kmovw [{} + \\n * 8], k\\n", ".endr",
                    in(reg) wide, in(reg) masks, options(nostack)
                ),
            }
        }
    }

    /// In how many words the two differ, among those that programs of this class can see.
    #[must_use]
    pub fn difference(&self, other: &Self, class: Class) -> u64 {
        let unlike = |mine: &AtomicU64, others: &AtomicU64, mask: u64| {
            u64::from((mine.load(Relaxed) ^ others.load(Relaxed)) & mask != 0)
        };
        let (words, registers) = class.extent();
        let legacy = (0..XMM + 32).map(|index| {
            let mask = match index {
                CONTROL => CONTROL_BITS,
                MXCSR => 0xFFFF_FFFF,
                1 | 2 => 0,
                X87..XMM if index % 2 == 1 => 0xFFFF,
                _ => u64::MAX,
            };
            unlike(&self.legacy[index], &other.legacy[index], mask)
        });
        let wide = (0..256).filter(|index| class != Class::Sse && index % 8 < words && index / 8 < registers);
        let wide = wide.map(|index| unlike(&self.wide[index], &other.wide[index], u64::MAX));
        let masks = self.masks.iter().zip(&other.masks).filter(|_| class == Class::Avx512);
        legacy.chain(wide).chain(masks.map(|(mine, others)| unlike(mine, others, u64::MAX))).sum()
    }
}

impl Default for Registers {
    fn default() -> Self {
        Self::new()
    }
}
