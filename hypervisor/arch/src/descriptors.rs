//! Descriptor tables: loading a core's own, and the one interrupt table of the machine.
//!
//! Purpose: segments, task state and the 256 gates.
//! Invariants: the interrupt table is complete before it is loaded and lies in a section that the final page tables
//! map read-only. #DF, NMI, #DB and #MC run on interrupt stacks 1 to 4.
//! Concurrency: [`build_gates`] runs once, on the boot core, before other cores are started.
//! Source: AMD64 manual volume 2, §4.8.4 (gates), §8.9.4 (IST); `docs/src/decisions/0008-vectors.md`.
use crate::entry;
use objects::frame::{Frame, USER_DATA};
use crate::gates::gate;
use core::cell::UnsafeCell;
use memory::layout::CORE_LOCAL;
use percpu::{CoreLocal, GDT_ENTRIES, SELECTOR_TSS, TaskState, descriptor_table};
use x86::dtables::{DescriptorTablePointer, lgdt, lidt};
use x86::segmentation::{SegmentSelector, load_cs, load_ds, load_es, load_fs, load_gs, load_ss};

#[repr(C, align(4096))]
struct Gates(UnsafeCell<[[u64; 2]; 256]>);

// SAFETY: written by `build_gates` only, on one core, before the others start; read by the processor afterwards.
unsafe impl Sync for Gates {}

// SAFETY: an ordinary writable section of the image until boot seals it, and nothing is written afterwards.
#[unsafe(link_section = ".sealed")]
static GATES: Gates = Gates(UnsafeCell::new([[0; 2]; 256]));

/// Address of the interrupt table.
pub fn gates() -> u64 {
    GATES.0.get().addr() as u64
}

/// Fills the interrupt table.
///
/// # Safety
/// Called once, by the boot core, before any other core runs.
pub unsafe fn build_gates() {
    // SAFETY: nobody else has a reference, see the caller's duty.
    let gates = unsafe { &mut *GATES.0.get() };
    for (vector, slot) in (0..=255).zip(gates) {
        *slot = gate(vector, entry::stub(vector));
    }
}

/// Fills and loads this core's descriptor table and task state, and the machine's interrupt table.
///
/// # Safety
/// The interrupt table is built, and this core's core-local page and stacks are mapped at their final addresses.
pub unsafe fn load() {
    let task = CORE_LOCAL + CoreLocal::TASK as u64;
    // SAFETY: nothing of it is loaded yet.
    unsafe { percpu::this().set_descriptors(descriptor_table(task), TaskState::new(task)) };
    let base = core::ptr::with_exposed_provenance((CORE_LOCAL as usize) + CoreLocal::GDT);
    let gdt = DescriptorTablePointer::<u64> { limit: GDT_ENTRIES as u16 * 8 - 1, base };
    let idt = DescriptorTablePointer { limit: 4095, base: GATES.0.get() as *const u64 };
    // SAFETY: the tables were just filled and stay where they are; the selectors name entries of the right kind. DS and
    // ES are what ring 3 expects to find, the kernel does not use them; FS and GS have base 0. Without a local
    // descriptor table, SYSENTER and breakpoints ring 3 has no other way in than those the kernel made: reset leaves a
    // present LDT of 64 KiB at address 0.
    unsafe {
        lgdt(&gdt);
        lidt(&idt);
        load_cs(SegmentSelector::from_raw(0x08));
        load_ss(SegmentSelector::from_raw(0x10));
        load_ds(SegmentSelector::from_raw(USER_DATA as u16));
        load_es(SegmentSelector::from_raw(USER_DATA as u16));
        load_fs(SegmentSelector::from_raw(0));
        load_gs(SegmentSelector::from_raw(0));
        x86::dtables::load_ldtr(SegmentSelector::from_raw(0));
        x86::task::load_tr(SegmentSelector::from_raw(SELECTOR_TSS));
        crate::msr::set(x86::msr::IA32_SYSENTER_CS, 0);
        x86::debugregs::dr7_write(x86::debugregs::Dr7(0x400));
        crate::msr::set(x86::msr::IA32_FS_BASE, 0);
        crate::msr::set(x86::msr::IA32_GS_BASE, 0);
        crate::msr::set(x86::msr::IA32_KERNEL_GSBASE, 0);
    }
}

/// Makes traps from ring 3 push into `frame`, and SYSCALL store there.
///
/// # Safety
/// `frame` stays valid, and is not used otherwise, until another frame is set on this core.
pub unsafe fn set_frame(frame: &Frame) {
    let start = core::ptr::from_ref(frame).addr() as u64;
    // SAFETY: the caller's promise.
    unsafe { percpu::this().set_frame(start, start + size_of::<Frame>() as u64) };
}
