//! Reports of faults of the kernel itself.
//!
//! Purpose: what, where, which core, registers and raw stack, in lines that the host tool symbolises.
//! Invariants: reads only stack pages that are mapped; a fault within a report stops the machine at once.
//! Concurrency: any core, in any state in which the log works.
//! Source: design plan §5 (contract of the log).
use crate::log::error;
use crate::stop;
use abi::address::PAGE_SIZE;
use abi::event::Exception;
use core::fmt;
use memory::layout;
use objects::frame::Frame;

/// Words of the stack that are shown.
const WORDS: u64 = 96;

/// Name of the event with this vector, short and long.
pub fn name(vector: u64) -> (&'static str, &'static str) {
    match u8::try_from(vector).ok().and_then(Exception::new) {
        Some(exception) => (exception.mnemonic(), exception.words()),
        None => ("interrupt", "unexpected"),
    }
}

/// Counts reports of this core: a fault within a report ends the machine, and one within that ends the core silently.
pub fn begin() {
    let faults = &percpu::this().local.faults;
    faults.set(faults.get() + 1);
    match faults.get() {
        1 => {}
        2 => stop::machine(stop::FAULT, format_args!("a fault within a fault report")),
        _ => arch::cpu::halt(),
    }
}

/// Reports a fault in ring 0 and stops the machine.
pub fn kernel_fault(frame: &Frame) -> ! {
    let local = &percpu::this().local;
    begin();
    let (short, long) = name(frame.vector.get());
    error!("kernel fault: {short} {long} at rip={:#x}, core {}", frame.rip.get(), local.id.get());
    let address = arch::cpu::fault_address();
    if frame.vector.get() == u64::from(Exception::PAGE_FAULT.vector()) {
        error!("address {address:#x}, error {:#x} ({})", frame.error.get(), access(frame.error.get()));
    } else {
        error!("error {:#x}, last page fault at {address:#x}", frame.error.get());
    }
    if below_a_stack(address) {
        error!("kernel stack overflow: {address:#x} is in the guard page below a stack");
    }
    registers(frame);
    stack(frame.rsp.get());
    stop::machine(stop::FAULT, format_args!("kernel fault {short}"))
}

/// What the bits of a page fault's error code say.
pub fn access(error: u64) -> &'static str {
    match (error & 0x10 != 0, error & 2 != 0, error & 1 != 0) {
        (true, _, false) => "fetch from an unmapped page",
        (true, _, true) => "fetch without execute right",
        (false, true, false) => "store to an unmapped page",
        (false, true, true) => "store without write right",
        (false, false, false) => "load from an unmapped page",
        (false, false, true) => "load without right",
    }
}

fn below_a_stack(address: u64) -> bool {
    let guard = |bottom: u64| (bottom - PAGE_SIZE..bottom).contains(&address);
    let interrupt = |ist| layout::interrupt_stack_top(ist) - layout::INTERRUPT_STACK_PAGES * PAGE_SIZE;
    guard(layout::STACK_BOTTOM) || (1..=layout::INTERRUPT_STACKS).any(|ist| guard(interrupt(ist)))
}

/// Shows the registers in `frame`.
fn registers(frame: &Frame) {
    const NAMES: [&str; 19] = [
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
        "rip", "cs", "fl",
    ];
    let Frame { rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, .. } = frame;
    let Frame { r8, r9, r10, r11, r12, r13, r14, r15, rip, cs, rflags, .. } = frame;
    let values = [rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, rip, cs, rflags];
    for (names, values) in NAMES.chunks(4).zip(values.chunks(4)) {
        let row = names.iter().zip(values);
        error!(
            "{}",
            fmt::from_fn(|f| row.clone().try_for_each(|(name, value)| write!(f, "{name:3} {:016x}  ", value.get())))
        );
    }
    error!("cr3 {:016x}", arch::cpu::root().get());
}

/// Shows the stack from `pointer` on, as far as it lies in the kernel stack of this core.
pub fn stack(pointer: u64) {
    let start = pointer.clamp(layout::STACK_BOTTOM, layout::STACK_TOP).next_multiple_of(8);
    let end = layout::STACK_TOP.min(start + WORDS * 8);
    for row in (start..end.saturating_sub(31)).step_by(32) {
        let word = |index: u64| {
            let address = core::ptr::with_exposed_provenance::<u64>((row + index * 8) as usize);
            // SAFETY: within this core's kernel stack, which is mapped; a word that changes meanwhile does no harm.
            unsafe { address.read_volatile() }
        };
        error!("stack {row:#x}: {:016x} {:016x} {:016x} {:016x}", word(0), word(1), word(2), word(3));
    }
}
