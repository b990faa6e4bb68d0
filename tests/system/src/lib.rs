//! Boots real images and looks at them from outside.
//!
//! A case is a name and a function ([`case::Case`]); [`cases`] lists them all
//! and the binary of this package runs them, two at a time. Every machine a
//! case starts has a time limit and ends with the case. What can be decided
//! without a machine (reading the monitor's answers, building hostile boot
//! images) is pure and has host tests of its own.

pub mod bench;
pub mod boot;
pub mod c_root;
pub mod case;
pub mod conformance;
pub mod context;
pub mod failure;
pub mod guests;
pub mod hello;
pub mod hostile;
pub mod kernel;
pub mod layout;
pub mod linux_log;
pub mod micro;
pub mod runner;
pub mod shadow;
pub mod shell;
pub mod shim;
pub mod tlb;
pub mod vectors;

/// All cases, in the order in which they start.
pub fn cases() -> Vec<case::Case> {
    [
        layout::cases(),
        boot::cases(),
        failure::cases(),
        hello::cases(),
        guests::cases(),
        shell::cases(),
        micro::cases(),
        hostile::cases(),
        kernel::cases(),
        shadow::cases(),
        conformance::cases(),
        c_root::cases(),
        vectors::cases(),
        bench::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_unique_and_fit_for_file_names() {
        let names: Vec<_> = super::cases().into_iter().map(|case| case.name).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name} twice");
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
        }
    }
}
