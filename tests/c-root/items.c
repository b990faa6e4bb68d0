/* Typed items in calls and replies: delegate, translate, translate or else delegate; and what look-up tells. */
#include "root.h"

/* What the server notes; the page of the data is shared by both domains. */
static uint64_t window_at, items_seen[4], reply_item;

/* In the other domain: notes what it received, offers its windows for the next call, returns what it is asked to. */
static uint64_t receive(struct handler *handler)
{
    struct vela_utcb *page = handler->utcb;
    for (unsigned index = 0; index < 4; index++)
        items_seen[index] = page->words[VELA_UTCB_WORDS - 4 + index];
    handler->seen[0] = page->items;
    page->translate_window = vela_crd(VELA_CRD_OBJECTS, 0x1f, 31, 0);
    page->delegate_window = vela_crd(VELA_CRD_OBJECTS, 0x1f, 1, window_at);
    page->items = 0;
    if (reply_item) {
        page->items = vela_items(0, 1);
        vela_set_item(page, 0, object(reply_item), vela_item_control(VELA_ITEM_TRANSLATE_OR_DELEGATE, 0, 0));
    }
    return 0;
}

/* Item i has i as its hotspot, as an RPC of Genode has. */
static unsigned send(uint64_t portal, uint64_t first, uint64_t second)
{
    for (unsigned index = 0; index < 2; index++)
        vela_set_item(utcb(), index, object(index ? second : first),
                      vela_item_control(VELA_ITEM_TRANSLATE_OR_DELEGATE, 0, index));
    utcb()->items = vela_items(0, second ? 2 : 1);
    return vela_call(portal);
}

/* Without the rights: with those of the window or of the mapping, the interface does not say. */
static uint64_t place(uint64_t crd) { return crd & ~UINT64_C(0x7c); }

static uint64_t lookup(uint64_t kind, uint64_t base)
{
    uint64_t crd = vela_crd(kind, 0, 0, base);
    return vela_lookup(&crd) ? UINT64_MAX : crd;
}

static void lookups(void)
{
    uint64_t semaphore = new_semaphore(0);
    expect("lookup-object", lookup(VELA_CRD_OBJECTS, semaphore), vela_crd(VELA_CRD_OBJECTS, 3, 0, semaphore));
    expect("lookup-nothing", lookup(VELA_CRD_OBJECTS, 0x3ffff00), 0);
    expect("lookup-ports", lookup(VELA_CRD_PORTS, 0x3f8), vela_crd(VELA_CRD_PORTS, 0x1f, 16, 0));
    /* Nothing next to it, with which it could be one mapping. */
    uint64_t physical = free_memory(1), address = addresses(2);
    map(physical, address, VELA_RIGHT_MEMORY_READ | VELA_RIGHT_MEMORY_WRITE);
    expect("lookup-memory", lookup(VELA_CRD_MEMORY, address >> 12), vela_crd(VELA_CRD_MEMORY, 3, 0, address >> 12));
    expect("lookup-memory-nothing", lookup(VELA_CRD_MEMORY, UINT64_C(0x7ffe00000)), 0);
}

void check_items(void)
{
    static struct handler server;
    uint64_t pd = new_domain(2, 512), first = new_semaphore(0), second = new_semaphore(0);
    check("items-domain", pd != 0);
    expect("items-server", serve_at(&server, pd, boot_cpu, receive), 0);
    window_at = 0x4000;
    expect("items-before-a-window", send(server.portal, first, 0), 0);
    expect("items-before-a-window-null", items_seen[2], 0);
    expect("items-header-is-copied", server.seen[0], vela_items(0, 1));
    /* The server set its windows while it served; they hold for the next call. */
    expect("items-delegate", send(server.portal, first, 0), 0);
    expect("items-delegate-at-the-window", place(items_seen[2]), vela_crd(VELA_CRD_OBJECTS, 0, 0, 0x4000));
    expect("items-delegate-says-so", items_seen[3] & 1, 1);
    expect("items-both", send(server.portal, first, second), 0);
    expect("items-both-second-at-its-hotspot", place(items_seen[0]), vela_crd(VELA_CRD_OBJECTS, 0, 0, 0x4001));

    /* A capability that came from the receiver is translated back: from this domain's point of view in a reply. */
    utcb()->translate_window = vela_crd(VELA_CRD_OBJECTS, 0x1f, 31, 0);
    uint64_t into = selectors(0);
    utcb()->delegate_window = object(into);
    reply_item = 0x4000;
    expect("items-reply", call_words(server.portal, 0), 0);
    expect("items-reply-translated", place(utcb()->words[506]), vela_crd(VELA_CRD_OBJECTS, 0, 0, first));
    expect("items-reply-says-translated", utcb()->words[507] & 1, 0);
    /* Without a window for translation it is delegated instead. */
    utcb()->translate_window = 0;
    expect("items-reply-again", call_words(server.portal, 0), 0);
    expect("items-reply-delegated", place(utcb()->words[506]), vela_crd(VELA_CRD_OBJECTS, 0, 0, into));
    expect("items-reply-says-delegated", utcb()->words[507] & 1, 1);
    vela_up(into);
    expect("items-reply-is-the-same-semaphore", vela_down(first, 0, 1), 0);
    utcb()->delegate_window = 0;
    reply_item = 0;
    lookups();
}
