//! The scenes: what the monitor does about each exit.
//!
//! A scene starts with the startup event or a recall, and a state for the guest; it is over when the guest halts.
//! Concurrency: they run in the monitor's context.
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::rights::MemoryRights;
use abi::{Crd, Mtd};

use crate::code::{CODE, at};
use crate::monitor::{Turn, field};
use crate::{PAGED, memory_page};

/// Guest-physical addresses: page tables, interrupt table, segments, stack.
pub const TABLES: u64 = 0x2000;
pub const INTERRUPTS: u64 = 0x5000;
pub const SEGMENTS: u64 = 0x6000;
const STACK: u64 = 0x8000;
/// Events.
pub const CPUID: u64 = 0x72;
pub const HLT: u64 = 0x78;
pub const PORT: u64 = 0x7B;
pub const MSR: u64 = 0x7C;
pub const SHUTDOWN: u64 = 0x7F;
pub const VMMCALL: u64 = 0x81;
pub const WINDOW: u64 = 0x64;
pub const NESTED: u64 = 0xFC;
pub const INVALID: u64 = 0xFD;
pub const STARTUP: u64 = 0xFE;
pub const RECALL: u64 = 0xFF;

/// An external interrupt 0x40, to inject.
const INTERRUPT: u64 = 1 << 31 | 0x40;
const WANTS_WINDOW: u64 = 1 << 12;
/// Intercepts: CPUID; VMRUN and VMMCALL.
const CONTROLS: u64 = 1 << 18 | 0b11 << 32;

fn segment(turn: &Turn, group: Mtd, field: usize, first: u64, base: u64) {
    turn.set(group, field, first);
    turn.set(group, field + 1, base);
}

/// The state of a guest that starts at `rip` in 64-bit mode.
fn long_mode(turn: &Turn, rip: u64) {
    let data = 0xFFFF_FFFF << 32 | 0xC93 << 16 | 0x10;
    let code = 0xFFFF_FFFF << 32 | 0xA9B << 16 | 0x08;
    common(turn, rip, (code, data));
    turn.set(Mtd::CR, field!(cr0), 0x8000_0031);
    turn.set(Mtd::CR, field!(cr3), TABLES);
    turn.set(Mtd::CR, field!(cr4), 0x6A0);
    turn.set(Mtd::EFER, field!(efer), 0x1500);
}

/// The same in real mode.
fn real_mode(turn: &Turn, rip: u64) {
    common(turn, rip, (0xFFFF << 32 | 0x9B << 16, 0xFFFF << 32 | 0x93 << 16));
    turn.set(Mtd::CR, field!(cr0), 0x10);
    turn.set(Mtd::CR, field!(cr3), 0);
    turn.set(Mtd::CR, field!(cr4), 0);
    turn.set(Mtd::EFER, field!(efer), 0x1000);
}

fn common(turn: &Turn, rip: u64, (code, data): (u64, u64)) {
    segment(turn, Mtd::CS_SS, field!(cs), code, 0);
    for (group, field) in [
        (Mtd::CS_SS, field!(ss)),
        (Mtd::DS_ES, field!(ds)),
        (Mtd::DS_ES, field!(es)),
        (Mtd::FS_GS, field!(fs)),
        (Mtd::FS_GS, field!(gs)),
    ] {
        segment(turn, group, field, data, 0);
    }
    segment(turn, Mtd::TR, field!(tr), 0xFFFF << 32 | 0x8B << 16, 0);
    segment(turn, Mtd::LDTR, field!(ldtr), 0xFFFF << 32 | 0x82 << 16, 0);
    segment(turn, Mtd::GDTR, field!(gdtr), 0x17 << 32, SEGMENTS);
    segment(turn, Mtd::IDTR, field!(idtr), 0xFFF << 32, INTERRUPTS);
    turn.set(Mtd::RIP_LEN, field!(rip), rip);
    turn.set(Mtd::RSP, field!(rsp), STACK);
    turn.set(Mtd::RFLAGS, field!(rflags), 2);
    for word in field!(star)..field!(star) + 5 {
        turn.set(Mtd::SYSCALL_SWAPGS, word, 0);
    }
    for word in field!(sysenter_cs)..field!(sysenter_cs) + 3 {
        turn.set(Mtd::SYSENTER, word, 0);
    }
    turn.set(Mtd::CTRL, field!(ctrl), CONTROLS);
    turn.set(Mtd::INJ, field!(inj_info), 0);
    turn.set(Mtd::STA, field!(intr_state), 0);
    turn.set(Mtd::CR, field!(cr2), 0);
    turn.set(Mtd::DR, field!(dr7), 0x400);
    turn.set(Mtd::XSAVE, field!(xcr0), u64::MAX);
    turn.set(Mtd::TSC, field!(tsc_off), 0);
}

/// Starts a guest in 64-bit mode with the first exit; skips the halts before number `last`, at which it is over.
fn halts(turn: &Turn, rip: u64, last: u64) -> bool {
    match turn.step {
        0 => long_mode(turn, rip),
        step if step >= last => return true,
        _ if turn.event == HLT => turn.skip(1),
        _ => {}
    }
    false
}

pub fn cpuid(turn: &Turn) -> bool {
    if turn.event == CPUID {
        turn.set(Mtd::ACDB, field!(rax), 0x11);
        turn.set(Mtd::ACDB, field!(rbx), 0x22);
        turn.set(Mtd::ACDB, field!(rcx), 0x33);
        turn.set(Mtd::ACDB, field!(rdx), 0x44);
        turn.skip(2);
    }
    halts(turn, at::cpuid(), 2)
}

/// Has nothing to say to CPUID.
pub fn often(turn: &Turn) -> bool {
    if turn.event == CPUID {
        turn.skip(2);
    }
    halts(turn, at::often(), 11)
}

pub fn ports(turn: &Turn) -> bool {
    if turn.event == PORT {
        turn.set(Mtd::RIP_LEN, field!(rip), turn.get(field!(qual) + 1));
        turn.set(Mtd::ACDB, field!(rax), 0xBEEF);
    }
    halts(turn, at::ports(), 3)
}

/// As [`ports`], with the first of them the guest's own.
pub fn own_port(turn: &Turn) -> bool {
    ports(turn) || turn.step == 2
}

/// What an attempt to move the virtual CPU yielded, as if it were a thread; on Intel's processors this exit has the number of a
/// thread's recall.
pub static MOVED: AtomicU64 = AtomicU64::new(0);

pub fn msr(turn: &Turn) -> bool {
    if turn.event == MSR {
        MOVED.store(crate::migrate(), SeqCst);
        turn.set(Mtd::ACDB, field!(rax), 0x99);
        turn.skip(2);
    }
    halts(turn, at::msr(), 2)
}

pub fn memory(turn: &Turn) -> bool {
    if turn.event == NESTED {
        turn.give(Crd::memory(memory_page(PAGED), 0, MemoryRights::READ | MemoryRights::WRITE).unwrap_or(Crd::NULL));
    }
    halts(turn, at::memory(), 2)
}

/// After the page was taken back: from behind the first halt of [`memory`] on, without starting anew.
pub fn memory_again(turn: &Turn) -> bool {
    match turn.event {
        RECALL => turn.skip(1),
        NESTED => turn.give(Crd::memory(memory_page(PAGED), 0, MemoryRights::READ).unwrap_or(Crd::NULL)),
        _ => return true,
    }
    false
}

/// Gives the page once.
pub fn reader(turn: &Turn) -> bool {
    if turn.event == NESTED && turn.step == 1 {
        turn.give(Crd::memory(memory_page(PAGED), 0, MemoryRights::READ).unwrap_or(Crd::NULL));
    }
    halts(turn, at::reader(), 2)
}

pub fn vmmcall(turn: &Turn) -> bool {
    if turn.event == VMMCALL {
        turn.skip(3);
    }
    halts(turn, at::vmmcall(), 2)
}

pub fn shutdown(turn: &Turn) -> bool {
    halts(turn, at::shutdown(), 1)
}

pub fn interrupt(turn: &Turn) -> bool {
    if turn.step == 1 {
        turn.set(Mtd::INJ, field!(inj_info), INTERRUPT);
        // The instruction is done, and with it the shadow of the one before, which would keep interrupts out.
        turn.set(Mtd::STA, field!(intr_state), 0);
    }
    halts(turn, at::interrupt(), 2)
}

/// The interrupt does not get through before there is a page for its stack; the monitor gives that and says nothing more.
pub fn stackless(turn: &Turn) -> bool {
    if turn.step == 1 {
        turn.set(Mtd::INJ, field!(inj_info), INTERRUPT);
        turn.set(Mtd::STA, field!(intr_state), 0);
    }
    if turn.event == NESTED {
        turn.give(Crd::memory(memory_page(PAGED), 0, MemoryRights::READ | MemoryRights::WRITE).unwrap_or(Crd::NULL));
    }
    halts(turn, at::stackless(), 3)
}

pub fn swapgs(turn: &Turn) -> bool {
    halts(turn, at::swapgs(), 2)
}

pub fn window(turn: &Turn) -> bool {
    match turn.event {
        VMMCALL => {
            turn.skip(3);
            turn.set(Mtd::INJ, field!(inj_info), WANTS_WINDOW);
        }
        WINDOW => turn.set(Mtd::INJ, field!(inj_info), INTERRUPT),
        _ => {}
    }
    halts(turn, at::window(), 3)
}

pub fn spin(turn: &Turn) -> bool {
    halts(turn, at::spin(), 1)
}

/// A state that no processor takes: 64-bit mode without entries of 64 bits.
pub fn invalid(turn: &Turn) -> bool {
    let over = halts(turn, at::cpuid(), 1);
    if turn.step == 0 {
        turn.set(Mtd::CR, field!(cr4), 0x680);
    }
    over
}

static RANDOM: AtomicU64 = AtomicU64::new(0x9E37_79B9_7F4A_7C15);

/// Numbers that look as if there were no rule (xorshift).
fn random() -> u64 {
    let mut number = RANDOM.load(SeqCst);
    number ^= number << 13;
    number ^= number >> 7;
    number ^= number << 17;
    RANDOM.store(number, SeqCst);
    number
}

/// A guest that could run, but for one group of registers; or nothing but nonsense.
pub fn garbage(turn: &Turn) -> bool {
    if turn.step > 0 {
        return true;
    }
    long_mode(turn, at::spin());
    let (first, count) = if random().is_multiple_of(4) { (5, 70) } else { (5 + random() % 70, 1 + random() % 3) };
    for field in first..(first + count).min(75) {
        // The message is as it is; the offset of time adds up.
        turn.set(Mtd::all().difference(Mtd::FPU), field as usize, random());
    }
    false
}

pub fn vector(turn: &Turn) -> bool {
    halts(turn, at::vector(), 2)
}

/// What the monitor found in the register that the guest had used.
pub static FOUND: AtomicU64 = AtomicU64::new(0);

/// The monitor uses the register, on the virtual CPU's core.
fn use_wide() {
    let found: u64;
    // SAFETY: vector registers of this context, of which code without them keeps nothing; `main` has found AVX.
    unsafe {
        core::arch::asm!(
            "vextractf128 xmm1, ymm0, 1", "movq {}, xmm1", "vpcmpeqd xmm0, xmm0, xmm0",
            "vinsertf128 ymm0, ymm0, xmm0, 1", out(reg) found, options(nomem, nostack),
        );
    }
    FOUND.store(found, SeqCst);
}

pub fn wide(turn: &Turn) -> bool {
    if turn.step == 1 {
        use_wide();
    }
    halts(turn, at::wide(), 2)
}

/// A guest that has no wide registers, with a monitor that does.
pub fn narrow(turn: &Turn) -> bool {
    if turn.step == 1 {
        use_wide();
    }
    let over = halts(turn, at::enable(), 1);
    if turn.step == 0 {
        turn.set(Mtd::XSAVE, field!(xcr0), 3);
    }
    over
}

pub fn debug(turn: &Turn) -> bool {
    halts(turn, at::debug(), 2)
}

pub fn step(turn: &Turn) -> bool {
    halts(turn, at::step(), 1)
}

/// Moves the guest's time.
pub fn tsc(turn: &Turn) -> bool {
    let over = halts(turn, at::tsc(), 1);
    if turn.step == 0 {
        turn.set(Mtd::TSC, field!(tsc_off), 1 << 60);
    }
    over
}

pub fn real(turn: &Turn) -> bool {
    if turn.step == 0 {
        real_mode(turn, at::real());
    }
    turn.step == 1
}

// The page of code is there.
const _: () = assert!(CODE < TABLES);
