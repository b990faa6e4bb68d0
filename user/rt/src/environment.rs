//! What a root program is given at its start.
//!
//! Invariants: the information page was checked.
//! Concurrency: read-only.
//! Source: classic interface, "Boot, root task, HIP".

use abi::hip::{HipError, HipReader};

/// What the program finds when it starts.
#[derive(Clone, Copy, Debug)]
pub struct Environment {
    hip: HipReader<'static>,
    hip_address: u64,
    cpu: u32,
}

impl Environment {
    /// From the bytes of the information page, its virtual address and the number of the core.
    ///
    /// # Errors
    /// What is wrong with the page.
    pub fn new(hip: &'static [u8], hip_address: u64, cpu: u32) -> Result<Self, HipError> {
        Ok(Self { hip: HipReader::new(hip)?, hip_address, cpu })
    }

    /// The information page.
    #[must_use]
    pub const fn hip(&self) -> &HipReader<'static> {
        &self.hip
    }

    /// Virtual address of the information page in bytes.
    #[must_use]
    pub const fn hip_address(&self) -> u64 {
        self.hip_address
    }

    /// Number of the core that the program was started on.
    #[must_use]
    pub const fn cpu(&self) -> u32 {
        self.cpu
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::hip::{Features, HIP_ADDRESS, HIP_SIZE, HipWriter};

    #[test]
    fn a_page_that_is_none_makes_no_environment() {
        assert_eq!(Environment::new(&[0; 0x38], HIP_ADDRESS, 0).err(), Some(HipError::Signature));
    }

    #[test]
    fn the_program_sees_what_the_kernel_wrote() {
        let area = Box::leak(vec![0; HIP_SIZE].into_boxed_slice());
        let _ = HipWriter::new(area, Features::empty(), 2_000_000).map(HipWriter::finish);
        let environment = Environment::new(area, HIP_ADDRESS, 3);
        assert_eq!(environment.map(|e| (e.cpu(), e.hip().header().tsc_khz)), Ok((3, 2_000_000)));
    }
}
