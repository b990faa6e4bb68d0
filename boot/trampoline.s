// Where an application processor starts: one page below 640 KiB, copied from here, read-execute in the boot tables.
//
// Purpose: from real mode to the kernel's text. The page is position-independent; the three 32-bit words that depend
// on where it lies are patched by the boot core before the first start-up interrupt.
// State on entry (AMD64 manual volume 2, 16.3; Intel SDM volume 3, 9.4.4): real mode, CS = page number << 8, IP 0.
// Then `application_entry` finds its mailbox: a core whose APIC id is not the expected one, or that comes too late,
// parks for ever.

.section .rodata
.balign 8
.global trampoline_start, trampoline_end, trampoline_gdt_base, trampoline_jump
trampoline_start:
.code16
    cli
    cld
    mov ax, cs
    mov ds, ax
    mov eax, 0x20                                   // CR4: PAE
    mov cr4, eax
    mov eax, offset phys_boot_tables
    mov cr3, eax
    mov ecx, 0xC0000080                             // EFER: LME, NXE
    mov eax, 0x900
    xor edx, edx
    wrmsr
    mov eax, 0x80010033                             // CR0: PG, WP, NE, ET, MP, PE
    mov cr0, eax
    lgdtd [trampoline_gdt_offset]
    .byte 0x66, 0xFF, 0x2E                          // far jump through the 48-bit pointer at …
    .short trampoline_jump_offset
.balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF                        // 64-bit code
trampoline_gdt_pointer:
    .short 15
trampoline_gdt_base:
    .long trampoline_gdt - trampoline_start         // + page
trampoline_jump:
    .long trampoline_long - trampoline_start        // + page
    .short 0x08
.code64
trampoline_long:
    movabs rax, offset application_entry
    jmp rax
trampoline_end:
.set trampoline_gdt_offset, trampoline_gdt_pointer - trampoline_start
.set trampoline_jump_offset, trampoline_jump - trampoline_start

.text
.code64
application_entry:
    mov eax, 0                                      // this core's APIC id, 32 bits where there are 32
    cpuid
    cmp eax, 0xB
    jb 1f
    mov eax, 0xB
    xor ecx, ecx
    cpuid
    test ebx, ebx
    jnz 2f
1:  mov eax, 1
    cpuid
    mov edx, ebx
    shr edx, 24
2:  lea rsi, [rip + {MAILBOX}]
    mov eax, edx
    mov ecx, -1
    lock cmpxchg [rsi + {EXPECTED}], ecx            // claims the offer if it is for this core; nobody else can then
    jne 3f
    mov rax, [rsi + {ROOT}]
    mov cr3, rax
    mov rsp, {STACK_TOP}
    xor ebp, ebp
    call application_start
3:  cli
    hlt
    jmp 3b
