// The first instructions: from the boot loader's 32-bit mode to Rust in 64-bit mode.
//
// Purpose: build the first page tables and switch to them. They follow the final layout already: no page is both
// writable and executable, the boot core runs on its final stack, with its core-local page, at their fixed addresses.
// State on entry (multiboot2 specification 2.0, 3.3): EAX magic, EBX boot information, protected mode, paging off,
// flat segments, interrupts off. Nothing else is relied upon: control registers are written whole, because UEFI
// leaves bits set.
// The tables, in the order of `boot_tables`:
//   0 top level   1 low directory pointers   2 low directory   3 low leaves at 16 MiB (this code, read-execute)
//   4 low leaves at 0 (application-processor trampoline)   5 high directory pointers   6 directory of GiB 510
//   7-8 leaves of the image   9 leaves of what is per core   10 directory of GiB 511   11 leaves of the window

.section .multiboot2, "a"
.balign 8
header:
    .long 0xE85250D6                                // magic
    .long 0                                         // architecture: i386, protected mode
    .long header_end - header
    .long -(0xE85250D6 + 0 + (header_end - header))
    .balign 8
    .short 6, 0                                     // tag: modules page-aligned
    .long 8
    .balign 8
    .short 0, 0                                     // end of tags
    .long 8
header_end:

.section .boot, "ax"
.code32
.global boot_entry
boot_entry:
    cli
    cld
    mov ebp, ebx                                    // boot information
    mov esi, offset no_multiboot
    cmp eax, 0x36D76289
    jne give_up
    mov esi, offset no_long_mode
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb give_up
    mov eax, 0x80000001
    cpuid
    bt edx, 29                                      // long mode
    jnc give_up
    mov esi, offset no_no_execute
    bt edx, 20                                      // no-execute pages
    jnc give_up

    mov esi, offset links                           // references between tables
1:  mov edi, [esi]
    test edi, edi
    jz 2f
    mov eax, [esi + 4]
    mov [edi], eax
    add esi, 8
    jmp 1b
2:  mov esi, offset ranges                          // leaves
3:  mov edi, [esi]
    test edi, edi
    jz 5f
    mov eax, [esi + 4]                              // from here
    mov ecx, [esi + 8]                              // to here
    mov edx, [esi + 12]                             // bit 31: no execute; bits 11:0: as in the entry
4:  cmp eax, ecx
    jae 6f
    mov ebx, edx
    and ebx, 0xFFF
    or ebx, eax
    mov [edi], ebx
    mov ebx, edx
    and ebx, 0x80000000
    mov [edi + 4], ebx
    add edi, 8
    add eax, 4096
    jmp 4b
6:  add esi, 16
    jmp 3b

5:  mov eax, 0x20                                   // CR4: PAE
    mov cr4, eax
    mov eax, offset phys_boot_tables
    mov cr3, eax
    mov ecx, 0xC0000080                             // EFER: LME, NXE, before any no-execute entry is used
    mov eax, 0x900
    xor edx, edx
    wrmsr
    mov eax, 0x80010033                             // CR0: PG, WP, NE, ET, MP, PE
    mov cr0, eax
    lgdt [gdt_pointer]
    ljmp 0x08, offset long_mode

give_up:                                            // ESI: what to say
    mov dx, 0x3FB
    mov al, 3
    out dx, al
7:  lodsb
    test al, al
    jz 9f
    out 0xE9, al
    mov ah, al
    mov dx, 0x3FD
    mov ecx, 100000
8:  in al, dx
    test al, 0x20
    loopz 8b
    mov dx, 0x3F8
    mov al, ah
    out dx, al
    jmp 7b
9:  hlt
    jmp 9b

.code64
long_mode:
    mov edi, ebp
    xor ebp, ebp
    mov rsp, {STACK_TOP}
    movabs rax, offset kernel_start
    call rax
    ud2

.balign 8
gdt:
    .quad 0
    .quad 0x00AF9B000000FFFF                        // 64-bit code
gdt_pointer:
    .short 15
    .long gdt

.balign 8
links:                                              // entry, value; ends with 0
    .long phys_boot_tables + 0 * 4096 + 0 * 8, phys_boot_tables + 1 * 4096 + 3
    .long phys_boot_tables + 0 * 4096 + 511 * 8, phys_boot_tables + 5 * 4096 + 3
    .long phys_boot_tables + 1 * 4096 + 0 * 8, phys_boot_tables + 2 * 4096 + 3
    .long phys_boot_tables + 2 * 4096 + 0 * 8, phys_boot_tables + 4 * 4096 + 3
    .long phys_boot_tables + 2 * 4096 + 8 * 8, phys_boot_tables + 3 * 4096 + 3
    .long phys_boot_tables + 5 * 4096 + 510 * 8, phys_boot_tables + 6 * 4096 + 3
    .long phys_boot_tables + 5 * 4096 + 511 * 8, phys_boot_tables + 10 * 4096 + 3
    .long phys_boot_tables + 6 * 4096 + 8 * 8, phys_boot_tables + 7 * 4096 + 3
    .long phys_boot_tables + 6 * 4096 + 9 * 8, phys_boot_tables + 8 * 4096 + 3
    .long phys_boot_tables + 6 * 4096 + 511 * 8, phys_boot_tables + 9 * 4096 + 3
    .long phys_boot_tables + 10 * 4096 + {WINDOW_DIRECTORY_INDEX} * 8, phys_boot_tables + 11 * 4096 + 3
    .long 0
ranges:                                             // first entry, from, to, rights; ends with 0
    .long entry_boot, 0x1000000, phys_boot_end, 1
    .long entry_text, phys_text_start, phys_text_end, 1
    .long entry_rodata, phys_text_end, phys_rodata_end, 0x80000001
    .long entry_data, phys_rodata_end, phys_data_end, 0x80000003
    .long phys_boot_tables + 9 * 4096 + {STACK_INDEX} * 8
    .long phys_boot_stack, phys_boot_stack + {STACK_PAGES} * 4096, 0x80000003
    .long phys_boot_tables + 9 * 4096 + {IST1_INDEX} * 8
    .long phys_boot_interrupt_stacks, phys_boot_interrupt_stacks + 2 * 4096, 0x80000003
    .long phys_boot_tables + 9 * 4096 + ({IST1_INDEX} - 3) * 8
    .long phys_boot_interrupt_stacks + 2 * 4096, phys_boot_interrupt_stacks + 4 * 4096, 0x80000003
    .long phys_boot_tables + 9 * 4096 + ({IST1_INDEX} - 6) * 8
    .long phys_boot_interrupt_stacks + 4 * 4096, phys_boot_interrupt_stacks + 6 * 4096, 0x80000003
    .long phys_boot_tables + 9 * 4096 + ({IST1_INDEX} - 9) * 8
    .long phys_boot_interrupt_stacks + 6 * 4096, phys_boot_interrupt_stacks + 8 * 4096, 0x80000003
    .long phys_boot_tables + 9 * 4096 + 511 * 8
    .long phys_boot_core_local, phys_boot_core_local + 4096, 0x80000003
    .long 0

no_multiboot:
    .asciz "vela: not started by a multiboot2 loader; start the kernel with GRUB's `multiboot2` command\r\n"
no_long_mode:
    .asciz "vela: this processor has no 64-bit mode\r\n"
no_no_execute:
    .asciz "vela: this processor has no no-execute pages, or the firmware has switched them off\r\n"

.section .bss_pages, "aw", @nobits
.balign 4096
.global boot_tables, boot_stack, boot_interrupt_stacks, boot_core_local
boot_tables:
    .skip 12 * 4096
boot_stack:
    .skip {STACK_PAGES} * 4096
boot_interrupt_stacks:
    .skip 8 * 4096
boot_core_local:
    .skip 4096
.text
