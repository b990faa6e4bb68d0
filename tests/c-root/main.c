/* A root program written from the interface alone: every hypercall and sub-operation that Genode uses, with its effect. */
#include "root.h"

int main(void)
{
    check_start();
    check_registers();
    check_calls();
    check_items();
    check_semaphores();
    check_memory();
    check_pager();
    check_revoke();
    check_threads();
    check_recall();
    check_migrate();
    check_interrupts();
    check_quota();
    end();
}

/* The compiler calls these on its own. */
void *memset(void *to, int value, size_t count)
{
    unsigned char *bytes = to;
    for (size_t index = 0; index < count; index++)
        ((volatile unsigned char *)bytes)[index] = (unsigned char)value;
    return to;
}

void *memcpy(void *to, const void *from, size_t count)
{
    unsigned char *bytes = to;
    for (size_t index = 0; index < count; index++)
        ((volatile unsigned char *)bytes)[index] = ((const unsigned char *)from)[index];
    return to;
}
