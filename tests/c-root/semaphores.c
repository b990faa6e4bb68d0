/* Semaphores and signals: counts, deadlines, down to zero, waiters of other cores, death. */
#include "root.h"

static void wait_for_it(struct thread *thread) { thread->result = vela_down(thread->argument, 0, 0); }

static void signals(void)
{
    uint64_t source = new_semaphore(0), one = selectors(0), two = selectors(0);
    expect("signal-create", vela_create_sm(one, VELA_ROOT_PD, 0x1111, source), 0);
    expect("signal-create-second", vela_create_sm(two, VELA_ROOT_PD, 0x2222, source), 0);
    expect("signal-on-a-signal", vela_create_sm(selectors(0), VELA_ROOT_PD, 1, one), VELA_BAD_CAP);
    expect("signal-down-of-it", vela_down(one, 0, 1), VELA_BAD_CAP);
    unsigned failed = 0;
    for (unsigned index = 0; index < 5; index++)
        failed += vela_up(one) != 0;
    failed += vela_up(two) != 0;
    expect("signal-up", failed, 0);
    struct vela_registers down = {vela_request(VELA_SM_CTRL, VELA_SM_DOWN, source), 0, 1, 0, 0};
    expect("signal-wakes-up", vela_syscall(&down), 0);
    expect("signal-value", down.rsi, 0x1111);
    expect("signal-count", down.rdx, 5);
    down = (struct vela_registers){vela_request(VELA_SM_CTRL, VELA_SM_DOWN | VELA_SM_ZERO, source), 0, 1, 0, 0};
    expect("signal-second-wakes-up", vela_syscall(&down), 0);
    expect("signal-second-value", down.rsi, 0x2222);
    expect("signal-second-count", down.rdx, 1);
    down = (struct vela_registers){vela_request(VELA_SM_CTRL, VELA_SM_DOWN, source), 0, 1, 0, 0};
    expect("signal-nothing-left", vela_syscall(&down), VELA_COM_TIM);
    check("signal-nothing-leaves-registers", down.rsi == 0 && down.rdx == 1);
    vela_up(source);
    down = (struct vela_registers){vela_request(VELA_SM_CTRL, VELA_SM_DOWN, source), 0, 1, 0, 0};
    expect("signal-plain-up-of-the-source", vela_syscall(&down), 0);
    check("signal-plain-up-leaves-registers", down.rsi == 0 && down.rdx == 1);
}

void check_semaphores(void)
{
    uint64_t semaphore = new_semaphore(2), from = now();
    expect("semaphore-count", vela_down(semaphore, 0, 0), 0);
    expect("semaphore-zero", vela_down(semaphore, VELA_SM_ZERO, 0), 0);
    expect("semaphore-deadline", vela_down(semaphore, 0, in_ms(5)), VELA_COM_TIM);
    check("semaphore-deadline-was-waited-for", now() - from >= (uint64_t)5 * hip()->tsc_khz);
    expect("semaphore-deadline-past", vela_down(semaphore, VELA_SM_ZERO, 1), VELA_COM_TIM);
    vela_up(semaphore);
    expect("semaphore-deadline-never", vela_down(semaphore, 0, UINT64_MAX), 0);
    for (unsigned index = 0; index < 3; index++)
        vela_up(semaphore);
    expect("semaphore-down-to-zero", vela_down(semaphore, VELA_SM_ZERO, 0), 0);
    expect("semaphore-is-zero", vela_down(semaphore, 0, 1), VELA_COM_TIM);
    expect("semaphore-create-in-use", vela_create_sm(semaphore, VELA_ROOT_PD, 0, 0), VELA_BAD_CAP);
    static struct thread local, remote;
    expect("semaphore-local-thread", start_thread(&local, VELA_ROOT_PD, boot_cpu, 2, wait_for_it), 0);
    check("semaphore-null-is-no-semaphore", join(&local, PATIENCE));
    expect("semaphore-of-null", local.result, VELA_BAD_CAP);
    prepare_thread(&local, VELA_ROOT_PD, boot_cpu, wait_for_it);
    prepare_thread(&remote, VELA_ROOT_PD, other_core(), wait_for_it);
    local.argument = remote.argument = semaphore;
    launch_thread(&local, 2);
    launch_thread(&remote, 2);
    sleep_ms(10);
    vela_up(semaphore);
    check("semaphore-first-waiter", join(&local, PATIENCE));
    expect("semaphore-first-waiter-status", local.result, 0);
    expect("semaphore-destroy", vela_revoke(VELA_REVOKE_SELF, object(semaphore), 0, 0), 0);
    check("semaphore-second-waiter", join(&remote, PATIENCE));
    expect("semaphore-second-waiter-status", remote.result, VELA_BAD_CAP);
    expect("semaphore-is-gone", vela_up(semaphore), VELA_BAD_CAP);
    signals();
}
