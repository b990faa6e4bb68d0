//! Descriptor tables: loading a core's own, and the one interrupt table of the machine.
//!
//! Purpose: segments, task state and the 256 gates.
//! Invariants: the interrupt table is complete before it is loaded and lies in a section that the final page tables
//! map read-only. #DF, NMI, #DB and #MC run on interrupt stacks 1 to 4.
//! Concurrency: [`build_gates`] runs once, on the boot core, before other cores are started.
//! Source: AMD64 manual volume 2, §4.8.4 (gates), §8.9.4 (IST); `docs/src/decisions/0008-vectors.md`.
use crate::entry;
use crate::gates::gate;
use core::cell::UnsafeCell;
use memory::layout::CORE_LOCAL;
use percpu::{CoreLocal, SELECTOR_TSS, TaskState, descriptor_table};
use x86::dtables::{DescriptorTablePointer, lgdt, lidt};
use x86::segmentation::{SegmentSelector, load_cs, load_ds, load_es, load_fs, load_gs, load_ss};

#[repr(C, align(4096))]
struct Gates(UnsafeCell<[[u64; 2]; 256]>);

// SAFETY: written by `build_gates` only, on one core, before the others start; read by the processor afterwards.
unsafe impl Sync for Gates {}

// SAFETY: an ordinary writable section of the image until boot seals it, and nothing is written afterwards.
#[unsafe(link_section = ".sealed")]
static GATES: Gates = Gates(UnsafeCell::new([[0; 2]; 256]));

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
    let page = percpu::this();
    let task = CORE_LOCAL + core::mem::offset_of!(CoreLocal, task) as u64;
    page.task.set(TaskState::new(task));
    for (slot, value) in page.gdt.iter().zip(descriptor_table(task)) {
        slot.set(value);
    }
    let gdt = CORE_LOCAL + core::mem::offset_of!(CoreLocal, gdt) as u64;
    let gdt = DescriptorTablePointer { limit: size_of_val(&page.gdt) as u16 - 1, base: gdt as *const u64 };
    let idt = DescriptorTablePointer { limit: 4095, base: GATES.0.get() as *const u64 };
    // SAFETY: the tables were just filled and stay where they are; the selectors name entries of the right kind. Null
    // selectors in DS, ES, FS and GS give flat segments with base 0 in 64-bit mode.
    unsafe {
        lgdt(&gdt);
        lidt(&idt);
        load_cs(SegmentSelector::from_raw(0x08));
        load_ss(SegmentSelector::from_raw(0x10));
        load_ds(SegmentSelector::from_raw(0));
        load_es(SegmentSelector::from_raw(0));
        load_fs(SegmentSelector::from_raw(0));
        load_gs(SegmentSelector::from_raw(0));
        x86::task::load_tr(SegmentSelector::from_raw(SELECTOR_TSS));
        x86::msr::wrmsr(x86::msr::IA32_FS_BASE, 0);
        x86::msr::wrmsr(x86::msr::IA32_GS_BASE, 0);
        x86::msr::wrmsr(x86::msr::IA32_KERNEL_GSBASE, 0);
    }
}

/// Makes traps from ring 3 push into `frame`, and SYSCALL store there.
///
/// # Safety
/// `frame` stays valid, and is not used otherwise, until another frame is set on this core.
pub unsafe fn set_frame(frame: *mut crate::frame::Frame) {
    let page = percpu::this();
    let mut task = page.task.get();
    let [_, rsp1, rsp2] = task.rsp;
    task.rsp = [frame.addr() as u64 + size_of::<crate::frame::Frame>() as u64, rsp1, rsp2];
    page.task.set(task);
    page.local.frame.set(frame.addr() as u64);
}
