//! Everything that is x86-64: instructions, control registers, local interrupt controller, entry and exit.
//!
//! Purpose: the only assembly of ring 0, and safe functions around it.
//! Invariants: 1. what the rest of the kernel gets is safe to call in any order that the types allow; what is not says
//! so in `# Safety`. 2. Interrupts are off except inside [`cpu::wait`]. 3. No vector register is touched but in
//! `vector_state`.
//! Concurrency: functions act on the core that calls them unless they say otherwise.
//! Source: AMD64 manual volumes 2 and 3; Intel SDM volume 3; design plan §3.
#![cfg_attr(not(test), no_std)]
// UNSAFETY: privileged instructions, assembly and device registers cannot be expressed otherwise; each block argues.
#![cfg_attr(target_os = "none", expect(unsafe_code, reason = "this crate is the hardware"))]

// What is arithmetic runs on the host as well; what is hardware exists on the bare machine only.
pub mod features;
pub mod gates;
pub mod ratio;
pub mod vector;

macro_rules! bare_metal {
    ($($module:ident)*) => { $(#[cfg(target_os = "none")] pub mod $module;)* };
}
bare_metal!(apic application boot capability clock control cpu descriptors entry exchange io_apic msr pic pool port provoke serial svm vector_state vmx window);
