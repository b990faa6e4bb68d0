//! Faults that the hostile domain raises on purpose.
//!
//! Its maker's handler puts the context back to where it starts; what does not fault, goes on.
//! Concurrency: the calling context.
//! Source: AMD64 manual volume 2, chapter 8.
use core::arch::asm;

use super::memory::Slot;

/// Addresses that nobody may touch, or that are none.
const ADDRESSES: [u64; 10] = [
    0,
    0x1000,
    0x7FFF_FFFF_F000,
    0x7FFF_FFFF_FFFF,
    0x8000_0000_0000,
    0xFFFF_8000_0000_0000,
    0xFFFF_FFFF_8000_0000,
    0xFFFF_FFFF_FFFF_FFF8,
    abi::USER_LIMIT,
    abi::hip::HIP_ADDRESS,
];

/// Raises one.
pub fn raise(slot: &Slot) {
    let address = if slot.once_in(4) { slot.next() >> slot.below(40) } else { slot.pick(&ADDRESSES) };
    let port = slot.pick(&[0x20, 0x43, 0x60, 0x80, 0x82, 0x83, 0x84, 0xCF8, 0xFFFF]) as u16;
    // SAFETY: the contexts of the hostile domain own nothing that could be broken.
    unsafe {
        match slot.below(30) {
            0 => asm!("ud2"),
            1 => asm!("int3"),
            2 => asm!("int 0x80"),
            3 => asm!("int 14"),
            4 => asm!("xor ecx, ecx", "div ecx", out("eax") _, out("edx") _, out("ecx") _),
            5 | 6 => asm!("mov al, [{}]", in(reg) address, out("al") _),
            7 | 8 => asm!("mov [{}], al", in(reg) address),
            9 | 10 => asm!("jmp {}", in(reg) address),
            11 => asm!("mov rsp, {}", "push rax", "syscall", in(reg) address),
            12 => asm!("mov rsp, {}", "mov eax, [rsp]", "int3", in(reg) address),
            13 => asm!("hlt"),
            14 => asm!("cli"),
            15 => asm!("in al, dx", in("dx") port, out("al") _),
            16 => asm!("out dx, al", in("dx") 0x80_u16, in("al") 0_u8),
            17 => asm!("mov fs, eax", in("eax") slot.next() as u32 & 0xFF),
            18 => asm!("rdmsr", in("ecx") slot.next() as u32, out("eax") _, out("edx") _),
            19 => asm!("mov cr3, rax", in("rax") address),
            20 => asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "nop", "nop"),
            21 => asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq", "mov edi, 0xff0b", "syscall",
                out("rdi") _, out("rcx") _, out("r11") _),
            22 => {
                asm!("push {}", "ldmxcsr [rsp]", "xorps xmm0, xmm0", "divps xmm0, xmm0", "pop {0}", in(reg) slot.next() & 0xFFFF)
            }
            23 => asm!("push {}", "ldmxcsr [rsp]", "pop {0}", in(reg) slot.next()),
            24 => asm!("fninit", "fldcw [{}]", "fld1", "fldz", "fdivp st(1), st", "fwait",
                in(reg) &raw const SMALL),
            25 => asm!("push {}", "popfq", in(reg) slot.next() & 0x24_7FD7),
            26 => asm!("iretq"),
            27 => asm!("xor ecx, ecx", "xsetbv", in("eax") slot.next() as u32, in("edx") 0, out("ecx") _),
            28 => asm!("movq xmm5, {0}", "movq xmm7, {0}", in(reg) slot.next()),
            _ => asm!("sysenter"),
        }
    }
}

/// x87 control word with nothing masked.
static SMALL: u16 = 0x340;
