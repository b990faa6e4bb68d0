//! Who acts: one instruction with chosen registers, and all registers after it; and where servers are entered and left.
//!
//! Invariants: each actor has a block and a stack of its own; the instruction sees nothing of the compiler's registers, the
//! stack pointer included.
//! Concurrency: actors of one core, which take turns.
//! Source: interface §1 (registers), §5 ("call", "reply").
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Registers of a block: RAX, RCX, RDX, RBX, RBP, RSI, RDI, R8 to R15, RSP, flags.
pub const REGISTERS: usize = 17;
pub const RAX: usize = 0;
pub const RCX: usize = 1;
pub const RDX: usize = 2;
pub const RSI: usize = 5;
pub const RDI: usize = 6;
pub const FLAGS: usize = 16;

/// What an actor executes: the number of the instruction in the assembly below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Deed {
    Hypercall = 0,
    Undefined = 1,
    Breakpoint = 2,
    Load = 3,
    Halt = 4,
    Divide = 5,
}

/// What an actor and the assembly share.
#[repr(C)]
pub struct Block {
    /// Before the instruction.
    pub before: [AtomicU64; REGISTERS],
    /// After it.
    pub after: [AtomicU64; REGISTERS],
    /// RDI, RSP and flags with which the kernel has entered a server.
    pub entered: [AtomicU64; 3],
    /// RSP with which it replies.
    pub leave: AtomicU64,
    deed: AtomicU64,
    saved: AtomicU64,
    target: AtomicU64,
}

impl Block {
    const fn new() -> Self {
        Self {
            before: [const { AtomicU64::new(0) }; REGISTERS],
            after: [const { AtomicU64::new(0) }; REGISTERS],
            entered: [const { AtomicU64::new(0) }; 3],
            leave: AtomicU64::new(0),
            deed: AtomicU64::new(0),
            saved: AtomicU64::new(0),
            target: AtomicU64::new(0),
        }
    }
}

/// Where whoever has faulted goes on.
pub static RESUME: AtomicU64 = AtomicU64::new(0);

#[repr(align(4096))]
struct Stacks {
    _words: [[AtomicU64; 1024]; 8],
}
static STACKS: Stacks = Stacks { _words: [const { [const { AtomicU64::new(0) }; 1024] }; 8] };

macro_rules! actor {
    ($block:ident, $act:ident, $enter:ident, $number:literal) => {
        pub static $block: Block = Block::new();
        global_asm!(
            concat!(stringify!($act), ":"),
            "push rbx", "push rbp", "push r12", "push r13", "push r14", "push r15",
            "mov [rip + {block} + {saved}], rsp",
            "mov rcx, [rip + {block} + {deed}]", "shl rcx, 4", "lea rax, [rip + 20f]", "add rax, rcx",
            "mov [rip + {block} + {target}], rax",
            "lea rax, [rip + 30f]", "mov [rip + {resume}], rax",
            "push qword ptr [rip + {block} + 128]", "popfq",
            "mov rax, [rip + {block}]", "mov rcx, [rip + {block} + 8]", "mov rdx, [rip + {block} + 16]",
            "mov rbx, [rip + {block} + 24]", "mov rbp, [rip + {block} + 32]", "mov rsi, [rip + {block} + 40]",
            "mov rdi, [rip + {block} + 48]", "mov r8, [rip + {block} + 56]", "mov r9, [rip + {block} + 64]",
            "mov r10, [rip + {block} + 72]", "mov r11, [rip + {block} + 80]", "mov r12, [rip + {block} + 88]",
            "mov r13, [rip + {block} + 96]", "mov r14, [rip + {block} + 104]", "mov r15, [rip + {block} + 112]",
            "mov rsp, [rip + {block} + 120]",
            "jmp qword ptr [rip + {block} + {target}]",
            ".balign 16", "20:", "syscall", "jmp 30f",
            ".balign 16", "ud2", "jmp 30f",
            ".balign 16", "int3", "jmp 30f",
            ".balign 16", "mov rax, [rcx]", "jmp 30f",
            ".balign 16", "hlt", "jmp 30f",
            ".balign 16", "div ecx", "jmp 30f",
            ".balign 16", "30:",
            "mov [rip + {block} + {after}], rax", "mov [rip + {block} + {after} + 8], rcx",
            "mov [rip + {block} + {after} + 16], rdx", "mov [rip + {block} + {after} + 24], rbx",
            "mov [rip + {block} + {after} + 32], rbp", "mov [rip + {block} + {after} + 40], rsi",
            "mov [rip + {block} + {after} + 48], rdi", "mov [rip + {block} + {after} + 56], r8",
            "mov [rip + {block} + {after} + 64], r9", "mov [rip + {block} + {after} + 72], r10",
            "mov [rip + {block} + {after} + 80], r11", "mov [rip + {block} + {after} + 88], r12",
            "mov [rip + {block} + {after} + 96], r13", "mov [rip + {block} + {after} + 104], r14",
            "mov [rip + {block} + {after} + 112], r15", "mov [rip + {block} + {after} + 120], rsp",
            "mov rsp, [rip + {block} + {saved}]", "pushfq", "pop qword ptr [rip + {block} + {after} + 128]", "cld",
            "pop r15", "pop r14", "pop r13", "pop r12", "pop rbp", "pop rbx", "ret",
            concat!(stringify!($enter), ":"),
            "mov [rip + {block} + {entered}], rdi", "mov [rip + {block} + {entered} + 8], rsp",
            "lea rsp, [rip + {stacks} + {top}]",
            "pushfq", "pop qword ptr [rip + {block} + {entered} + 16]", "cld",
            concat!("mov edi, ", stringify!($number)), "call {serve}",
            "mov rdi, rax", "mov rsp, [rip + {block} + {leave}]", "syscall", "ud2",
            top = const 8192 * ($number + 1), block = sym $block, resume = sym RESUME, stacks = sym STACKS, serve = sym super::serve,
            saved = const offset_of!(Block, saved), deed = const offset_of!(Block, deed),
            target = const offset_of!(Block, target), after = const offset_of!(Block, after),
            entered = const offset_of!(Block, entered), leave = const offset_of!(Block, leave),
        );
        // SAFETY: defined above, as functions that keep to the convention, or of which only the address is used.
        unsafe extern "C" {
            fn $act();
            fn $enter();
        }
    };
}

actor!(MAIN, act_main, enter_main, 0);
actor!(NEAR, act_near, enter_near, 1);
actor!(FAR, act_far, enter_far, 2);
actor!(LEAF, act_leaf, enter_leaf, 3);
actor!(WAITER, act_waiter, enter_waiter, 4);
actor!(HANDLER, act_handler, enter_handler, 5);

/// An actor.
pub struct Actor {
    pub block: &'static Block,
    act: unsafe extern "C" fn(),
    enter: unsafe extern "C" fn(),
}

const fn actor(block: &'static Block, act: unsafe extern "C" fn(), enter: unsafe extern "C" fn()) -> Actor {
    Actor { block, act, enter }
}

/// The actors, by number.
pub static ACTORS: [Actor; 6] = [
    actor(&MAIN, act_main, enter_main),
    actor(&NEAR, act_near, enter_near),
    actor(&FAR, act_far, enter_far),
    actor(&LEAF, act_leaf, enter_leaf),
    actor(&WAITER, act_waiter, enter_waiter),
    actor(&HANDLER, act_handler, enter_handler),
];

impl Actor {
    /// Where the kernel enters it if it serves.
    pub fn entry(&self) -> u64 {
        self.enter as *const () as u64
    }

    /// Executes an instruction.
    pub fn perform(&self, deed: Deed) {
        self.block.deed.store(deed as u64, Relaxed);
        // SAFETY: the function keeps to the calling convention; what it executes ups and downs semaphores of this program,
        // calls its portals, whose servers keep to their blocks and stacks, or faults, and is resumed by its handler.
        unsafe { (self.act)() }
    }
}
