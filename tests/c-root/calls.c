/* Calls and replies: words, identity, registers of the callee, the busy and the dead, other cores. */
#include "root.h"

static uint64_t add(struct handler *handler)
{
    unsigned count = handler->utcb->items & 0xffff;
    for (unsigned index = 0; index < count; index++)
        handler->utcb->words[index] += handler->argument;
    return 0;
}

static uint64_t die(struct handler *handler)
{
    (void)handler;
    __asm__ volatile("hlt");
    return 0;
}

static uint64_t hold_once(struct handler *handler)
{
    handler->utcb->words[0] = handler->calls;
    return handler->calls == 1 ? handler->argument : 0;
}

static uint64_t up_and_wait(struct handler *handler)
{
    vela_up(handler->argument);
    vela_down(handler->argument + 1, 0, 0);
    return 0;
}

static unsigned right_words(unsigned count, uint64_t plus)
{
    unsigned right = 0;
    for (unsigned index = 0; index < VELA_UTCB_WORDS; index++)
        right += utcb()->words[index] == index + (index < count ? plus : 0);
    return right;
}

static void messages(const char *name, struct handler *server)
{
    static const unsigned counts[] = {0, 1, 7, 256, VELA_UTCB_WORDS};
    unsigned right = 0;
    server->argument = 0x1000;
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned index = 0; index < VELA_UTCB_WORDS; index++)
            utcb()->words[index] = index;
        right += call_words(server->portal, counts[round]) == 0 && right_words(counts[round], 0x1000) == VELA_UTCB_WORDS;
    }
    expect(name, right, 5);
}

/* A callee finds its stack pointer and what its portal says; its other registers are undefined, but for that they are
 * never another domain's. The caller has its own back. */
static void caller_registers(void)
{
    uint64_t ec = selectors(1), portal = selectors(1), page = addresses(0);
    expect("callee-create", vela_create_ec(ec, 0, VELA_ROOT_PD, boot_cpu, page, 0, 0), 0);
    vela_create_pt(portal, VELA_ROOT_PD, ec, 0, (uint64_t)scratch_entry);
    uint64_t words[16];
    for (unsigned index = 0; index < 16; index++)
        words[index] = 0x1111111111111111u * index;
    words[7] = vela_request(VELA_CALL, 0, portal);
    utcb()->items = 0;
    checked_syscall(words);
    unsigned kept = 0;
    for (unsigned index = 3; index < 16; index++)
        kept += index == 4 || index == 7 || index == 11 || words[index] == 0x1111111111111111u * index;
    expect("caller-keeps-its-registers", kept, 13);
}

static struct thread busy_caller;
static void call_busy(struct thread *thread) { thread->result = vela_call(thread->argument); }

static void busy(void)
{
    static struct handler server;
    uint64_t semaphores = selectors(1);
    vela_create_sm(semaphores, VELA_ROOT_PD, 0, 0);
    vela_create_sm(semaphores + 1, VELA_ROOT_PD, 0, 0);
    serve_at(&server, VELA_ROOT_PD, boot_cpu, up_and_wait);
    server.argument = semaphores;
    prepare_thread(&busy_caller, VELA_ROOT_PD, boot_cpu, call_busy);
    busy_caller.argument = server.portal;
    expect("busy-caller", launch_thread(&busy_caller, 2), 0);
    expect("busy-server-is-reached", vela_down(semaphores, 0, in_ms(PATIENCE)), 0);
    expect("busy-do-not-block", vela_hypercall(VELA_CALL, VELA_CALL_DO_NOT_BLOCK, server.portal, 0, 0, 0, 0) & 0xf, VELA_COM_TIM);
    vela_up(semaphores + 1);
    check("busy-caller-ends", join(&busy_caller, PATIENCE));
    expect("busy-caller-was-served", busy_caller.result, 0);
}

static void across(void)
{
    static struct handler server;
    if (cores < 2)
        return;
    expect("cross-server", serve_at(&server, VELA_ROOT_PD, other_core(), add), 0);
    messages("cross-words", &server);
    uint64_t weak = selectors(0);
    uint64_t crd = vela_crd(VELA_CRD_OBJECTS, 3, 0, server.portal);
    give(VELA_ROOT_PD, VELA_ROOT_PD, crd, 0, 0, object(weak));
    expect("cross-without-the-bit", call_words(weak, 0), VELA_BAD_CPU);
    vela_revoke(VELA_REVOKE_SELF, object(weak), 0, 0);
    static struct handler holder;
    uint64_t semaphore = new_semaphore(1);
    serve_at(&holder, VELA_ROOT_PD, other_core(), hold_once);
    holder.argument = semaphore;
    expect("cross-reply-with-semaphore", call_words(holder.portal, 1), 0);
    expect("cross-reply-restarts-the-call", holder.calls, 2);
    expect("cross-reply-takes-the-semaphore", vela_down(semaphore, 0, 1), VELA_COM_TIM);
    static struct handler dead;
    serve_at(&dead, VELA_ROOT_PD, other_core(), die);
    expect("cross-callee-dies", call_words(dead.portal, 0), VELA_COM_ABT);
    expect("cross-callee-is-dead", call_words(dead.portal, 0), VELA_COM_TIM);
}

void check_calls(void)
{
    static struct handler server, holder, dying;
    expect("call-server", serve_at(&server, VELA_ROOT_PD, boot_cpu, add), 0);
    messages("call-words", &server);
    struct vela_registers call = {vela_request(VELA_CALL, 0, server.portal), 2, 3, 4, 5};
    utcb()->items = 0;
    vela_syscall(&call);
    expect("call-leaves-the-register", call.rdi, server.portal << 8);
    expect("call-of-no-portal", vela_call(VELA_ROOT_PD), VELA_BAD_CAP);
    expect("call-of-nothing", vela_call(0x3ffff00), VELA_BAD_CAP);
    caller_registers();
    uint64_t semaphore = new_semaphore(1);
    serve_at(&holder, VELA_ROOT_PD, boot_cpu, hold_once);
    holder.argument = semaphore;
    expect("reply-with-semaphore", call_words(holder.portal, 1), 0);
    expect("reply-restarts-the-call", holder.calls, 2);
    expect("reply-of-the-second-time", utcb()->words[0], 2);
    expect("reply-takes-the-semaphore", vela_down(semaphore, 0, 1), VELA_COM_TIM);
    static struct handler careless;
    serve_at(&careless, VELA_ROOT_PD, boot_cpu, hold_once);
    careless.argument = VELA_ROOT_PD;
    expect("reply-with-no-semaphore-is-plain", call_words(careless.portal, 1), 0);
    expect("reply-with-no-semaphore-once", careless.calls, 1);
    busy();
    expect("dying-server", serve_at(&dying, VELA_ROOT_PD, boot_cpu, die), 0);
    expect("callee-dies", call_words(dying.portal, 0), VELA_COM_ABT);
    expect("callee-is-dead", call_words(dying.portal, 0), VELA_COM_TIM);
    across();
}
