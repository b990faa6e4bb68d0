//! The task state segment and the descriptor table of a core.
//!
//! Purpose: the values; loading them is the business of `arch`.
//! Invariants: selectors are those of the interface (code 0x1b/0x2b, data 0x23 in ring 3); the task state's limit
//! covers the I/O bitmap of two pages and the all-ones byte after it.
//! Concurrency: plain values.
//! Source: AMD64 manual volume 2, §4.8 (descriptors) and §12.2.5 (64-bit TSS); interface §1; trap T8.
use memory::layout::{IO_BITMAP, interrupt_stack_top};

/// Entries of the global descriptor table: null, kernel code and data, user code, data, code, and the task state's two.
pub const GDT_ENTRIES: usize = 8;
/// Selector of the task state.
pub const SELECTOR_TSS: u16 = 0x30;

/// The 64-bit task state segment, 104 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, packed(4))]
pub struct TaskState {
    reserved0: u32,
    /// Stack pointers for rings 0 to 2; the first is the end of the current context's register frame.
    pub rsp: [u64; 3],
    reserved1: u64,
    /// Interrupt stacks 1 to 7.
    pub ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    /// Offset of the I/O permission bitmap from the task state.
    pub io_map: u16,
}

const _: () = assert!(size_of::<TaskState>() == 104);

impl TaskState {
    /// The task state of a core whose task state is at `base`: interrupt stacks 1 to 4 and the I/O bitmap.
    pub const fn new(base: u64) -> Self {
        let ist =
            [interrupt_stack_top(1), interrupt_stack_top(2), interrupt_stack_top(3), interrupt_stack_top(4), 0, 0, 0];
        let io_map = (IO_BITMAP - base) as u16;
        Self { reserved0: 0, rsp: [0; 3], reserved1: 0, ist, reserved2: 0, reserved3: 0, io_map }
    }
}

/// The global descriptor table of a core whose task state is at `task`.
pub const fn descriptor_table(task: u64) -> [u64; GDT_ENTRIES] {
    // Offset of the last byte: the first one after the two pages of the bitmap.
    let limit = IO_BITMAP + 0x2000 - task;
    let low = (limit & 0xFFFF)
        | (task & 0xFF_FFFF) << 16
        | 0x89 << 40
        | (limit >> 16 & 0xF) << 48
        | (task >> 24 & 0xFF) << 56;
    [
        0,
        0x00AF_9B00_0000_FFFF, // 0x08 kernel code, 64-bit
        0x00CF_9300_0000_FFFF, // 0x10 kernel data
        0x00AF_FB00_0000_FFFF, // 0x18 user code, 64-bit (IRETQ)
        0x00CF_F300_0000_FFFF, // 0x20 user data
        0x00AF_FB00_0000_FFFF, // 0x28 user code, 64-bit (SYSRET)
        low,                   // 0x30 task state
        task >> 32,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_the_task_state_covers_port_0xffff_and_the_byte_after() {
        let base = 0xFFFF_FFFF_BFFF_FF98;
        let table = descriptor_table(base);
        let limit = table[6] & 0xFFFF | (table[6] >> 48 & 0xF) << 16;
        let io_map = u64::from(TaskState::new(base).io_map);
        assert_eq!(base + io_map, IO_BITMAP);
        assert_eq!(limit, io_map + 0x2000, "the byte at 0x2000 of the bitmap is the last one inside");
    }

    #[test]
    fn the_task_state_descriptor_spells_its_base() {
        let base = 0xFFFF_FFFF_BFFF_FF98u64;
        let table = descriptor_table(base);
        let found = table[6] >> 16 & 0xFF_FFFF | (table[6] >> 56) << 24 | table[7] << 32;
        assert_eq!(found, base);
    }
}
