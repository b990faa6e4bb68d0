/* Recall, with and without the state; pausing a thread by a reply with a semaphore; moving one to another core. */
#include "root.h"

static void spin(struct thread *thread)
{
    thread->phase = 1;
    while (!thread->argument) {}
}

static void wait(struct thread *thread) { thread->result = vela_down(thread->argument, 0, 0); }

static void undefined(struct thread *thread)
{
    (void)thread;
    __asm__ volatile("ud2");
}

/* Pauses the thread once. */
static uint64_t pause(struct handler *handler)
{
    vela_state(handler->utcb)->mtd = 0;
    handler->utcb->items = 0;
    return handler->calls == 1 ? handler->argument : 0;
}

/* Serves #UD: waits while it serves, then lets the thread go on. */
static uint64_t serve_slowly(struct handler *handler)
{
    vela_up(handler->argument);
    vela_down(handler->argument + 1, 0, 0);
    vela_state(handler->utcb)->rip += 2;
    vela_state(handler->utcb)->mtd = VELA_MTD_RIP_LEN;
    handler->utcb->items = 0;
    return 0;
}

static unsigned recall(uint64_t ec, uint64_t rsi) { return vela_hypercall(VELA_EC_CTRL, VELA_EC_RECALL, ec, rsi, 0, 0, 0); }

static int within(uint64_t address, const void *from, uint64_t size)
{
    return address >= (uint64_t)from && address < (uint64_t)from + size;
}

static void recall_at(const char *const names[5], uint64_t cpu)
{
    static struct handler servers[2], recalls[2];
    static struct thread threads[2];
    struct handler *server = &servers[cpu != boot_cpu], *recalled = &recalls[cpu != boot_cpu];
    struct thread *thread = &threads[cpu != boot_cpu];
    serve_at(server, VELA_ROOT_PD, cpu, pause);
    prepare_thread(thread, VELA_ROOT_PD, cpu, spin);
    portal_at(thread->events + VELA_EVENT_RECALL, VELA_MTD_RIP_LEN | VELA_MTD_FS_GS, recalled, server, pause);
    recalled->argument = new_semaphore(0);
    launch_thread(thread, 1);
    for (unsigned round = 0; round < PATIENCE && !thread->phase; round++)
        sleep_ms(1);
    unsigned status = VELA_COM_TIM;
    for (unsigned round = 0; round < PATIENCE && status == VELA_COM_TIM; round++) {
        status = recall(thread->ec, 1);
        if (status == VELA_COM_TIM)
            sleep_ms(1);
    }
    volatile struct vela_arch_state *state = vela_state(utcb());
    expect(names[0], status, 0);
    check(names[1], within(state->rip, (void *)0x100000, 0x100000) && within(state->rsp, (void *)(thread->stack - 4096), 4097));
    expect(names[2], state->qual[0], 0);
    for (unsigned round = 0; round < PATIENCE && !recalled->calls; round++)
        sleep_ms(1);
    check(names[3], recalled->calls >= 1);
    thread->argument = 1;
    vela_up(recalled->argument);
    check(names[4], join(thread, PATIENCE));
}

static void blocked_and_faulting(void)
{
    static struct handler server, fault;
    static struct thread waiter, faulter;
    prepare_thread(&waiter, VELA_ROOT_PD, boot_cpu, wait);
    waiter.argument = new_semaphore(0);
    launch_thread(&waiter, 2);
    expect("recall-of-a-waiting-thread", recall(waiter.ec, 1), 0);
    volatile struct vela_arch_state *state = vela_state(utcb());
    check("recall-waiting-has-user-values", within(state->rip, (void *)0x100000, 0x100000)
          && within(state->rsp, (void *)(waiter.stack - 4096), 4097));
    expect("recall-waiting-is-in-no-exception", state->qual[0], 0);

    uint64_t semaphores = selectors(1);
    vela_create_sm(semaphores, VELA_ROOT_PD, 0, 0);
    vela_create_sm(semaphores + 1, VELA_ROOT_PD, 0, 0);
    serve_at(&server, VELA_ROOT_PD, boot_cpu, serve_slowly);
    prepare_thread(&faulter, VELA_ROOT_PD, boot_cpu, undefined);
    portal_at(faulter.events + VELA_EVENT_UD, VELA_MTD_RIP_LEN, &fault, &server, serve_slowly);
    fault.argument = semaphores;
    launch_thread(&faulter, 2);
    expect("recall-faulter-is-served", vela_down(semaphores, 0, in_ms(PATIENCE)), 0);
    expect("recall-of-a-faulting-thread", recall(faulter.ec, 1), 0);
    expect("recall-faulting-is-in-an-exception", vela_state(utcb())->qual[0], 1);
    /* A recall is pending now and there is no portal for it. */
    vela_revoke(VELA_REVOKE_SELF, object(faulter.sc), 0, 0);
    expect("recall-of-no-context", recall(VELA_ROOT_PD, 0), VELA_BAD_CAP);
    uint64_t weak = selectors(0);
    give(VELA_ROOT_PD, VELA_ROOT_PD, vela_crd(VELA_CRD_OBJECTS, 0x1e, 0, faulter.ec), 0, 0, object(weak));
    expect("recall-without-permission", recall(weak, 0), VELA_BAD_CAP);
}

void check_recall(void)
{
    static const char *const local[] = {"recall", "recall-state", "recall-in-no-exception", "recall-portal", "recall-goes-on"};
    static const char *const remote[] = {"recall-remote", "recall-remote-state", "recall-remote-in-no-exception",
                                         "recall-remote-portal", "recall-remote-goes-on"};
    recall_at(local, boot_cpu);
    if (cores > 1)
        recall_at(remote, other_core());
    blocked_and_faulting();
}

/* ---- Migration ---- */

static void find_core(struct thread *thread)
{
    thread->phase = 1;
    while (!thread->argument) {}
    uint32_t core;
    __asm__ volatile("rdtscp" : "=c"(core) : : "eax", "edx");
    thread->result = core;
}

/* Serves the recall of the thread that is to move. */
static uint64_t move(struct handler *handler)
{
    uint64_t crd = vela_crd(VELA_CRD_OBJECTS, 0x1f, 0, 0x1c);
    vela_state(handler->utcb)->mtd = 0;
    handler->utcb->items = 0;
    if (handler->calls == 1)
        handler->seen[0] = vela_hypercall(VELA_EC_CTRL, VELA_EC_MIGRATE, handler->argument, other_core(), crd, 0, 0);
    return 0;
}

static uint64_t lookup_object(uint64_t sel)
{
    uint64_t crd = vela_crd(VELA_CRD_OBJECTS, 0, 0, sel);
    return vela_lookup(&crd) ? UINT64_MAX : crd;
}

void check_migrate(void)
{
    static struct handler server, recalled, there, memory;
    static struct thread thread;
    expect("migrate-of-no-context", vela_hypercall(VELA_EC_CTRL, VELA_EC_MIGRATE, VELA_ROOT_PD, 0, 0, 0, 0), VELA_BAD_CAP);
    expect("migrate-of-one-that-does-not-wait", vela_hypercall(VELA_EC_CTRL, VELA_EC_MIGRATE, VELA_ROOT_EC, 0, 0, 0, 0),
           VELA_BAD_PAR);
    if (cores < 2)
        return;
    serve_at(&server, VELA_ROOT_PD, boot_cpu, move);
    serve_at(&there, VELA_ROOT_PD, other_core(), move);
    prepare_thread(&thread, VELA_ROOT_PD, boot_cpu, find_core);
    portal_at(thread.events + VELA_EVENT_RECALL, VELA_MTD_RIP_LEN, &recalled, &server, move);
    portal_at(thread.ec + 1, 0, &memory, &there, move);
    recalled.argument = thread.ec;
    recalled.seen[0] = UINT64_MAX;
    launch_thread(&thread, 1);
    for (unsigned round = 0; round < PATIENCE && !thread.phase; round++)
        sleep_ms(1);
    expect("migrate-recall", recall(thread.ec, 0), 0);
    for (unsigned round = 0; round < PATIENCE && recalled.seen[0] == UINT64_MAX; round++)
        sleep_ms(1);
    expect("migrate", recalled.seen[0], 0);
    thread.argument = 1;
    check("migrate-goes-on", join(&thread, PATIENCE));
    expect("migrate-on-the-other-core", thread.result, other_core());
    check("migrate-hands-the-context-on", lookup_object(thread.events + 0x1c) != 0);
    check("migrate-keeps-the-selectors", lookup_object(thread.ec) != 0 && lookup_object(thread.sc) != 0);
}
