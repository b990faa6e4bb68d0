//! Handlers: exceptions are survived where they are expected, interrupts are counted and acknowledged.
//!
//! Invariants: an exception that nobody expects ends the machine.
//! Concurrency: any processor; atomics.

use core::arch::{asm, global_asm};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::{apic, end, port, say};

/// Where to go on after a fault; 0 if none is expected. And the vector of the last one.
pub static RECOVER: AtomicU64 = AtomicU64::new(0);
/// See [`RECOVER`].
pub static FAULT: AtomicU64 = AtomicU64::new(0);
static COUNTS: [AtomicU64; 256] = [const { AtomicU64::new(0) }; 256];
static CONTROLLER: AtomicU64 = AtomicU64::new(0);
static NMI_EXPECTED: AtomicU64 = AtomicU64::new(0);
/// Exceptions with an error code.
const CODES: u32 = 1 << 8 | 0b11111 << 10 | 1 << 17 | 1 << 21;

global_asm!(
    ".balign 16", "interrupt_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    ".if (vector > 31) || ((({codes} >> vector) & 1) == 0)", "push 0", ".endif",
    "push vector", "jmp interrupt_common",
    ".set vector, vector + 1",
    ".endr",
    "interrupt_common:",
    "push rax", "push rcx", "push rdx", "push rsi", "push rdi", "push r8", "push r9", "push r10", "push r11",
    "mov rdi, rsp", "mov rbp, rbp", "push rbx", "mov rbx, rsp", "and rsp, -16",
    "call {handle}",
    "mov rsp, rbx", "pop rbx",
    "pop r11", "pop r10", "pop r9", "pop r8", "pop rdi", "pop rsi", "pop rdx", "pop rcx", "pop rax",
    "add rsp, 16", "iretq",
    codes = const CODES,
    handle = sym handle,
);

// SAFETY: defined above; only its address is used.
unsafe extern "C" {
    safe static interrupt_stubs: u8;
}

/// What is on the stack.
#[repr(C)]
struct Frame {
    registers: [u64; 9],
    vector: u64,
    code: u64,
    rip: u64,
}

/// Who wants to hear that an interrupt has been dealt with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Controller {
    /// Nobody.
    None,
    /// The local APIC.
    Apic,
    /// The first 8259A.
    Pic,
}

/// Says who it is from now on.
pub fn acknowledge(controller: Controller) {
    CONTROLLER.store(controller as u64, SeqCst);
}

/// How often interrupt `vector` came.
pub fn count(vector: u8) -> u64 {
    COUNTS[usize::from(vector)].load(SeqCst)
}

/// Counts non-maskable interrupts from now on.
pub fn expect_nmi() {
    NMI_EXPECTED.store(1, SeqCst);
}

extern "C" fn handle(frame: &mut Frame) {
    if frame.vector == 2 && NMI_EXPECTED.load(SeqCst) != 0 {
        COUNTS[2].fetch_add(1, SeqCst);
        return;
    }
    if frame.vector < 32 {
        let next = RECOVER.swap(0, SeqCst);
        if next == 0 {
            say(format_args!("exception {} at {:#x}, code {:#x}", frame.vector, frame.rip, frame.code));
            end(102);
        }
        FAULT.store(frame.vector, SeqCst);
        frame.rip = next;
        return;
    }
    COUNTS[frame.vector as usize & 255].fetch_add(1, SeqCst);
    match CONTROLLER.load(SeqCst) {
        1 => apic::end_of_interrupt(),
        2 => port::out8(0x20, 0x20),
        _ => {}
    }
}

#[repr(align(16))]
struct Table(UnsafeCell<[[u64; 2]; 256]>);
// SAFETY: written before the processor is told of it, by one processor.
unsafe impl Sync for Table {}
static TABLE: Table = Table(UnsafeCell::new([[0; 2]; 256]));

/// Loads the table of handlers, on the boot processor.
pub fn load() {
    for vector in 0..256 {
        let stub = (&raw const interrupt_stubs).addr() as u64 + 16 * vector;
        let low = stub & 0xFFFF | 0x10 << 16 | 0x8E00 << 32 | stub >> 16 << 48;
        // SAFETY: nobody else uses the table yet.
        unsafe { (*TABLE.0.get())[vector as usize] = [low, stub >> 32] };
    }
    attach();
}

/// Loads it on another processor.
pub fn attach() {
    #[repr(C, packed)]
    struct Pointer(u16, u64);
    let pointer = Pointer(0xFFF, TABLE.0.get() as u64);
    // SAFETY: the table lasts for ever.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer) };
}
