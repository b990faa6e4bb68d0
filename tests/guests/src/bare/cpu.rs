//! Instructions, among them those that fault.
//!
//! Invariants: an instruction that faults is left behind: the handler of [`super::interrupts`] goes on after it.
//! Concurrency: one processor at a time expects faults.

use core::arch::asm;
use core::sync::atomic::Ordering::SeqCst;

use super::interrupts::{FAULT, RECOVER};

/// No exception.
const NONE: u64 = u64::MAX;

fn fault() -> Option<u8> {
    u8::try_from(FAULT.load(SeqCst)).ok()
}

macro_rules! trying {
    ($($code:literal),+; $($operands:tt)*) => {{
        FAULT.store(NONE, SeqCst);
        // SAFETY: what it changes is named, and a fault goes on behind it.
        unsafe {
            asm!(
                "lea {at}, [rip + 2f]", "mov [rip + {recover}], {at}", $($code,)+ "2:",
                "mov qword ptr [rip + {recover}], 0",
                at = out(reg) _, recover = sym RECOVER, $($operands)*
            );
        }
    }};
}

/// What CPUID says: eax, ebx, ecx, edx.
pub fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    let found = core::arch::x86_64::__cpuid_count(leaf, subleaf);
    [found.eax, found.ebx, found.ecx, found.edx]
}

/// Reads a model-specific register; `None` if that faults.
pub fn read_msr(number: u32) -> Option<u64> {
    let (mut low, mut high) = (0_u32, 0_u32);
    trying!("rdmsr"; in("ecx") number, inout("eax") low, inout("edx") high);
    if fault().is_none() { Some(u64::from(high) << 32 | u64::from(low)) } else { None }
}

/// Writes one; whether that is allowed.
pub fn write_msr(number: u32, value: u64) -> bool {
    trying!("wrmsr"; in("ecx") number, in("eax") value as u32, in("edx") (value >> 32) as u32);
    fault().is_none()
}

/// An instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Instruction {
    /// UD2.
    Undefined,
    /// VMCALL, Intel's call to a monitor.
    Vmcall,
    /// VMMCALL, AMD's.
    Vmmcall,
    /// VMRUN.
    Vmrun,
    /// CLGI.
    Clgi,
    /// MONITOR.
    Monitor,
    /// MWAIT.
    Mwait,
    /// XSETBV with everything switched on.
    Xsetbv,
    /// RDPMC.
    Rdpmc,
    /// INVD.
    Invd,
    /// WBINVD.
    Wbinvd,
}

/// Tries an instruction; the exception that it raises.
pub fn raises(instruction: Instruction) -> Option<u8> {
    match instruction {
        Instruction::Undefined => trying!("ud2";),
        Instruction::Vmcall => trying!("vmcall"; in("eax") 0xFFFF),
        Instruction::Vmmcall => trying!("vmmcall"; in("eax") 0xFFFF),
        Instruction::Vmrun => trying!("vmrun"; in("rax") 0x30_0000_u64),
        Instruction::Clgi => trying!("clgi";),
        Instruction::Monitor => trying!("monitor"; in("rax") 0x30_0000_u64, in("ecx") 0, in("edx") 0),
        Instruction::Mwait => trying!("mwait"; in("eax") 0, in("ecx") 0),
        Instruction::Xsetbv => trying!("xsetbv"; in("eax") u32::MAX, in("edx") u32::MAX, in("ecx") 0),
        Instruction::Rdpmc => trying!("rdpmc"; in("ecx") 0, out("eax") _, out("edx") _),
        Instruction::Invd => trying!("invd";),
        Instruction::Wbinvd => trying!("wbinvd";),
    }
    fault()
}

/// Control register 8.
pub fn priority() -> u64 {
    let class: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr8", out(reg) class, options(nomem, nostack)) };
    class
}

/// Sets it; the exception that this raises.
pub fn set_priority(class: u64) -> Option<u8> {
    trying!("mov cr8, {class}"; class = in(reg) class);
    fault()
}

/// The time-stamp counter.
pub fn time() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Lets interrupts in.
pub fn open() {
    // SAFETY: the handlers are loaded.
    unsafe { asm!("sti", "nop") };
}

/// Keeps interrupts out.
pub fn close() {
    // SAFETY: only that.
    unsafe { asm!("cli") };
}

/// Halts.
pub fn halt() {
    // SAFETY: an interrupt's handler returns here.
    unsafe { asm!("hlt") };
}

/// Lets interrupts in and halts, as one step; keeps them out then.
pub fn wait() {
    // SAFETY: the handlers are loaded, and return here.
    unsafe { asm!("sti", "hlt", "cli") };
}

/// Three faults at once: no table of handlers, and an exception.
pub fn fault_thrice() -> ! {
    // SAFETY: nothing is left after it.
    unsafe { asm!("push 0", "push 0", "lidt [rsp]", "ud2", options(noreturn)) }
}
