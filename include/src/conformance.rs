//! What every hypercall can answer: the table that the conformance suite is measured by.
//!
//! A row is a hypercall, a form of it (a sub-operation, or a way of using it) and a status, with the reason for which the
//! status comes. The suite has to produce every row that its machine can reach, and no other status.
//! Invariants: no row twice; every hypercall and every sub-operation of [`crate::operation`] is there; each form has a row
//! for success.
//! Concurrency: constants.
//! Source: classic interface, "Hypercalls" and "Kernel memory quota and OOM portal".

mod table;

pub use table::TRIPLES;

use crate::hypercall::Hypercall;
use crate::status::Status;

/// Which machines can produce a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// All.
    Always,
    /// Those with at least two cores.
    Cores,
    /// Those whose information page announces virtual CPUs, VMX or SVM.
    Virtual,
    /// Those whose information page announces none.
    NotVirtual,
    /// Those with virtual CPUs and at least two cores.
    VirtualCores,
    /// Those whose information page announces an IOMMU.
    Iommu,
    /// None of those that the suite runs on; the row says why.
    Never,
}

/// The machine that the suite runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Equipment {
    /// Number of cores that run.
    pub cores: usize,
    /// Virtual CPUs are announced.
    pub virtual_cpus: bool,
    /// An IOMMU is announced.
    pub iommu: bool,
}

impl Reach {
    /// Whether a machine with this equipment has to produce the row.
    #[must_use]
    pub const fn includes(self, machine: Equipment) -> bool {
        match self {
            Self::Always => true,
            Self::Cores => machine.cores > 1,
            Self::Virtual => machine.virtual_cpus,
            Self::NotVirtual => !machine.virtual_cpus,
            Self::VirtualCores => machine.virtual_cpus && machine.cores > 1,
            Self::Iommu => machine.iommu,
            Self::Never => false,
        }
    }
}

/// One row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Triple {
    /// Which hypercall.
    pub hypercall: Hypercall,
    /// Which form of it: a word, unique within the hypercall.
    pub form: &'static str,
    /// What it answers.
    pub status: Status,
    /// Where.
    pub reach: Reach,
    /// When, or for [`Reach::Never`] why it cannot be produced.
    pub reason: &'static str,
}

impl Hypercall {
    /// The short name of the classic interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Reply => "reply",
            Self::CreateDomain => "create_pd",
            Self::CreateContext => "create_ec",
            Self::CreateScheduling => "create_sc",
            Self::CreatePortal => "create_pt",
            Self::CreateSemaphore => "create_sm",
            Self::Revoke => "revoke",
            Self::Misc => "misc",
            Self::ControlContext => "ec_ctrl",
            Self::ControlScheduling => "sc_ctrl",
            Self::ControlPortal => "pt_ctrl",
            Self::ControlSemaphore => "sm_ctrl",
            Self::AssignPci => "assign_pci",
            Self::AssignInterrupt => "assign_gsi",
            Self::ControlDomain => "pd_ctrl",
        }
    }
}

/// Number of the row in [`TRIPLES`]; `None` if there is no such row.
#[must_use]
pub fn find(hypercall: Hypercall, form: &str, status: Status) -> Option<usize> {
    TRIPLES.iter().position(|row| row.hypercall == hypercall && row.form == form && row.status == status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{ContextControl, DomainControl, Misc, SchedulingControl};

    fn forms(hypercall: Hypercall) -> Vec<&'static str> {
        let mut forms: Vec<_> = TRIPLES.iter().filter(|row| row.hypercall == hypercall).map(|row| row.form).collect();
        forms.dedup();
        forms
    }

    #[test]
    fn conformance_rows_are_unique_and_in_order() {
        for (index, row) in TRIPLES.iter().enumerate() {
            assert_eq!(find(row.hypercall, row.form, row.status), Some(index), "{row:?} stands twice");
        }
        let key = |row: &Triple| row.hypercall.number();
        assert!(TRIPLES.is_sorted_by_key(key));
    }

    #[test]
    fn conformance_forms_stand_together_and_each_can_succeed_or_is_free() {
        for hypercall in Hypercall::ALL {
            let forms = forms(hypercall);
            assert!(!forms.is_empty(), "{hypercall:?} is missing");
            for (index, form) in forms.iter().enumerate() {
                assert!(!forms[..index].contains(form), "{hypercall:?} {form} stands in two places");
                let status = if *form == "free" { Status::BadParameter } else { Status::Success };
                assert!(find(hypercall, form, status).is_some(), "{hypercall:?} {form} has no row for {status}");
            }
        }
    }

    #[test]
    fn conformance_covers_every_sub_operation() {
        // As many forms as the decoders know operations, and one for the numbers that they do not know.
        let known = |decodes: fn(u8) -> bool| (0..16).filter(|&flags| decodes(flags)).count();
        assert_eq!(forms(Hypercall::Misc).len(), known(|flags| Misc::from_flags(flags).is_some()) + 1);
        let operations = known(|flags| ContextControl::from_flags(flags).is_some());
        assert_eq!(forms(Hypercall::ControlContext).len(), operations + 1);
        let operations = known(|flags| SchedulingControl::from_flags(flags).is_some());
        assert_eq!(forms(Hypercall::ControlScheduling).len(), operations);
        let operations = known(|flags| DomainControl::from_flags(flags).is_some());
        assert_eq!(forms(Hypercall::ControlDomain).len(), operations);
    }

    #[test]
    fn conformance_reasons_are_words_and_forms_are_one() {
        for row in TRIPLES {
            assert!(row.reason.len() > 8 && !row.reason.ends_with('.'), "{row:?}");
            assert!(row.form.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{row:?}");
        }
    }

    #[test]
    fn conformance_reach_depends_on_the_equipment() {
        let small = Equipment { cores: 1, virtual_cpus: false, iommu: false };
        let large = Equipment { cores: 4, virtual_cpus: true, iommu: true };
        let reached = |machine| TRIPLES.iter().filter(|row| row.reach.includes(machine)).count();
        assert!(reached(small) > 60, "{}", reached(small));
        assert!(reached(large) > reached(small));
        assert!(TRIPLES.iter().all(|row| row.reach != Reach::Never || !row.reach.includes(large)));
    }
}
