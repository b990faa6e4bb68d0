/* Interrupts: the timer of 1981 through a pin, as a semaphore and as a signal; messages; what is refused. */
#include "root.h"

static uint64_t gsi_at(uint64_t gsi)
{
    uint64_t sel = selectors(0), from = vela_crd(VELA_CRD_OBJECTS, 0x1f, 0, cpu_slots() + gsi);
    return give(VELA_ROOT_PD, VELA_ROOT_PD, from, VELA_ITEM_HYPERVISOR, 0, object(sel)) ? 0 : sel;
}

static unsigned assign(uint64_t sm, uint64_t flags, uint64_t page, uint64_t cpu, uint64_t chain, struct vela_registers *found)
{
    *found = (struct vela_registers){vela_request(VELA_ASSIGN_GSI, flags, sm), page, cpu, chain, 0};
    return vela_syscall(found);
}

/* 100 Hz. */
static void start_timer(void)
{
    outb(0x43, 0x34);
    outb(0x40, 11932 & 0xff);
    outb(0x40, 11932 >> 8);
}

static unsigned ticks(uint64_t sm)
{
    unsigned count = 0;
    for (unsigned round = 0; round < 3; round++)
        count += vela_down(sm, 0, in_ms(PATIENCE)) == 0;
    return count;
}

static void chain(uint64_t timer, uint64_t cpu, const char *const names[4])
{
    struct vela_registers found;
    uint64_t receiver = new_semaphore(0), signal = selectors(0);
    vela_create_sm(signal, VELA_ROOT_PD, 0x9e9e, receiver);
    expect(names[0], assign(timer, VELA_GSI_CONFIGURE, 0, cpu, signal, &found), 0);
    unsigned right = 0;
    for (unsigned round = 0; round < 3; round++) {
        found = (struct vela_registers){vela_request(VELA_SM_CTRL, VELA_SM_DOWN, receiver), in_ms(PATIENCE) >> 32,
                                        in_ms(PATIENCE) & 0xffffffff, 0, 0};
        right += vela_syscall(&found) == 0 && found.rsi == 0x9e9e && found.rdx >= 1;
        right += vela_down(timer, 0, 0) == 0;
    }
    expect(names[1], right, 6);
    expect(names[2], assign(timer, 0, 0, cpu, timer, &found), 0);
    expect(names[3], ticks(timer), 3);
}

void check_interrupts(void)
{
    static const char *const local[] = {"gsi-chain", "gsi-chain-signals", "gsi-unchain", "gsi-unchain-ticks"};
    static const char *const remote[] = {"gsi-remote-chain", "gsi-remote-chain-signals", "gsi-remote-unchain",
                                         "gsi-remote-unchain-ticks"};
    struct vela_registers found;
    uint64_t timer = gsi_at(2), other = gsi_at(5), message = gsi_at(100);
    check("gsi-semaphores", timer && other && message);
    expect("gsi-assign", assign(timer, VELA_GSI_CONFIGURE, 0, boot_cpu, UINT64_MAX, &found), 0);
    check("gsi-pin-has-no-message", found.rsi == 0 && found.rdx == 0);
    start_timer();
    expect("gsi-ticks", ticks(timer), 3);
    chain(timer, boot_cpu, local);
    if (cores > 1)
        chain(timer, other_core(), remote);
    expect("gsi-level-low", assign(other, VELA_GSI_CONFIGURE | VELA_GSI_LEVEL | VELA_GSI_LOW, 0, boot_cpu, UINT64_MAX, &found), 0);
    expect("gsi-silent", vela_down(other, 0, in_ms(2)), VELA_COM_TIM);
    expect("gsi-absent-core", assign(other, 0, 0, 0xfff, UINT64_MAX, &found), VELA_BAD_CPU);
    expect("gsi-no-interrupt", assign(new_semaphore(0), 0, 0, boot_cpu, UINT64_MAX, &found), VELA_BAD_CAP);
    expect("gsi-no-semaphore", assign(VELA_ROOT_PD, 0, 0, boot_cpu, UINT64_MAX, &found), VELA_BAD_CAP);
    expect("gsi-chain-to-no-semaphore", assign(other, 0, 0, boot_cpu, VELA_ROOT_PD, &found), VELA_BAD_CAP);
    expect("gsi-chain-to-an-interrupt", assign(other, 0, 0, boot_cpu, timer, &found), VELA_BAD_CAP);
    expect("gsi-pin-with-a-device", assign(other, 0, (uint64_t)utcb(), boot_cpu, UINT64_MAX, &found), VELA_BAD_DEV);
    expect("gsi-message", assign(message, 0, 0, boot_cpu, UINT64_MAX, &found), 0);
    expect("gsi-message-address", found.rdx >> 32 & 0xfff00000, 0xfee00000);
    expect("gsi-message-of-no-device", assign(message, 0, (uint64_t)utcb(), boot_cpu, UINT64_MAX, &found), VELA_BAD_DEV);
}
