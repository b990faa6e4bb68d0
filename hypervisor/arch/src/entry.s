// Into the kernel and out of it. See entry.rs for the rules.

.macro SAVE_REGISTERS
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
.endm

.macro POP_REGISTERS
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
.endm

.macro LOAD_REGISTERS
    POP_REGISTERS
    add rsp, 16                                     // vector, error code
.endm

.section .text.entry, "ax"

// 256 stubs of 16 bytes: a dummy error code where the processor pushes none, the vector, on.
.balign 16
.global trap_stubs
trap_stubs:
.set vector, 0
.rept 256
    .balign 16
    .if !((vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30))
    push 0
    .endif
    push vector
    .if (vector == 1) || (vector == 2) || (vector == 8) || (vector == 18)
    jmp trap_apart
    .else
    jmp trap
    .endif
    .set vector, vector + 1
.endr

// From ring 3 the registers are in the current context's frame now, from ring 0 on the kernel stack.
.balign 16
trap:
    SAVE_REGISTERS
    mov rdi, rsp
    test byte ptr [rsp + {CS}], 3
    jz trap_nested
trap_from_user:
    mov rsp, {STACK_TOP}
    push 2                                          // direction and alignment-check flags off, like all others
    popfq
    cmp qword ptr [rdi + {VECTOR}], 32
    jae 1f
    call {EVENT}                                    // RAX and RDX as for a call
    mov r11, [{FRAME}]
    test rax, rax
    jnz start
    mov rdi, r11
1:  call {TRAP_USER}
    mov rdi, rax
    jmp resume

// On an interrupt stack, whatever ran before: report and return, or do not return.
trap_apart:
    SAVE_REGISTERS
    test byte ptr [rsp + {CS}], 3
    jz 1f
    cmp qword ptr [rsp + {VECTOR}], 1
    jne 1f
    mov rsi, rsp                                    // #DB of ring 3 is an exception like others: into the frame
    mov rdi, [{FRAME}]
    mov ecx, {FRAME_WORDS}
    cld
    rep movsq
    mov rdi, [{FRAME}]
    jmp trap_from_user
1:  mov rdi, rsp
trap_nested:
    mov rbx, rsp
    and rsp, -16
    push 2
    popfq
    call {TRAP_KERNEL}
    mov rsp, rbx
    LOAD_REGISTERS
    iretq

// RDI: the frame of the context to run, which is current.
.balign 16
.global resume
resume:
    cmp dword ptr [{HAZARD}], 0
    jne 1f
    mov rsp, rdi
    cmp qword ptr [rsp + {VECTOR}], {SYSCALL}
    je leave_by_sysret
    LOAD_REGISTERS
    iretq
1:  mov rsp, {STACK_TOP}
    call {HAZARDS}
    mov rdi, rax
    jmp resume

// RSP: a frame whose context entered by SYSCALL, or is to run as if it had: RCX and R11 are as SYSRET leaves them.
leave_by_sysret:
    POP_REGISTERS
    mov rcx, [rsp + {RIP} - {VECTOR}]
    mov r11d, 0x200
    mov rsp, [rsp + {RSP} - {VECTOR}]
    sysretq

// SYSCALL: RCX is the return address, R11 the flags, RSP the user's. RCX and R11 are free by the interface's convention.
.balign 16
.global syscall_entry
syscall_entry:
    mov r11, rsp
    mov rsp, [{FRAME}]
    mov [rsp + {RIP}], rcx
    mov [rsp + {RSP}], r11
    movzx r11d, dil
    jmp [r11 * 8 + syscall_ways]                    // by number and flags

// What the interface preserves, into the frame at `base`: first what functions of Rust do not.
.macro SAVE_VOLATILE
    mov [rsp + {RDI}], rdi
    mov [rsp + {RSI}], rsi
    mov [rsp + {RDX}], rdx
    mov [rsp + {RAX}], rax
    mov [rsp + {R8}], r8
    mov [rsp + {R9}], r9
    mov [rsp + {R10}], r10
.endm
.macro SAVE_OTHERS base
    mov qword ptr [\base + {VECTOR}], {SYSCALL}
    mov [\base + {RBX}], rbx
    mov [\base + {RBP}], rbp
    mov [\base + {R12}], r12
    mov [\base + {R13}], r13
    mov [\base + {R14}], r14
    mov [\base + {R15}], r15
.endm

// Whatever it takes.
way_general:
    SAVE_VOLATILE
    mov r11, rsp
    mov rsp, {STACK_TOP}
general:
    SAVE_OTHERS r11
general_saved:
    mov rdi, r11
    call {HYPERCALL}
    mov rdi, [{FRAME}]
    jmp resume

// No such operation.
way_refused:
    cmp dword ptr [{HAZARD}], 0
    jne way_general
    mov edi, {BAD_PARAMETER}
    mov rsp, [rsp + {RSP}]
    mov r11d, 0x200
    sysretq

// An attempt to be done without blocking: the callee-saved registers stay where they are.
.macro ATTEMPT function, slow
    SAVE_VOLATILE
    mov rsp, {STACK_TOP}
    call \function
    mov r11, [{FRAME}]
    cmp eax, {SLOW}
    je \slow
    cmp dword ptr [{HAZARD}], 0
    jne attempted
    mov edi, eax
    mov rsi, [r11 + {RSI}]
    mov rdx, [r11 + {RDX}]
    mov rax, [r11 + {RAX}]
    mov r8, [r11 + {R8}]
    mov r9, [r11 + {R9}]
    mov r10, [r11 + {R10}]
    mov rcx, [r11 + {RIP}]
    mov rsp, [r11 + {RSP}]
    mov r11d, 0x200
    sysretq
.endm
way_up:
    ATTEMPT {UP}, general
way_down:
    ATTEMPT {DOWN}, 1f
1:  SAVE_OTHERS r11
    mov rdi, r11
    call {WAIT}
    mov rdi, [{FRAME}]
    jmp resume
attempted:
    mov [r11 + {RDI}], rax
    SAVE_OTHERS r11
    mov rdi, r11
    jmp resume

// A call: RAX is where the callee starts (0: left to the general way; bit 63: in another domain), RDX its portal's
// identity.
way_call:
    SAVE_VOLATILE
    SAVE_OTHERS rsp
    mov rsi, rsp
    mov rsp, {STACK_TOP}
    call {CALL}
    mov r11, [{FRAME}]
    test rax, rax
    jz general_saved
start:
    js 3f
1:  cmp dword ptr [{HAZARD}], 0
    jne 2f
    mov rcx, rax
    mov rdi, rdx
    mov rsp, [r11 + {RSP}]
    mov r11d, 0x200
    sysretq
3:  btr rax, 63                                     // another domain: nothing of this one is left in registers
    xor ebx, ebx
    xor ebp, ebp
    xor esi, esi
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    xor r12d, r12d
    xor r13d, r13d
    xor r14d, r14d
    xor r15d, r15d
    jmp 1b
2:  mov [r11 + {RIP}], rax
    mov [r11 + {RDI}], rdx
    mov qword ptr [r11 + {VECTOR}], {SYSCALL}
    mov rdi, r11
    jmp resume

// A serving context that replies keeps only its stack pointer. RAX: its caller's frame; 0: left to the general way; 1: its
// caller has faulted.
way_reply:
    cmp rdi, 1                                      // no semaphore
    jne way_general
    mov rdi, rsp
    mov rsp, {STACK_TOP}
    call {REPLY}
    test rax, rax
    jns 1f                                          // no address in the pool
    cmp dword ptr [{HAZARD}], 0
    jne 2f
    mov r15, [rax + {R15}]
    mov r14, [rax + {R14}]
    mov r13, [rax + {R13}]
    mov r12, [rax + {R12}]
    mov r10, [rax + {R10}]
    mov r9, [rax + {R9}]
    mov r8, [rax + {R8}]
    mov rdi, [rax + {RDI}]
    mov rsi, [rax + {RSI}]
    mov rbp, [rax + {RBP}]
    mov rbx, [rax + {RBX}]
    mov rdx, [rax + {RDX}]
    mov rcx, [rax + {RIP}]
    mov rsp, [rax + {RSP}]
    mov rax, [rax + {RAX}]
    mov r11d, 0x200
    sysretq
2:  mov rdi, rax
    jmp resume
1:  jnz 3f
    call {REPLY_GENERAL}
3:  mov rdi, [{FRAME}]
    jmp resume

.section .rodata.entry, "a"
.balign 8
syscall_ways:
.set way, 0
.rept 256
    .if way == 0
    .quad way_call
    .elseif way == 1
    .quad way_reply
    .elseif (way & 15) == 8 && way >= 0x30
    .quad way_refused
    .elseif way == 0x0C
    .quad way_up
    .elseif way == 0x1C
    .quad way_down
    .else
    .quad way_general
    .endif
    .set way, way + 1
.endr
