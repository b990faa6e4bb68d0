/* What Genode's core does first, in its order: a lock, ports, the BIOS data area, its own message page at a second place,
 * portals for its own faults whose identities nobody can change any more, the idle contexts. */
#include "root.h"

#define FAULT_UTCB UINT64_C(0xbff02000)
#define SECOND_UTCB UINT64_C(0xbff00000)

static struct handler fault_server, fault[32];

/* Lets the faulter go on behind its instruction; `argument` is its length. */
static uint64_t skip(struct handler *handler)
{
    volatile struct vela_arch_state *state = vela_state(handler->utcb);
    handler->seen[0] = state->qual[0];
    handler->seen[1] = state->qual[1];
    handler->seen[2] = state->rip;
    handler->seen[3] = state->rsp;
    state->rip += handler->argument;
    state->mtd = VELA_MTD_RIP_LEN;
    handler->utcb->items = 0;
    return 0;
}

static void check_hip(void)
{
    uint16_t sum = 0;
    for (unsigned at = 0; at < hip()->length; at += 2)
        sum = (uint16_t)(sum + *(uint16_t *)(boot_hip + at));
    for (unsigned cpu = 0; cpu < cpu_slots(); cpu++)
        cores += cpu_descriptor(cpu)->flags & VELA_CPU_ENABLED;
    expect("hip-address", boot_hip, VELA_HIP_ADDRESS);
    expect("hip-signature", hip()->signature, VELA_HIP_SIGNATURE);
    expect("hip-version", hip()->api_version, VELA_API_VERSION);
    expect("hip-checksum", sum, 0);
    expect("hip-selectors", hip()->selectors, VELA_SELECTORS);
    expect("hip-root-selector", hip()->exception_selectors, VELA_ROOT_PD);
    expect("hip-interrupts", hip()->interrupts, VELA_GSI_COUNT);
    expect("hip-vcpu-events", hip()->vcpu_selectors, VELA_EVENT_VCPU_COUNT);
    expect("hip-descriptor-sizes", hip()->cpu_size << 16 | hip()->memory_size, 12 << 16 | 24);
    expect("hip-page-and-utcb-sizes", (hip()->page_sizes & hip()->utcb_sizes), 0x1000);
    check("hip-boot-core-runs", cpu_descriptor((unsigned)boot_cpu)->flags & VELA_CPU_ENABLED);
    check("hip-has-tsc-frequency", hip()->tsc_khz > 100000);
}

static void own_faults(void)
{
    fault_server.utcb = (struct vela_utcb *)FAULT_UTCB;
    fault_server.ec = selectors(0);
    static unsigned char stack[4096] __attribute__((aligned(16)));
    expect("start-fault-context",
           vela_create_ec(fault_server.ec, 0, VELA_ROOT_PD, boot_cpu, FAULT_UTCB, (uint64_t)stack + 4096, 0), 0);
    unsigned failed = 0;
    for (uint64_t event = 0; event < VELA_EVENT_THREAD_COUNT; event++) {
        if (event == 0x1d || event == VELA_EVENT_STARTUP)
            continue;
        failed += portal_at(event, VELA_MTD_QUAL | VELA_MTD_RSP | VELA_MTD_RIP_LEN, &fault[event], &fault_server, skip) != 0;
        failed += vela_revoke(0, vela_crd(VELA_CRD_OBJECTS, 1, 0, event), 0, 0) != 0;
    }
    expect("start-fault-portals", failed, 0);
    /* A revocation without the flag for it leaves the own mapping alone. */
    expect("start-identity-still-settable", vela_pt_ctrl(6, (uint64_t)&fault[6]), 0);
    /* All but the lock and what follows it. */
    for (uint64_t event = 0; event < 0x1d; event++)
        vela_revoke(VELA_REVOKE_SELF, vela_crd(VELA_CRD_OBJECTS, 1, 0, event), 0, 0);
    expect("start-identity-fixed", vela_pt_ctrl(6, 0), VELA_BAD_CAP);
}

void check_start(void)
{
    uint64_t ports = vela_crd(VELA_CRD_PORTS, 0x1f, 16, 0);
    unsigned lock = vela_create_sm(0x1d, VELA_ROOT_PD, 0, 0);
    unsigned given = give(VELA_ROOT_PD, VELA_ROOT_PD, ports, VELA_ITEM_HYPERVISOR, 0, ports);
    say("c-root: the program starts\n");
    expect("start-lock", lock, 0);
    expect("start-ports-of-the-hypervisor", given, 0);
    check_hip();
    expect("start-bios-data-area", map(0, 0x1000, VELA_RIGHT_MEMORY_READ), 0);
    check("start-bios-data-area-has-the-serial-port", *(volatile uint16_t *)0x1400 == 0x3f8);
    uint64_t own = vela_crd(VELA_CRD_MEMORY, 3, 0, (uint64_t)utcb() >> 12);
    expect("start-utcb-again",
           give(VELA_ROOT_PD, VELA_ROOT_PD, own, 0, 0, vela_crd(VELA_CRD_MEMORY, 3, 0, SECOND_UTCB >> 12)), 0);
    utcb()->tls = 0x1234;
    __asm__ volatile("" : : : "memory");
    expect("start-utcb-is-the-same-page", ((volatile struct vela_utcb *)SECOND_UTCB)->tls, 0x1234);
    own_faults();
    fault[6].argument = 2;
    __asm__ volatile("ud2");
    expect("fault-undefined", fault[6].calls, 1);
    fault[VELA_EVENT_PF].argument = 3;
    __asm__ volatile("mov %%rax, (%%rcx)" : : "c"(UINT64_C(0x1400)), "a"(UINT64_C(0x3f8)) : "memory");
    expect("fault-write-to-a-page-that-is-read-only", fault[VELA_EVENT_PF].calls, 1);
    expect("fault-write-error-code", fault[VELA_EVENT_PF].seen[0], 7);
    __asm__ volatile("mov (%%rcx), %%rax" : : "c"(UINT64_C(0x7ffe00000123)) : "rax");
    expect("fault-nothing-there", fault[VELA_EVENT_PF].calls, 2);
    expect("fault-error-code", fault[VELA_EVENT_PF].seen[0], 4);
    expect("fault-address", fault[VELA_EVENT_PF].seen[1], 0x7ffe00000123);
    unsigned order = 0;
    while (1u << order < cpu_slots())
        order++;
    uint64_t idle = selectors(order), crd = vela_crd(VELA_CRD_OBJECTS, 0x1f, order, 0);
    expect("start-idle-contexts", give(VELA_ROOT_PD, VELA_ROOT_PD, crd, VELA_ITEM_HYPERVISOR, 0,
                                       vela_crd(VELA_CRD_OBJECTS, 0x1f, order, idle)), 0);
    struct vela_registers time = {vela_request(VELA_SC_CTRL, VELA_SC_TIME, idle + boot_cpu), 0, 0, 0, 0};
    expect("idle-time", vela_syscall(&time), 0);
    time.rdi = vela_request(VELA_SC_CTRL, VELA_SC_CROSS_TIME, idle + boot_cpu);
    expect("idle-cross-time", vela_syscall(&time), 0);
    time.rdi = vela_request(VELA_SC_CTRL, VELA_SC_KILLED_TIME, idle + boot_cpu);
    expect("idle-killed-time", vela_syscall(&time), 0);
    time.rdi = vela_request(VELA_SC_CTRL, VELA_SC_BOTH_TIMES, idle + boot_cpu);
    expect("idle-both-killed-times", vela_syscall(&time), 0);
    time.rdi = vela_request(VELA_SC_CTRL, VELA_SC_TIME, idle + cpu_slots() - 1);
    check("idle-of-an-absent-core", vela_syscall(&time) == VELA_BAD_CAP || cores == cpu_slots());
}

/* The convention of registers, with a hypercall that gives nothing back. */
void check_registers(void)
{
    uint64_t words[16];
    for (unsigned index = 0; index < 16; index++)
        words[index] = 0x1111111111111111u * index;
    words[7] = vela_request(VELA_SM_CTRL, 0, 0x1d);
    uint64_t moved = checked_syscall(words);
    expect("registers-status", words[7], 0);
    expect("registers-stack-pointer", moved, 0);
    expect("registers-rcx-is-the-return-address", words[1], (uint64_t)checked_return);
    expect("registers-r11", words[11], 0x200);
    expect("registers-flags", words[4], 0x202);
    unsigned kept = 0;
    for (unsigned index = 0; index < 16; index++)
        kept += index != 1 && index != 4 && index != 7 && index != 11 && words[index] == 0x1111111111111111u * index;
    expect("registers-kept", kept, 12);
    expect("registers-lock-was-upped", vela_down(0x1d, VELA_SM_ZERO, 1), 0);
}
