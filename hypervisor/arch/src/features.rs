//! What the processor can do.
//!
//! Purpose: CPUID is read once per core, here, and never on a hot path (lecture D:246-268).
//! Invariants: a feature is reported only if every part that the kernel uses is there.
//! Concurrency: [`Features::detect`] is about the core that calls it.
//! Source: AMD64 manual volume 3, appendix E; Intel SDM volume 2, CPUID.
use raw_cpuid::{CpuId, CpuIdReader};

/// Features of a core that the kernel looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Global pages survive a change of address space.
    pub global_pages: bool,
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
    /// Number of bits of a physical address, 36 to 52.
    pub physical_bits: u32,
    /// Frequency of the TSC in kHz where CPUID tells.
    pub tsc_khz: Option<u32>,
    /// Id of the core's local interrupt controller as CPUID tells it.
    pub apic_id: u32,
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

impl Features {
    /// Asks the processor.
    #[must_use]
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
        Self {
            global_pages: has(raw_cpuid::FeatureInfo::has_pge),
            smep: has_extended(raw_cpuid::ExtendedFeatures::has_smep),
            smap: has_extended(raw_cpuid::ExtendedFeatures::has_smap),
            umip: has_extended(raw_cpuid::ExtendedFeatures::has_umip),
            xsave: has(raw_cpuid::FeatureInfo::has_xsave),
            x2apic: has(raw_cpuid::FeatureInfo::has_x2apic),
            tsc_deadline: has(raw_cpuid::FeatureInfo::has_tsc_deadline),
            invariant_tsc: power.is_some_and(|p| p.has_invariant_tsc()),
            tsc_aux: amd.as_ref().is_some_and(raw_cpuid::ExtendedProcessorFeatureIdentifiers::has_rdtscp),
            svm: amd.as_ref().is_some_and(raw_cpuid::ExtendedProcessorFeatureIdentifiers::has_svm)
                && cpuid.get_svm_info().is_some_and(|s| s.has_nested_paging()),
            vmx: has(raw_cpuid::FeatureInfo::has_vmx),
            physical_bits: sizes.map_or(36, |s| u32::from(s.physical_address_bits())).clamp(36, 52),
            tsc_khz: tsc_khz(cpuid),
            apic_id: apic_id(cpuid),
            vendor: match cpuid.get_vendor_info().as_ref().map(raw_cpuid::VendorInfo::as_str) {
                Some("GenuineIntel") => Vendor::Intel,
                Some("AuthenticAMD" | "HygonGenuine") => Vendor::Amd,
                _ => Vendor::Other,
            },
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
}
