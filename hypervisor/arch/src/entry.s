// Into the kernel and out of it. See entry.rs for the rules.

// Where the frame has each register: in the reverse order of pushes.
.set offset, 0
.irp register, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax
    .set AT_\register, offset
    .set offset, offset + 8
.endr
.set AT_END, offset
.if (AT_rax != {RAX}) || (AT_rdi != {RDI})
    .error "the order of registers is not the frame's"
.endif

.macro PUSH_REGISTERS
    .irp register, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
        push \register
    .endr
.endm

.macro POP_REGISTERS
    .irp register, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax
        pop \register
    .endr
.endm

.macro STORE base, registers:vararg
    .irp register, \registers
        mov [\base + AT_\register], \register
    .endr
.endm

.macro LOAD base, registers:vararg
    .irp register, \registers
        mov \register, [\base + AT_\register]
    .endr
.endm

// The word at the selector in RDI, 0 where there is none; see capability.rs. Not before RSP is the kernel's.
.macro LOAD_CAPABILITY
    and edi, 0x3FFFFFF
2:  mov rdi, [rdi * 8 + {CAPABILITIES}]
    .pushsection .accesses, "a"
    .quad 2b
    .popsection
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
    .elseif vector == 14
    jmp trap_fault
    .elseif (vector < 32) && ((({PLAIN} >> vector) & 1) == 1)
    jmp trap_event
    .elseif vector == {REQUEST}
    jmp trap_request
    .else
    jmp trap
    .endif
    .set vector, vector + 1
.endr

// From ring 3 the registers are in the current context's frame now, from ring 0 on the kernel stack.
.balign 16
trap:
    PUSH_REGISTERS
    test byte ptr [rsp + {CS}], 3
    jz trap_nested
    mov rdi, rsp
trap_from_user:
    mov rsp, {STACK_TOP}
    push 2                                          // direction and alignment-check flags off, like all others
    popfq
.global event_general, call_general
event_general:
    mov rsp, {STACK_TOP}
    call trap_user
    mov rdi, rax
    jmp resume

// Another core asks for something: nothing of a switch, unless there is more to do.
trap_request:
    test byte ptr [rsp + {CS} - AT_END], 3
    jz trap
    sub rsp, AT_END
    STORE rsp, rax, rcx, rdx, rdi, rsi, r8, r9, r10, r11
    mov rsp, {STACK_TOP}
    push 2
    popfq
    mov rsp, {STACK_TOP}
    call requested
    mov rsp, [{FRAME}]
    cmp dword ptr [{HAZARD}], 0
    jne 1f
    LOAD rsp, rax, rcx, rdx, rdi, rsi, r8, r9, r10, r11
    add rsp, AT_END + 16                            // vector, error code
    iretq
1:  STORE rsp, rbx, rbp, r12, r13, r14, r15
    mov rdi, rsp
    jmp resume

// An attempt at what most often leads to a portal: its capability, the frame, the address of the fault, the vector.
.macro ATTEMPT_EVENT function, fault
    PUSH_REGISTERS
    test byte ptr [rsp + {CS}], 3
    jz trap_nested
    mov rsi, rsp
    .ifnb \fault
    mov rdx, cr2
    .else
    xor edx, edx
    .endif
    mov rsp, {STACK_TOP} - 8
    push 2
    popfq
    mov rcx, [rsi + {VECTOR}]
    mov rdi, [rsi + {EVENT_BASE}]
    add rdi, rcx
    LOAD_CAPABILITY
    jmp \function
.endm
trap_event:
    ATTEMPT_EVENT try_event
trap_fault:
    ATTEMPT_EVENT try_fault, fault

// On an interrupt stack, whatever ran before: report and return, or do not return.
trap_apart:
    PUSH_REGISTERS
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
1:
trap_nested:
    mov rdi, rsp
    mov rbx, rsp
    and rsp, -16
    push 2
    popfq
    call trap_kernel
    mov rsp, rbx
    POP_REGISTERS
    add rsp, 16                                     // vector, error code
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
    ja guest
    POP_REGISTERS
    add rsp, 16                                     // vector, error code
    iretq
1:  mov rsp, {STACK_TOP}
    call hazards
    mov rdi, rax
    jmp resume

// RSP: a frame whose context entered by SYSCALL, or is to run as if it had: RCX and R11 are as SYSRET leaves them.
leave_by_sysret:
    LOAD rsp, r15, r14, r13, r12, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rax
    mov rcx, [rsp + {RIP}]
    mov r11d, 0x200
    mov rsp, [rsp + {RSP}]
    sysretq

// RDI: the frame of a virtual CPU, which is current. The call says where its control block is (RAX, a physical address, 0
// for none) and how it is entered.
guest:
    mov rsp, {STACK_TOP}
    call guest_enter
    mov rdi, [{FRAME}]
    test rax, rax
    jz resume
    jmp rdx

// What the processor does not switch: general registers, and what VMLOAD and VMSAVE do. The stack is empty.
.global svm_enter
svm_enter:
    clgi                                            // from here on interrupts, NMI included, wait for the guest, or STGI
    sti
    vmload rax
    LOAD rdi, r15, r14, r13, r12, r11, r10, r9, r8, rsi, rbp, rbx, rdx, rcx, rdi
    vmrun rax
    vmsave rax
    mov rax, [{FRAME}]
    STORE rax, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx
    mov rax, [{HOST_STATE}]
    vmload rax
    cli
    stgi
    mov rdi, [{FRAME}]
    call svm_exited
    mov rdi, rax
    jmp resume

// RAX: 1 for the first time, 2 otherwise. The current control structure has the rest.
.global vmx_enter, vmx_exit
vmx_enter:
    cmp eax, 1
    LOAD rdi, r15, r14, r13, r12, r11, r10, r9, r8, rsi, rbp, rbx, rdx, rcx, rax, rdi
    je 1f
    vmresume
    jmp 2f
1:  vmlaunch
2:  mov rdi, [{FRAME}]                              // refused: nothing has changed
    mov qword ptr [rdi + {ERROR}], 1
    jmp 3f
vmx_exit:
    push rdi
    mov rdi, [{FRAME}]
    STORE rdi, r15, r14, r13, r12, r11, r10, r9, r8, rsi, rbp, rbx, rdx, rcx, rax
    pop qword ptr [rdi + AT_rdi]
    mov qword ptr [rdi + {ERROR}], 0
    lgdt [rip + host_gdt]                        // its limit was lifted
    mov eax, {USER_DATA}
    mov ds, eax
    mov es, eax
3:  call vmx_exited
    mov rdi, rax
    jmp resume

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
    STORE rsp, rdi, rsi, rdx, rax, r8, r9, r10
.endm
.macro SAVE_OTHERS base
    mov qword ptr [\base + {VECTOR}], {SYSCALL}
    STORE \base, rbx, rbp, r12, r13, r14, r15
.endm

// Whatever it takes.
way_general:
    SAVE_VOLATILE
    mov r11, rsp
    mov rsp, {STACK_TOP}
general:
    SAVE_OTHERS r11
    mov rdi, r11
call_general:
    mov rsp, {STACK_TOP}
    call hypercall
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
.macro ATTEMPT function, slow, frame
    SAVE_VOLATILE
    .ifnb \frame
    mov rsi, rsp
    .endif
    mov rsp, {STACK_TOP}
    call \function
    mov r11, [{FRAME}]
    cmp eax, {SLOW}
    jae \slow
8:  cmp dword ptr [{HAZARD}], 0
    jne attempted
    mov edi, eax
    LOAD r11, rsi, rdx, rax, r8, r9, r10
    mov rcx, [r11 + {RIP}]
    mov rsp, [r11 + {RSP}]
    mov r11d, 0x200
    sysretq
.endm
way_up:
    ATTEMPT up, 1f
1:  mov edi, eax
    call finish_up
    mov r11, [{FRAME}]
    xor eax, eax
    jmp 8b
way_create:                                         // number 2 to 6
    and r11d, 15
    mov r11, [r11 * 8 + creators - 16]
    ATTEMPT r11, general, frame
way_revoke:
    ATTEMPT try_revoke, general, frame
way_delegate:
    ATTEMPT try_delegate, general, frame
way_down:
    ATTEMPT try_down, 1f
1:  SAVE_OTHERS r11
    mov rdi, r11
    mov esi, eax
    call wait
    mov rdi, [{FRAME}]
    jmp resume
attempted:
    mov [r11 + AT_rdi], rax
    SAVE_OTHERS r11
    mov rdi, r11
    jmp resume

// A call, and how attempts end that do not return (see entry.rs).
way_call:
    SAVE_VOLATILE
    SAVE_OTHERS rsp
    mov rdx, rsp                                    // leaves RSI for the copy
    mov rsp, {STACK_TOP} - 8
    shr rdi, 8
    LOAD_CAPABILITY
    jmp try_call

// RSI: the frame of the context to run from RCX on with RDI in its first register; nothing of the kernel's in others.
.global start, start_elsewhere
start_elsewhere:                                    // in another domain: nor of the last one's
    .irp register, ebx, ebp, r12d, r13d, r14d, r15d
        xor \register, \register
    .endr
start:
    cmp dword ptr [{HAZARD}], 0
    jne 1f
    mov rsp, [rsi + {RSP}]
    .irp register, eax, edx, esi, r8d, r9d, r10d
        xor \register, \register
    .endr
    mov r11d, 0x200
    sysretq
1:  mov [rsi + {RIP}], rcx
    mov [rsi + AT_rdi], rdi
    mov qword ptr [rsi + {VECTOR}], {SYSCALL}
    mov rdi, rsi
    jmp resume

// A serving context that replies keeps only its stack pointer.
way_reply:
    cmp rdi, 1                                      // no semaphore
    jne way_general
    mov rdx, rsp                                    // leaves RDI and RSI for the copy
    mov rsp, {STACK_TOP} - 8
    jmp try_reply

// RSI: the frame of a caller that has its reply.
.global return_to_caller
return_to_caller:
    cmp dword ptr [{HAZARD}], 0
    jne 1f
    mov rcx, [rsi + {RIP}]
    mov rsp, [rsi + {RSP}]
    LOAD rsi, r15, r14, r13, r12, r10, r9, r8, rdi, rbp, rbx, rdx, rax, rsi
    mov r11d, 0x200
    sysretq
1:  mov rdi, rsi
    jmp resume

// RSI: the frame of a context whose exception was handled.
.global return_from_event
return_from_event:
    cmp dword ptr [{HAZARD}], 0
    jne 1b
    mov rsp, rsi
    POP_REGISTERS
    add rsp, 16                                     // vector, error code
    iretq

.section .rodata.entry, "a"
host_gdt:
    .word {GDT_SIZE} - 1
    .quad {GDT}
.balign 8
creators:
    .quad create_domain, create_context, create_scheduling, create_portal, create_semaphore
syscall_ways:
.set way, 0
.rept 256
    .if way == 0
    .quad way_call
    .elseif way == 1
    .quad way_reply
    .elseif (way & 15) == 8 && way >= 0x60
    .quad way_refused
    .elseif (way & 15) >= 2 && (way & 15) <= 6
    .quad way_create
    .elseif (way & 15) == 7
    .quad way_revoke
    .elseif way == 0x18
    .quad way_delegate
    .elseif way == 0x0C
    .quad way_up
    .elseif way == 0x1C
    .quad way_down
    .else
    .quad way_general
    .endif
    .set way, way + 1
.endr
