/* Kernel memory: limits, moving pages, what happens when they are used up, and who is asked for more. */
#include "root.h"

static uint64_t limit, usage;

static unsigned debug(uint64_t pd)
{
    struct vela_registers registers = {vela_request(VELA_PD_CTRL, VELA_PD_DEBUG, pd), 0, 0, 0, 0};
    unsigned status = vela_syscall(&registers);
    limit = registers.rsi;
    usage = registers.rdx;
    return status;
}

/* Leaves `pages` free ones in the domain. */
static void drain(uint64_t pd, uint64_t pages)
{
    debug(pd);
    if (limit > usage + pages)
        vela_pd_transfer(pd, VELA_ROOT_PD, limit - usage - pages);
}

static void moving(void)
{
    uint64_t pd = selectors(0);
    expect("quota-domain", vela_create_pd(pd, VELA_ROOT_PD, 0, 2, 32), 0);
    expect("quota-debug", debug(pd), 0);
    expect("quota-limit", limit, 32);
    check("quota-usage", usage < limit);
    expect("quota-transfer", vela_pd_transfer(VELA_ROOT_PD, pd, 2), 0);
    debug(pd);
    expect("quota-transfer-arrives", limit, 34);
    expect("quota-transfer-back", vela_pd_transfer(pd, VELA_ROOT_PD, 2), 0);
    debug(pd);
    expect("quota-transfer-back-arrives", limit, 32);
    expect("quota-transfer-too-much", vela_pd_transfer(pd, VELA_ROOT_PD, 33), VELA_BAD_PAR);
    expect("quota-transfer-the-lower-limit-too", vela_pd_transfer(pd, VELA_ROOT_PD, 32 - usage), VELA_BAD_PAR);
    expect("quota-transfer-overflow", vela_pd_transfer(pd, VELA_ROOT_PD, UINT64_MAX), VELA_BAD_PAR);
    expect("quota-transfer-to-nobody", vela_pd_transfer(pd, VELA_ROOT_EC, 1), VELA_BAD_CAP);
    expect("quota-debug-of-nobody", debug(VELA_ROOT_EC), VELA_BAD_CAP);
    expect("quota-wrong-way-round", vela_create_pd(selectors(0), VELA_ROOT_PD, 0, 3, 2), VELA_BAD_PAR);
    unsigned status = vela_create_pd(selectors(0), pd, 0, 2, 1000);
    check("quota-donor-too-poor", status == VELA_BAD_PAR || status == VELA_PD_OOM);
    status = 0;
    for (unsigned round = 0; round < 32 && !status; round++)
        status = vela_create_ec(selectors(1), 0, pd, boot_cpu, UINT64_C(0x70000000) + round * 0x1000, 0, 0);
    expect("quota-used-up", status, VELA_PD_OOM);
    debug(pd);
    check("quota-not-exceeded", usage <= limit);
    debug(VELA_ROOT_PD);
    uint64_t before = usage;
    uint64_t notify = new_semaphore(0);
    vela_revoke(VELA_REVOKE_SELF, object(pd), 0, notify);
    expect("quota-domain-ends", vela_down(notify, 0, in_ms(PATIENCE)), 0);
    debug(VELA_ROOT_PD);
    check("quota-comes-back", usage <= before);
}

static uint64_t poor;

/* Gives the poor domain pages. */
static uint64_t relieve(struct handler *handler)
{
    handler->seen[0] |= vela_pd_transfer(VELA_ROOT_PD, poor, 32);
    return 0;
}

/* In the poor domain, which has its own capability at `argument`: maps a page of its own in many places. */
static void spread(struct thread *thread)
{
    struct vela_utcb *page = (struct vela_utcb *)thread->utcb;
    uint64_t crd = vela_crd(VELA_CRD_MEMORY, 3, 0, (uint64_t)thread >> 12);
    for (uint64_t round = 0; round < 48; round++) {
        uint64_t window = vela_crd(VELA_CRD_MEMORY, 3, 0, UINT64_C(0x10000000) + (round << 18));
        vela_set_item(page, 0, crd, vela_item_control(VELA_ITEM_DELEGATE, 0, 0));
        page->items = vela_items(0, 1);
        unsigned status = vela_delegate(thread->argument, thread->argument, window);
        if (status && !thread->result)
            thread->result = status;
        thread->phase++;
    }
}

static uint64_t accept(struct handler *handler)
{
    handler->seen[0] = handler->utcb->words[506];
    handler->utcb->delegate_window = vela_crd(VELA_CRD_MEMORY, 7, 31, 0);
    handler->utcb->items = 0;
    return 0;
}

static void portal_for_memory(void)
{
    static struct handler server, asked, receiver, asked_by_receiver;
    static struct thread thread;
    poor = new_domain(2, 256);
    check("oom-domain", poor != 0);
    serve_at(&server, VELA_ROOT_PD, boot_cpu, relieve);
    prepare_thread(&thread, poor, boot_cpu, spread);
    expect("oom-portal", portal_at(thread.ec + 1, 0, &asked, &server, relieve), 0);
    give_cap(poor, poor, 0x1f, 0x5000);
    thread.argument = 0x5000;
    drain(poor, 16);
    expect("oom-thread", launch_thread(&thread, 2), 0);
    drain(poor, 2);
    check("oom-thread-ends", join(&thread, PATIENCE));
    expect("oom-all-went-well", thread.result, 0);
    expect("oom-all-were-made", thread.phase, 48);
    check("oom-portal-was-called", asked.calls > 0);
    expect("oom-handler-could-give", asked.seen[0], 0);
    if (asked.calls) {
        expect("oom-own-hypercall-source", asked.rsi, (uint64_t)&asked);
        expect("oom-own-hypercall-reason", asked.rdx, 4);
    }
    /* A message for a server of the poor domain. */
    receiver = (struct handler){.function = accept, .utcb = (struct vela_utcb *)addresses(0), .ec = selectors(1)};
    portal_at(receiver.ec + 1, 0, &asked_by_receiver, &server, relieve);
    vela_pd_transfer(VELA_ROOT_PD, poor, 64);
    static unsigned char stack[4096] __attribute__((aligned(16)));
    expect("oom-server", vela_create_ec(receiver.ec, 0, poor, boot_cpu, (uint64_t)receiver.utcb, (uint64_t)stack + 4096, 0x800), 0);
    portal_at(selectors(0), 0, &receiver, &receiver, accept);
    call_words(receiver.portal, 0);
    drain(poor, 0);
    unsigned failed = 0;
    for (uint64_t round = 0; round < 32; round++) {
        vela_set_item(utcb(), 0, vela_crd(VELA_CRD_MEMORY, 1, 0, (uint64_t)&thread >> 12),
                      vela_item_control(VELA_ITEM_DELEGATE, 0, UINT64_C(0x20000000) + (round << 18)));
        utcb()->items = vela_items(0, 1);
        failed += vela_call(receiver.portal) != 0 || receiver.seen[0] == 0;
    }
    expect("oom-message", failed, 0);
    check("oom-message-asks-for-the-receiver", asked_by_receiver.calls > 0);
    if (asked_by_receiver.calls) {
        expect("oom-message-sender-has-no-portal", asked_by_receiver.rsi, UINT64_MAX);
        expect("oom-message-in-the-send-phase", asked_by_receiver.rdx & 3, 1);
    }
    /* Nobody to ask: a delegation ends with a status. */
    drain(poor, 0);
    unsigned status = 0;
    for (uint64_t round = 0; round < 64 && !status; round++)
        status = give(VELA_ROOT_PD, poor, vela_crd(VELA_CRD_MEMORY, 1, 0, (uint64_t)&thread >> 12), 0, 0,
                      vela_crd(VELA_CRD_MEMORY, 1, 0, UINT64_C(0x30000000) + (round << 18)));
    expect("oom-delegation", status, VELA_PD_OOM);
}

void check_quota(void)
{
    moving();
    portal_for_memory();
}
