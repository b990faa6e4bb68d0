/* Memory: from the hypervisor's space, between domains, back again; and a pager that lets its client wait. */
#include "root.h"

#define FOREIGN UINT64_C(0x500000000)

static uint64_t lookup(uint64_t page)
{
    uint64_t crd = vela_crd(VELA_CRD_MEMORY, 0, 0, page);
    return vela_lookup(&crd) ? UINT64_MAX : crd;
}

/* In the other domain. */
static uint64_t load(struct handler *handler)
{
    handler->utcb->words[0] = *(volatile uint64_t *)handler->utcb->words[0];
    return 0;
}

static uint64_t ask_load(struct handler *server, uint64_t address)
{
    utcb()->words[0] = address;
    return call_words(server->portal, 1) ? UINT64_MAX : utcb()->words[0];
}

void check_memory(void)
{
    uint64_t physical = free_memory(4) + 0x3fff, address = addresses(2);
    physical &= ~UINT64_C(0x3fff);
    uint64_t source = vela_crd(VELA_CRD_MEMORY, 3, 2, physical >> 12);
    uint64_t window = vela_crd(VELA_CRD_MEMORY, 7, 2, address >> 12);
    expect("memory-four-pages", give(VELA_ROOT_PD, VELA_ROOT_PD, source, VELA_ITEM_HYPERVISOR, 0, window), 0);
    for (uint64_t page = 0; page < 4; page++)
        *(volatile uint64_t *)(address + page * 0x1000) = page + 0x77;
    expect("memory-is-there", *(volatile uint64_t *)(address + 0x3000), 0x7a);
    uint64_t again = addresses(0);
    expect("memory-alias", map(physical + 0x3000, again, 1), 0);
    expect("memory-alias-is-the-same-page", *(volatile uint64_t *)again, 0x7a);
    expect("memory-rights-of-the-source", lookup(address >> 12) & 0x7f, vela_crd(VELA_CRD_MEMORY, 3, 0, 0));
    /* A window smaller than the source: the hotspot says which part. */
    uint64_t part = addresses(0);
    give(VELA_ROOT_PD, VELA_ROOT_PD, vela_crd(VELA_CRD_MEMORY, 3, 2, address >> 12), 0, (address >> 12) + 2,
         vela_crd(VELA_CRD_MEMORY, 3, 0, part >> 12));
    expect("memory-hotspot", *(volatile uint64_t *)part, 0x79);
    uint64_t taken = lookup(part >> 12);
    expect("memory-occupied", map(physical, part, 1), 0);
    expect("memory-occupied-stays", *(volatile uint64_t *)part, 0x79);
    expect("memory-occupied-keeps-its-rights", lookup(part >> 12), taken);
    expect("memory-write-combining", give(VELA_ROOT_PD, VELA_ROOT_PD, vela_crd(VELA_CRD_MEMORY, 3, 0, physical >> 12),
           VELA_ITEM_HYPERVISOR | VELA_ITEM_WRITE_COMBINING | VELA_ITEM_DEVICE, 0,
           vela_crd(VELA_CRD_MEMORY, 3, 0, addresses(0) >> 12)), 0);
    expect("memory-free", vela_revoke(VELA_REVOKE_SELF, vela_crd(VELA_CRD_MEMORY, 7, 2, address >> 12), 0, 0), 0);
    expect("memory-free-takes-what-was-derived", lookup(part >> 12), 0);
    expect("memory-free-leaves-the-other", lookup(again >> 12) != 0, 1);
    struct vela_registers pci = {vela_request(VELA_ASSIGN_PCI, 0, VELA_ROOT_PD), again, 0, 0, 0};
    if (!(hip()->features & VELA_FEATURE_IOMMU))
        expect("assign-pci-without-iommu", vela_syscall(&pci), VELA_BAD_DEV);
}

void check_revoke(void)
{
    static struct handler server;
    uint64_t pd = new_domain(2, 512), physical = free_memory(1), own = addresses(0);
    uint64_t anywhere = vela_crd(VELA_CRD_MEMORY, 7, 31, 0), crd = vela_crd(VELA_CRD_MEMORY, 3, 0, own >> 12);
    uint64_t foreign = vela_crd(VELA_CRD_MEMORY, 7, 0, FOREIGN >> 12);
    map(physical, own, 3);
    *(volatile uint64_t *)own = 0x4242;
    serve_at(&server, pd, boot_cpu, load);
    expect("revoke-given", give(VELA_ROOT_PD, pd, crd, 0, FOREIGN >> 12, anywhere), 0);
    expect("revoke-read-there", ask_load(&server, FOREIGN), 0x4242);
    expect("revoke-remote", vela_revoke(VELA_REVOKE_SELF | VELA_REVOKE_REMOTE, foreign, pd, 0), 0);
    expect("revoke-remote-of-no-domain", vela_revoke(VELA_REVOKE_SELF | VELA_REVOKE_REMOTE, foreign, 0x1d, 0), VELA_BAD_CAP);
    expect("revoke-remote-leaves-the-own", *(volatile uint64_t *)own, 0x4242);
    expect("revoke-remote-is-gone-there", ask_load(&server, FOREIGN), UINT64_MAX);

    serve_at(&server, pd, boot_cpu, load);
    give(VELA_ROOT_PD, pd, crd, 0, FOREIGN >> 12, anywhere);
    expect("revoke-keep", vela_revoke(VELA_REVOKE_SELF | VELA_REVOKE_KEEP, crd, 0, 0), 0);
    expect("revoke-keep-drops-the-own", lookup(own >> 12), 0);
    expect("revoke-keep-leaves-the-other", ask_load(&server, FOREIGN), 0x4242);
    /* A capability: the same, and what is kept still works. */
    uint64_t semaphore = new_semaphore(0), copy = selectors(0);
    give_cap(VELA_ROOT_PD, semaphore, 0x1f, copy);
    expect("revoke-keep-capability", vela_revoke(VELA_REVOKE_SELF | VELA_REVOKE_KEEP, object(semaphore), 0, 0), 0);
    expect("revoke-keep-capability-dropped", vela_up(semaphore), VELA_BAD_CAP);
    expect("revoke-keep-capability-kept", vela_up(copy), 0);

    uint64_t notify = new_semaphore(0);
    expect("revoke-notify", vela_revoke(VELA_REVOKE_SELF, object(copy), 0, notify), 0);
    expect("revoke-notify-comes", vela_down(notify, 0, in_ms(PATIENCE)), 0);
    expect("revoke-all-memory-remote", vela_revoke(VELA_REVOKE_REMOTE, vela_crd(VELA_CRD_MEMORY, 7, 31, 0), pd, notify), 0);
    expect("revoke-all-memory-remote-notify", vela_down(notify, 0, in_ms(PATIENCE)), 0);
    expect("revoke-domain", vela_revoke(VELA_REVOKE_SELF, object(pd), 0, 0), 0);
    expect("revoke-domain-is-gone", vela_create_sm(selectors(0), pd, 0, 0), VELA_BAD_CAP);
}
