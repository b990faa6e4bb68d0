/* Building blocks: selectors and addresses, servers, threads, domains. */
#include "root.h"

unsigned cores;

/* Event base of servers: there are no portals, so a fault ends them. */
#define NO_EVENTS 0x800

static uint64_t next_selector = 0x1000, next_address = 0x40000000, next_frame;
static unsigned char stacks[64][4096] __attribute__((aligned(4096)));
static unsigned used_stacks;

uint64_t in_ms(uint64_t ms) { return now() + ms * hip()->tsc_khz; }

uint64_t selectors(unsigned order)
{
    uint64_t count = (uint64_t)1 << order;
    uint64_t first = (next_selector + count - 1) & ~(count - 1);
    next_selector = first + count;
    return first;
}

uint64_t addresses(unsigned order)
{
    uint64_t size = (uint64_t)0x1000 << order;
    uint64_t first = (next_address + size - 1) & ~(size - 1);
    next_address = first + size;
    return first;
}

const struct vela_cpu_descriptor *cpu_descriptor(unsigned index)
{
    return (const struct vela_cpu_descriptor *)(boot_hip + hip()->cpu_offset + index * hip()->cpu_size);
}

unsigned cpu_slots(void) { return (hip()->memory_offset - hip()->cpu_offset) / hip()->cpu_size; }

uint64_t other_core(void)
{
    for (unsigned cpu = 0; cpu < cpu_slots(); cpu++)
        if (cpu != boot_cpu && cpu_descriptor(cpu)->flags & VELA_CPU_ENABLED)
            return cpu;
    return boot_cpu;
}

static int is_free(uint64_t address, uint64_t size)
{
    int available = 0;
    for (unsigned at = hip()->memory_offset; at + hip()->memory_size <= hip()->length; at += hip()->memory_size) {
        const struct vela_memory_descriptor *range = (const struct vela_memory_descriptor *)(boot_hip + at);
        if (range->kind == VELA_MEMORY_AVAILABLE && address >= range->address && address + size <= range->address + range->size)
            available = 1;
        if ((range->kind < 0 || range->kind > 1) && address < range->address + range->size && range->address < address + size)
            return 0;
    }
    return available;
}

uint64_t free_memory(unsigned pages)
{
    if (!next_frame)
        next_frame = 0x2000000;
    uint64_t size = (uint64_t)pages << 12;
    while (!is_free(next_frame, size) && next_frame < 0x100000000)
        next_frame += 0x1000;
    uint64_t found = next_frame;
    next_frame += size;
    return found;
}

uint64_t object(uint64_t sel) { return vela_crd(VELA_CRD_OBJECTS, 0x1f, 0, sel); }

unsigned give(uint64_t from, uint64_t to, uint64_t crd, uint64_t flags, uint64_t hotspot, uint64_t window)
{
    vela_set_item(utcb(), 0, crd, vela_item_control(VELA_ITEM_DELEGATE, flags, hotspot));
    utcb()->items = vela_items(0, 1);
    return vela_delegate(from, to, window);
}

unsigned give_cap(uint64_t to, uint64_t sel, uint64_t rights, uint64_t there)
{
    return give(VELA_ROOT_PD, to, vela_crd(VELA_CRD_OBJECTS, rights, 0, sel), 0, 0, object(there));
}

unsigned map(uint64_t physical, uint64_t address, uint64_t rights)
{
    uint64_t window = vela_crd(VELA_CRD_MEMORY, rights, 0, address >> 12);
    return give(VELA_ROOT_PD, VELA_ROOT_PD, vela_crd(VELA_CRD_MEMORY, rights, 0, physical >> 12), VELA_ITEM_HYPERVISOR, 0, window);
}

uint64_t handle(struct handler *handler, uint64_t rsi, uint64_t rdx)
{
    handler->rsi = rsi;
    handler->rdx = rdx;
    handler->calls++;
    return handler->function(handler);
}

static uint64_t new_stack(void)
{
    unsigned index = used_stacks++;
    return (uint64_t)stacks[index < 63 ? index : 63] + 4096;
}

unsigned serve_at(struct handler *handler, uint64_t pd, uint64_t cpu, serve function)
{
    *handler = (struct handler){.function = function, .utcb = (struct vela_utcb *)addresses(0), .ec = selectors(1)};
    unsigned status = vela_create_ec(handler->ec, 0, pd, cpu, (uint64_t)handler->utcb, new_stack(), NO_EVENTS);
    return status ? status : portal_at(selectors(0), 0, handler, handler, function);
}

unsigned portal_at(uint64_t at, uint64_t mtd, struct handler *handler, const struct handler *server, serve function)
{
    handler->function = function;
    handler->utcb = server->utcb;
    handler->ec = server->ec;
    handler->portal = at;
    unsigned status = vela_create_pt(at, VELA_ROOT_PD, server->ec, mtd, (uint64_t)handler_entry);
    return status ? status : vela_pt_ctrl(at, (uint64_t)handler);
}

/* Serves the startup event. */
static uint64_t begin(struct handler *handler)
{
    struct thread *thread = (struct thread *)handler;
    volatile struct vela_arch_state *state = vela_state(handler->utcb);
    state->mtd = VELA_MTD_RSP | VELA_MTD_RIP_LEN | VELA_MTD_BSD;
    state->rip = (uint64_t)thread_entry;
    state->rsp = thread->stack;
    state->rdi = (uint64_t)thread;
    handler->utcb->items = 0;
    return 0;
}

void run_thread(struct thread *thread)
{
    thread->body(thread);
    vela_up(thread->done);
    vela_down(thread->done + 1, 0, 0);
}

static struct handler *starter(uint64_t cpu)
{
    static struct handler starters[256];
    if (!starters[cpu].ec)
        serve_at(&starters[cpu], VELA_ROOT_PD, cpu, begin);
    return &starters[cpu];
}

void prepare_thread(struct thread *thread, uint64_t pd, uint64_t cpu, void (*body)(struct thread *))
{
    uint64_t block = selectors(6);
    *thread = (struct thread){.body = body, .cpu = cpu, .pd = pd, .events = block, .done = block + 32,
                              .ec = block + 40, .sc = block + 42, .stack = new_stack(), .utcb = addresses(0)};
    portal_at(block + VELA_EVENT_STARTUP, 0, &thread->start, starter(cpu), begin);
    vela_create_sm(block + 32, VELA_ROOT_PD, 0, 0);
    vela_create_sm(block + 33, VELA_ROOT_PD, 0, 0);
    if (pd != VELA_ROOT_PD) {
        uint64_t all = vela_crd(VELA_CRD_OBJECTS, 0x1f, 6, block);
        give(VELA_ROOT_PD, pd, all, 0, 0, all);
    }
}

unsigned launch_thread(struct thread *thread, uint64_t priority)
{
    unsigned status = vela_create_ec(thread->ec, VELA_EC_GLOBAL, thread->pd, thread->cpu, thread->utcb, 0, thread->events);
    return status ? status : vela_create_sc(thread->sc, VELA_ROOT_PD, thread->ec, vela_qpd(priority, 10000));
}

unsigned start_thread(struct thread *thread, uint64_t pd, uint64_t cpu, uint64_t priority, void (*body)(struct thread *))
{
    prepare_thread(thread, pd, cpu, body);
    return launch_thread(thread, priority);
}

int join(struct thread *thread, uint64_t ms) { return vela_down(thread->done, 0, in_ms(ms)) == 0; }

uint64_t new_domain(uint32_t lower, uint32_t upper)
{
    uint64_t pd = selectors(0), all = vela_crd(VELA_CRD_MEMORY, 7, 31, 0);
    if (vela_create_pd(pd, VELA_ROOT_PD, 0, lower, upper))
        return 0;
    /* The second MiB, with the rights that the segments have here; what is not mapped here stays out. */
    return give(VELA_ROOT_PD, pd, vela_crd(VELA_CRD_MEMORY, 7, 8, 0x100), 0, 0x100, all) ? 0 : pd;
}

uint64_t new_semaphore(uint64_t count)
{
    uint64_t sel = selectors(0);
    return vela_create_sm(sel, VELA_ROOT_PD, count, 0) ? 0 : sel;
}

void sleep_ms(uint64_t ms)
{
    static uint64_t never;
    if (!never)
        never = new_semaphore(0);
    vela_down(never, 0, in_ms(ms));
}

unsigned call_words(uint64_t portal, unsigned count)
{
    utcb()->items = vela_items(count, 0);
    return vela_call(portal);
}
