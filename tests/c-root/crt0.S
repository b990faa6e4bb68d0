/* Start: rsp is the address of the information page and rdi the number of the core; there is no stack. Entries of the
 * contexts that are called: the portal's identity in rdi is the address of a `struct handler`. */
        .section .text.start, "ax"
        .globl  _start
_start:
        mov     %rsp, boot_hip(%rip)
        mov     %rdi, boot_cpu(%rip)
        lea     boot_stack + 16384(%rip), %rsp
        call    main
        ud2

/* A portal's entry: what the handler returns is the semaphore for the reply, or 0. */
        .globl  handler_entry
handler_entry:
        call    handle
        mov     %rax, %rdi
        shl     $8, %rdi
        or      $1, %rdi
        syscall

/* Spoils registers that the interface gives no meaning, and replies. */
        .globl  scratch_entry
scratch_entry:
        mov     $-1, %rbx
        mov     %rbx, %rbp
        mov     %rbx, %r9
        mov     %rbx, %r10
        mov     %rbx, %r12
        mov     %rbx, %r15
        mov     $1, %edi
        syscall

/* First code of a thread: rdi is its `struct thread`. */
        .globl  thread_entry
thread_entry:
        call    run_thread
        ud2

/* Hypercall whose registers are checked: rdi points to 16 words, rax to r15 in the order of their numbers, with 4 for
 * the flags. Loads them, makes the hypercall, stores what came back. */
        .globl  checked_syscall
checked_syscall:
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        push    %rdi
        mov     %rsp, saved_rsp(%rip)
        mov     %rdi, %rax
        mov     0x10(%rax), %rdx
        mov     0x18(%rax), %rbx
        mov     0x28(%rax), %rbp
        mov     0x30(%rax), %rsi
        mov     0x38(%rax), %rdi
        mov     0x40(%rax), %r8
        mov     0x48(%rax), %r9
        mov     0x50(%rax), %r10
        mov     0x60(%rax), %r12
        mov     0x68(%rax), %r13
        mov     0x70(%rax), %r14
        mov     0x78(%rax), %r15
        mov     (%rax), %rax
        std
        stc
        syscall
        .globl  checked_return
checked_return:
        mov     %rax, saved_rax(%rip)
        /* Nothing is pushed before the stack pointer is known to be right. */
        mov     %rsp, %rax
        mov     saved_rsp(%rip), %rsp
        pushfq
        push    %rax
        mov     0x10(%rsp), %rax
        mov     %rcx, 0x08(%rax)
        mov     %rdx, 0x10(%rax)
        mov     %rbx, 0x18(%rax)
        mov     %rbp, 0x28(%rax)
        mov     %rsi, 0x30(%rax)
        mov     %rdi, 0x38(%rax)
        mov     %r8, 0x40(%rax)
        mov     %r9, 0x48(%rax)
        mov     %r10, 0x50(%rax)
        mov     %r11, 0x58(%rax)
        mov     %r12, 0x60(%rax)
        mov     %r13, 0x68(%rax)
        mov     %r14, 0x70(%rax)
        mov     %r15, 0x78(%rax)
        pop     %rcx
        sub     saved_rsp(%rip), %rcx
        pop     %rdx
        mov     %rdx, 0x20(%rax)
        mov     saved_rax(%rip), %rdx
        mov     %rdx, (%rax)
        /* Difference of the stack pointer, as the result. */
        mov     %rcx, %rax
        pop     %rdi
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        cld
        ret

        .bss
        .balign 16
boot_stack:
        .skip   16384
        .globl  boot_hip, boot_cpu
boot_hip:
        .skip   8
boot_cpu:
        .skip   8
saved_rsp:
        .skip   8
saved_rax:
        .skip   8
        .section .note.GNU-stack, "", @progbits
