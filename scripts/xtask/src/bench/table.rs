//! The operations of the plan, with their targets and the figures of two other kernels.
//!
//! Invariants: names are unique; a figure is in instructions, measured on the same emulator by the same method.
//! Concurrency: constants.
//! Source: the plan's list of operations; measurements of NOVA 24.08 and of Genode's NOVA, release 10.

use clap::ValueEnum;
use std::fmt;

/// A group of operations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum)]
pub enum Group {
    /// Hypercalls, calls through portals, semaphores, faults as calls
    Ipc,
    /// Delegation and revocation on one core
    Memory,
    /// Revocation while other cores run the domain
    Shootdown,
    /// Creation and destruction of objects
    Objects,
    /// Exits of virtual CPUs
    Vm,
    /// From the first instruction to the root partition
    Boot,
}

impl Group {
    /// The name on the command line and in the program's output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ipc => "ipc",
            Self::Memory => "memory",
            Self::Shootdown => "shootdown",
            Self::Objects => "objects",
            Self::Vm => "vm",
            Self::Boot => "boot",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Its group.
    pub group: Group,
    /// Most instructions; `None`: reported only.
    pub target: Option<u64>,
    /// An operation of the same run, and at most so many hundredths of its figure.
    pub beside: Option<(&'static str, u64)>,
    /// Instructions of NOVA 24.08 (January 2024).
    pub nova: Option<u64>,
    /// Instructions of the NOVA that Genode uses (release 10, September 2024).
    pub genode: Option<u64>,
}

impl Entry {
    /// Also judged beside another operation of the same run: at most so many hundredths of its figure.
    const fn beside(self, name: &'static str, hundredths: u64) -> Self {
        Self { beside: Some((name, hundredths)), ..self }
    }

    /// The lower of its targets, in a run whose figures `value` gives.
    pub fn target(&self, value: impl Fn(&str) -> Option<u64>) -> Option<u64> {
        let beside = self.beside.and_then(|(name, hundredths)| Some(value(name)? * hundredths / 100));
        self.target.into_iter().chain(beside).min()
    }

    /// The better of the two other kernels.
    pub fn best_peer(&self) -> Option<u64> {
        self.nova.into_iter().chain(self.genode).min()
    }
}

/// No figure.
const NO: u64 = 0;

const fn entry(group: Group, name: &'static str, target: u64, nova: u64, genode: u64) -> Entry {
    const fn figure(value: u64) -> Option<u64> {
        if value == NO { None } else { Some(value) }
    }
    Entry { name, group, target: figure(target), beside: None, nova: figure(nova), genode: figure(genode) }
}

use Group::{Boot, Ipc, Memory, Objects, Shootdown, Vm};

/// All operations, by group: name, target, NOVA 24.08, Genode's NOVA.
pub const ENTRIES: &[Entry] = &[
    entry(Ipc, "null_hypercall", 45, 56, 80),
    entry(Ipc, "ipc_same_pd_1w", 160, 262, 548),
    entry(Ipc, "ipc_same_pd_8w", NO, 332, 632),
    entry(Ipc, "ipc_same_pd_64w", NO, 892, 1_304),
    entry(Ipc, "ipc_cross_pd_1w", 185, 282, 594),
    entry(Ipc, "ipc_cross_pd_8w", 200, 352, 678),
    entry(Ipc, "ipc_cross_pd_64w", 310, 912, 1_350),
    entry(Ipc, "sm_up", 80, 139, 155),
    entry(Ipc, "sm_down", 80, 143, 145),
    entry(Ipc, "sm_pingpong", 700, 3_911, 2_403),
    entry(Ipc, "ud_portal_same_pd", 200, 319, 572),
    entry(Ipc, "pf_portal_same_pd", 270, 537, 743),
    entry(Ipc, "pf_portal_cross_pd", 290, 557, 789),
    entry(Memory, "delegate_1x4k", 500, 961, 1_889),
    entry(Memory, "delegate_16x4k", 800, 11_506, 18_560),
    entry(Memory, "delegate_2x2m", 550, 1_494, 1_905),
    entry(Memory, "delegate_1024x4k_extent", 9_000, 720_130, 1_297_911),
    entry(Memory, "delegate_1024x4k_scattered", 80_000, 720_130, 1_297_911),
    entry(Memory, "revoke_1x4k", 500, 908, 3_833),
    entry(Memory, "revoke_16x4k", 900, 10_658, 37_992),
    entry(Memory, "revoke_2x2m", 600, 1_392, 3_849),
    entry(Memory, "revoke_1024x4k_extent", 12_000, 665_858, 2_431_817),
    entry(Memory, "revoke_1024x4k_scattered", 70_000, 665_858, 2_431_817),
    entry(Memory, "revoke_preemption_latency_1000", 3_000, NO, NO),
    entry(Memory, "revoke_preemption_latency_100000", 3_000, NO, NO),
    entry(Memory, "restrict_preemption_latency_1000", 3_000, NO, NO),
    entry(Memory, "restrict_preemption_latency_100000", 3_000, NO, NO),
    entry(Memory, "delegate_preemption_latency_1000", NO, NO, NO),
    entry(Memory, "delegate_preemption_latency_100000", NO, NO, NO),
    entry(Memory, "destroy_preemption_latency_1000", 3_000, NO, NO),
    entry(Shootdown, "revoke_1x4k_remote3_shared", 1_600, 4_822, 6_231),
    entry(Shootdown, "revoke_1x4k_remote3_untouched", 510, 4_822, 6_231).beside("revoke_1x4k", 102),
    entry(Shootdown, "private_churn_1", NO, NO, NO),
    entry(Shootdown, "private_churn_2", NO, NO, NO).beside("private_churn_1", 105),
    entry(Shootdown, "private_churn_4", NO, NO, NO).beside("private_churn_1", 105),
    entry(Shootdown, "private_churn_8", NO, NO, NO).beside("private_churn_1", 105),
    entry(Objects, "create_sm", 350, 601, 903),
    entry(Objects, "create_pt", 350, 677, 919),
    entry(Objects, "create_ec_local", 2_500, 24_642, 6_958),
    entry(Objects, "create_ec_global", 3_000, 29_990, NO),
    entry(Objects, "create_sc", 350, 426, NO),
    entry(Objects, "create_pd", 2_000, 82_571, 2_177),
    entry(Objects, "destroy_sm", 400, NO, 1_183),
    entry(Objects, "destroy_pt", 400, NO, 1_183),
    entry(Objects, "destroy_ec", 1_200, NO, 2_417),
    entry(Objects, "destroy_pd", 1_500, NO, 1_615),
    entry(Objects, "domain_cycle", 15_000, NO, NO),
    entry(Vm, "vmexit_cpuid", 380, NO, 797),
    entry(Vm, "vmexit_hlt", 380, NO, 797),
    entry(Vm, "vmexit_io", 380, NO, 797),
    entry(Vm, "vmexit_cpuid_gpr", 410, NO, 825),
    entry(Vm, "vmexit_hlt_gpr", 410, NO, 825),
    entry(Vm, "vmexit_io_gpr", 410, NO, 825),
    entry(Vm, "vmexit_cpuid_vmx", NO, NO, NO),
    entry(Vm, "vmexit_hlt_vmx", NO, NO, NO),
    entry(Vm, "vmexit_io_vmx", NO, NO, NO),
    entry(Vm, "vmexit_cpuid_gpr_vmx", NO, NO, NO),
    entry(Vm, "vmexit_hlt_gpr_vmx", NO, NO, NO),
    entry(Vm, "vmexit_io_gpr_vmx", NO, NO, NO),
    entry(Boot, "boot_to_root_1_core", NO, 30_900_000, 55_300_000),
    entry(Boot, "boot_to_root_4_cores", NO, 111_600_000, 123_000_000),
];

/// A machine that operations are measured on.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its cores.
    pub cores: u32,
    /// The groups that are measured on it.
    pub groups: &'static [Group],
    /// Only what is named so, as the program takes it.
    pub only: Option<&'static str>,
    /// Whether operations are loops on one core, in which a tracer finds events.
    pub loops: bool,
}

/// The machines, one after the other.
pub const BOOTS: [Setting; 3] = [
    Setting { cores: 1, groups: &[Ipc, Memory, Objects, Vm], only: None, loops: true },
    Setting { cores: 4, groups: &[Shootdown], only: Some("revoke_*"), loops: true },
    Setting { cores: 8, groups: &[Shootdown], only: Some("private_churn_*"), loops: false },
];

/// The entry of an operation.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_groups_stand_together() {
        for (index, entry) in ENTRIES.iter().enumerate() {
            assert!(ENTRIES[..index].iter().all(|other| other.name != entry.name), "{}", entry.name);
        }
        assert!(ENTRIES.windows(2).all(|pair| pair[0].group <= pair[1].group));
    }

    #[test]
    fn a_target_beside_another_operation_follows_its_figure() {
        let alone = |figure| move |name: &str| (name == "revoke_1x4k").then_some(figure);
        let untouched = find("revoke_1x4k_remote3_untouched").unwrap();
        assert_eq!(untouched.target(alone(450)), Some(459));
        assert_eq!((untouched.target(alone(1000)), untouched.target(|_| None)), (Some(510), Some(510)));
        assert_eq!(find("private_churn_8").unwrap().target(|_| Some(2000)), Some(2100));
        let besides = ENTRIES.iter().filter_map(|entry| entry.beside);
        assert!(besides.into_iter().all(|(name, hundredths)| find(name).is_some() && hundredths > 100));
    }

    #[test]
    fn every_target_is_below_the_better_peer_except_where_there_is_none() {
        for entry in ENTRIES {
            if let (Some(target), Some(peer)) = (entry.target, entry.best_peer()) {
                assert!(target < peer, "{}", entry.name);
            }
        }
    }
}
