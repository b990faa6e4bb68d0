/* Page faults of another domain: mapped by a typed item of the reply, or later while the faulter waits on a semaphore. */
#include "root.h"

static uint64_t page_here;

static uint64_t page_by_item(struct handler *handler)
{
    handler->seen[0] = handler->utcb->words[0];
    handler->seen[1] = vela_state(handler->utcb)->qual[1];
    vela_state(handler->utcb)->mtd = 0;
    vela_set_item(handler->utcb, 0, vela_crd(VELA_CRD_MEMORY, 3, 0, page_here >> 12),
                  vela_item_control(VELA_ITEM_DELEGATE, 0, handler->seen[1] >> 12));
    handler->utcb->items = vela_items(0, 1);
    return 0;
}

static uint64_t page_later(struct handler *handler)
{
    vela_state(handler->utcb)->mtd = 0;
    handler->utcb->items = 0;
    vela_up(handler->argument);
    return handler->argument + 1;
}

static void load_one(struct thread *thread) { thread->result = *(volatile uint64_t *)thread->argument; }

void check_pager(void)
{
    static struct handler server, by_item, later;
    static struct thread first, second;
    uint64_t pd = new_domain(2, 512), semaphores = selectors(1);
    vela_create_sm(semaphores, VELA_ROOT_PD, 0, 0);
    vela_create_sm(semaphores + 1, VELA_ROOT_PD, 0, 0);
    page_here = addresses(0);
    map(free_memory(1), page_here, 3);
    *(volatile uint64_t *)page_here = 0x50504747;
    serve_at(&server, VELA_ROOT_PD, boot_cpu, page_later);

    prepare_thread(&first, pd, boot_cpu, load_one);
    expect("pager-portal", portal_at(selectors(0), VELA_MTD_QUAL | VELA_MTD_RSP | VELA_MTD_RIP_LEN, &by_item, &server,
                                     page_by_item), 0);
    give_cap(pd, by_item.portal, 0x1f, first.events + VELA_EVENT_PF);
    first.argument = UINT64_C(0x6000000000);
    launch_thread(&first, 2);
    check("pager-by-item", join(&first, PATIENCE));
    expect("pager-by-item-value", first.result, 0x50504747);
    expect("pager-by-item-once", by_item.calls, 1);
    expect("pager-by-item-address", by_item.seen[1], first.argument);

    prepare_thread(&second, pd, boot_cpu, load_one);
    portal_at(selectors(0), VELA_MTD_QUAL, &later, &server, page_later);
    later.argument = semaphores;
    give_cap(pd, later.portal, 0x1f, second.events + VELA_EVENT_PF);
    second.argument = UINT64_C(0x6000400000);
    launch_thread(&second, 2);
    expect("pager-later-fault", vela_down(semaphores, 0, in_ms(PATIENCE)), 0);
    check("pager-later-waits", !join(&second, 10));
    expect("pager-later-map", give(VELA_ROOT_PD, pd, vela_crd(VELA_CRD_MEMORY, 3, 0, page_here >> 12), 0,
                                   second.argument >> 12, vela_crd(VELA_CRD_MEMORY, 7, 31, 0)), 0);
    expect("pager-later-let-go", vela_up(semaphores + 1), 0);
    check("pager-later-goes-on", join(&second, PATIENCE));
    expect("pager-later-value", second.result, 0x50504747);
    expect("pager-later-once", later.calls, 1);
}
