//! What the processor can do.
//!
//! Purpose: CPUID is read once per core, here, and never on a hot path (lecture D:246-268).
//! Invariants: a feature is reported only if every part that the kernel uses is there.
//! Concurrency: [`Features::detect`] is about the core that calls it.
//! Source: AMD64 manual volume 3, appendix E; Intel SDM volume 2, CPUID.
use abi::arch_state::FPU_MAX_SIZE;
use raw_cpuid::{CpuId, CpuIdReader};

/// Features of a core that the kernel looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Global pages survive a change of address space.
    pub global_pages: bool,
    /// What is remembered of tables can be tagged (process-context identifiers), and global pages forgotten whatever the tag.
    pub tags: bool,
    /// Ring 0 cannot execute user pages.
    pub smep: bool,
    /// Ring 0 cannot access user pages.
    pub smap: bool,
    /// Ring 3 cannot read descriptor-table addresses.
    pub umip: bool,
    /// XSAVE and XCR0.
    pub xsave: bool,
    /// The local APIC has the MSR interface and 32-bit ids.
    pub x2apic: bool,
    /// The local APIC's timer takes absolute TSC values.
    pub tsc_deadline: bool,
    /// The TSC runs at a constant rate in all power states.
    pub invariant_tsc: bool,
    /// RDTSCP and IA32_TSC_AUX.
    pub tsc_aux: bool,
    /// AMD virtualisation with nested paging.
    pub svm: bool,
    /// Intel virtualisation.
    pub vmx: bool,
    /// Pages of 1 GiB.
    pub giant_pages: bool,
    /// Number of bits of a physical address, 36 to 52.
    pub physical_bits: u32,
    /// Frequency of the TSC in kHz where CPUID tells.
    pub tsc_khz: Option<u32>,
    /// Id of the core's local interrupt controller as CPUID tells it.
    pub apic_id: u32,
    /// Vector registers.
    pub vector_state: VectorState,
    /// Vendor string.
    pub vendor: Vendor,
    /// Family, model, stepping.
    pub signature: (u8, u8, u8),
}

/// Who made the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// GenuineIntel.
    Intel,
    /// AuthenticAMD (and HygonGenuine).
    Amd,
    /// Anybody else.
    Other,
}

/// What the vector registers are made of, and how they can be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VectorState {
    /// Components that XSAVE saves, as bits of XCR0. 0 without XSAVE: FXSAVE saves x87 and SSE.
    pub components: u64,
    /// Bytes of an image, at most [`FPU_MAX_SIZE`].
    pub size: u32,
    /// XSAVEOPT leaves out what is unchanged.
    pub optimised: bool,
    /// What is in the registers may be found out in spite of CR0.TS (CVE-2018-3665).
    pub leaks: bool,
    /// The x87 error pointers stay when state without a pending exception is loaded (CVE-2006-1056).
    pub keeps_pointers: bool,
}

/// x87 and SSE, AVX, and the three parts of AVX-512, as bits of XCR0.
const SSE: u64 = 3;
const AVX: u64 = 1 << 2;
const AVX_512: u64 = 7 << 5;
/// Size of an image of x87 and SSE in bytes, without and with the header of XSAVE.
const LEGACY_SIZE: u32 = 512;
const XSAVE_SIZE: u32 = 576;

impl VectorState {
    fn from_cpuid<R: CpuIdReader>(cpuid: &CpuId<R>, xsave: bool, vendor: Vendor) -> Self {
        let restores = cpuid.get_processor_capacity_feature_info().is_some_and(|c| c.has_restore_fp_error_ptrs());
        // AMD states that none of its processors has the lazy-FPU leak; of others that is not known.
        let (leaks, keeps_pointers) = (vendor != Vendor::Amd, vendor != Vendor::Intel && !restores);
        let found = cpuid.get_extended_state_info().filter(|_| xsave);
        let Some(info) = found else {
            return Self { components: 0, size: LEGACY_SIZE, optimised: false, leaks, keeps_pointers };
        };
        let offered = info.iter().fold(0_u64, |bits, part| bits | 1 << part.subleaf);
        let wide = if offered & (AVX | AVX_512) == AVX | AVX_512 { AVX_512 } else { 0 };
        let components = SSE | offered & AVX | wide;
        let saved = info.iter().filter(|part| components >> part.subleaf & 1 == 1);
        let size = saved.map(|part| part.offset().saturating_add(part.size())).fold(XSAVE_SIZE, u32::max);
        // What does not fit into a message is not offered.
        let (components, size) = if size as usize <= FPU_MAX_SIZE { (components, size) } else { (SSE, XSAVE_SIZE) };
        Self { components, size, optimised: info.has_xsaveopt(), leaks, keeps_pointers }
    }
}

impl Features {
    /// Asks the processor.
    pub fn detect() -> Self {
        Self::from_cpuid(&CpuId::new())
    }

    fn from_cpuid<R: CpuIdReader>(cpuid: &CpuId<R>) -> Self {
        let basic = cpuid.get_feature_info();
        let extended = cpuid.get_extended_feature_info();
        let amd = cpuid.get_extended_processor_and_feature_identifiers();
        let power = cpuid.get_advanced_power_mgmt_info();
        let sizes = cpuid.get_processor_capacity_feature_info();
        let has = |f: fn(&raw_cpuid::FeatureInfo) -> bool| basic.as_ref().is_some_and(f);
        let has_extended = |f: fn(&raw_cpuid::ExtendedFeatures) -> bool| extended.as_ref().is_some_and(f);
        let vendor = match cpuid.get_vendor_info().as_ref().map(raw_cpuid::VendorInfo::as_str) {
            Some("GenuineIntel") => Vendor::Intel,
            Some("AuthenticAMD" | "HygonGenuine") => Vendor::Amd,
            _ => Vendor::Other,
        };
        let xsave = has(raw_cpuid::FeatureInfo::has_xsave);
        Self {
            global_pages: has(raw_cpuid::FeatureInfo::has_pge),
            tags: has(raw_cpuid::FeatureInfo::has_pcid) && has(raw_cpuid::FeatureInfo::has_pge),
            smep: has_extended(raw_cpuid::ExtendedFeatures::has_smep),
            smap: has_extended(raw_cpuid::ExtendedFeatures::has_smap),
            umip: has_extended(raw_cpuid::ExtendedFeatures::has_umip),
            xsave,
            x2apic: has(raw_cpuid::FeatureInfo::has_x2apic),
            tsc_deadline: has(raw_cpuid::FeatureInfo::has_tsc_deadline),
            invariant_tsc: power.is_some_and(|p| p.has_invariant_tsc()),
            tsc_aux: amd.as_ref().is_some_and(raw_cpuid::ExtendedProcessorFeatureIdentifiers::has_rdtscp),
            svm: amd.as_ref().is_some_and(raw_cpuid::ExtendedProcessorFeatureIdentifiers::has_svm)
                && cpuid.get_svm_info().is_some_and(|s| s.has_nested_paging()),
            vmx: has(raw_cpuid::FeatureInfo::has_vmx),
            giant_pages: amd.as_ref().is_some_and(raw_cpuid::ExtendedProcessorFeatureIdentifiers::has_1gib_pages),
            physical_bits: sizes.map_or(36, |s| u32::from(s.physical_address_bits())).clamp(36, 52),
            tsc_khz: tsc_khz(cpuid),
            apic_id: apic_id(cpuid),
            vector_state: VectorState::from_cpuid(cpuid, xsave, vendor),
            vendor,
            signature: basic.as_ref().map_or((0, 0, 0), |b| (b.family_id(), b.model_id(), b.stepping_id())),
        }
    }
}

/// The 32-bit id of the extended topology leaf, else the 8-bit one.
fn apic_id<R: CpuIdReader>(cpuid: &CpuId<R>) -> u32 {
    let wide = cpuid.get_extended_topology_info().and_then(|mut levels| levels.next());
    let narrow = || cpuid.get_feature_info().map_or(0, |basic| u32::from(basic.initial_local_apic_id()));
    wide.filter(|level| level.processors() != 0).map_or_else(narrow, |level| level.x2apic_id())
}

/// The TSC's frequency as CPUID tells it: a hypervisor's leaf, else crystal and ratio.
fn tsc_khz<R: CpuIdReader>(cpuid: &CpuId<R>) -> Option<u32> {
    let told = cpuid.get_hypervisor_info().and_then(|h| h.tsc_frequency());
    let crystal = || cpuid.get_tsc_info().and_then(|t| t.tsc_frequency()).map(|hertz| (hertz / 1000) as u32);
    told.or_else(crystal).filter(|&khz| khz != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use raw_cpuid::CpuIdResult;

    fn leaf(eax: u32, ebx: u32, ecx: u32, edx: u32) -> CpuIdResult {
        CpuIdResult { eax, ebx, ecx, edx }
    }

    #[test]
    fn a_processor_that_tells_nothing_gets_no_feature() {
        let nothing = |_: u32, _: u32| leaf(0, 0, 0, 0);
        let found = Features::from_cpuid(&CpuId::with_cpuid_reader(nothing));
        assert!(!found.smep && !found.x2apic && !found.svm && !found.vmx);
        assert_eq!((found.physical_bits, found.tsc_khz, found.vendor), (36, None, Vendor::Other));
    }

    #[test]
    fn crystal_and_ratio_give_the_frequency() {
        let reader = |eax: u32, _: u32| match eax {
            0 => leaf(0x16, 0x756E_6547, 0x6C65_746E, 0x4965_6E69),
            0x15 => leaf(2, 250, 24_000_000, 0),
            7 => leaf(0, 1 << 7 | 1 << 20, 1 << 2, 0),
            _ => leaf(0, 0, 0, 0),
        };
        let found = Features::from_cpuid(&CpuId::with_cpuid_reader(reader));
        assert_eq!(found.tsc_khz, Some(3_000_000));
        assert_eq!((found.vendor, found.smep, found.smap, found.umip), (Vendor::Intel, true, true, true));
    }

    /// A processor of `vendor` (the three words of leaf 0) whose XCR0 has these bits and whose parts end 300 bytes apart.
    fn vectors(vendor: [u32; 3], xcr0: u32, pitch: u32) -> VectorState {
        let reader = move |eax: u32, ecx: u32| match (eax, ecx) {
            (0, _) => leaf(0xD, vendor[0], vendor[1], vendor[2]),
            (1, _) => leaf(0, 0, 1 << 26, 0),
            (0xD, 0) => leaf(xcr0, 0, 0, 0),
            (0xD, 1) => leaf(1, 0, 0, 0),
            (0xD, part) => leaf(64, 576 + (part - 2) * pitch, 0, 0),
            _ => leaf(0, 0, 0, 0),
        };
        Features::from_cpuid(&CpuId::with_cpuid_reader(reader)).vector_state
    }

    const INTEL: [u32; 3] = [0x756E_6547, 0x6C65_746E, 0x4965_6E69];
    const AMD: [u32; 3] = [0x6874_7541, 0x444D_4163, 0x6974_6E65];

    #[test]
    fn vector_components_are_those_that_the_kernel_knows_and_that_fit_into_a_message() {
        let of = |xcr0, pitch| {
            let state = vectors(INTEL, xcr0, pitch);
            (state.components, state.size)
        };
        assert_eq!(of(0x3, 0), (3, 576));
        assert_eq!(of(0x7, 0), (7, 640));
        // Bounds and protection keys are left out, and so is a part of AVX-512 without the others.
        assert_eq!(of(0x3FF, 100), (0xE7, 576 + 5 * 100 + 64));
        assert_eq!(of(0x67, 100), (7, 640));
        assert_eq!(of(0xE3, 100), (3, 576));
        assert_eq!(of(0xE7, 499), (0xE7, 3135));
        assert_eq!(of(0xE7, 500), (3, 576));
        assert_eq!(of(0xE7, u32::MAX / 8), (3, 576));
    }

    #[test]
    fn registers_may_stay_under_another_context_only_where_they_cannot_be_seen() {
        assert!(vectors(INTEL, 7, 0).leaks && !vectors(AMD, 7, 0).leaks && vectors([0, 0, 0], 7, 0).leaks);
        assert!(!vectors(INTEL, 7, 0).keeps_pointers && vectors(AMD, 7, 0).keeps_pointers);
    }

    #[test]
    fn without_xsave_there_is_the_legacy_image() {
        let nothing = |_: u32, _: u32| leaf(0, 0, 0, 0);
        let state = Features::from_cpuid(&CpuId::with_cpuid_reader(nothing)).vector_state;
        assert_eq!((state.components, state.size, state.optimised), (0, 512, false));
    }
}
