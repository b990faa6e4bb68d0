/* Scheduling: time given away, turns, times; and the capabilities for registers of the processor and for suspending. */
#include "root.h"

#define WORD UINT64_C(0xbeef)

static unsigned ec_ctrl(uint64_t operation, uint64_t ec, uint64_t rsi)
{
    return vela_hypercall(VELA_EC_CTRL, operation, ec, rsi, 0, 0, 0);
}

/* What a counting thread does with its turn: it gives the rest back to whoever owns it, ends, or goes on. */
enum { GIVE_BACK, END, GO_ON };

static void count(struct thread *thread)
{
    ((struct vela_utcb *)thread->utcb)->tls = WORD;
    while (thread->argument != END) {
        thread->phase++;
        if (thread->argument == GIVE_BACK)
            ec_ctrl(VELA_EC_RESCHEDULE, 0, 0);
    }
}

static void donate_and_turns(void)
{
    static struct thread counter, remote;
    expect("donate-thread", start_thread(&counter, VELA_ROOT_PD, boot_cpu, 1, count), 0);
    sleep_ms(5);
    check("donate-thread-runs", counter.phase > 0);
    unsigned stayed = 0;
    for (unsigned round = 0; round < 8; round++) {
        uint64_t phase = counter.phase;
        ec_ctrl(VELA_EC_RESCHEDULE, 0, 0);
        stayed += counter.phase == phase;
    }
    check("reschedule-keeps-the-turn", stayed >= 4);
    uint64_t phase = counter.phase;
    expect("yield", ec_ctrl(VELA_EC_YIELD, 0, 0), 0);
    check("yield-gives-the-turn-away", counter.phase > phase);
    /* One that counts on until its time is up has counted whenever it ran, wherever it had lost its turn before. The first
       donation takes it out of the giving back. */
    counter.argument = GO_ON;
    unsigned ran = 0, failed = ec_ctrl(VELA_EC_DONATE, counter.ec, WORD) != 0;
    for (unsigned round = 0; round < 8; round++) {
        phase = counter.phase;
        failed += ec_ctrl(VELA_EC_DONATE, counter.ec, WORD) != 0;
        ran += counter.phase > phase;
    }
    expect("donate", failed, 0);
    expect("donate-lets-the-other-run", ran, 8);
    expect("donate-wrong-word", ec_ctrl(VELA_EC_DONATE, counter.ec, WORD + 1), VELA_BAD_PAR);
    expect("donate-to-no-context", ec_ctrl(VELA_EC_DONATE, VELA_ROOT_PD, WORD), VELA_BAD_CAP);
    counter.argument = END;
    check("donate-thread-ends", join(&counter, PATIENCE));
    /* It waits now. */
    expect("donate-to-a-blocked-one", ec_ctrl(VELA_EC_DONATE, counter.ec, WORD), VELA_BAD_PAR);
    if (cores > 1) {
        start_thread(&remote, VELA_ROOT_PD, other_core(), 1, count);
        sleep_ms(5);
        expect("donate-to-another-core", ec_ctrl(VELA_EC_DONATE, remote.ec, WORD), VELA_BAD_CPU);
        remote.argument = END;
        check("donate-remote-ends", join(&remote, PATIENCE));
    }
}

static uint64_t time_of(uint64_t hypercall, uint64_t flags, uint64_t sel, uint64_t rsi)
{
    struct vela_registers registers = {vela_request(hypercall, flags, sel), rsi, 0, 0, 0};
    /* The times of the one that runs are brought up to date when the kernel chooses anew. */
    ec_ctrl(VELA_EC_RESCHEDULE, 0, 0);
    if (vela_syscall(&registers))
        return UINT64_MAX;
    return registers.rsi << 32 | (registers.rdx & 0xffffffff);
}

static void times(void)
{
    uint64_t before = time_of(VELA_EC_CTRL, VELA_EC_TIME, VELA_ROOT_EC, 0);
    uint64_t until = in_ms(20);
    while (now() < until) {}
    uint64_t spent = time_of(VELA_EC_CTRL, VELA_EC_TIME, VELA_ROOT_EC, 0) - before;
    check("time-of-a-context", spent >= 15000 && spent < 10000000);
    uint64_t own = time_of(VELA_SC_CTRL, VELA_SC_TIME, VELA_ROOT_SC, 0);
    check("time-of-a-scheduling-context", own >= 15000 && own != UINT64_MAX);
    struct vela_registers both = {vela_request(VELA_SC_CTRL, VELA_SC_BOTH_TIMES, VELA_ROOT_SC), VELA_ROOT_EC, 0, 0, 0};
    expect("time-both", vela_syscall(&both), 0);
    check("time-both-values", (both.rsi << 32 | (both.rdx & 0xffffffff)) >= own && (both.r8 & 0xffffffff) >= 15000);
    expect("time-of-no-context", ec_ctrl(VELA_EC_TIME, VELA_ROOT_PD, 0), VELA_BAD_CAP);
    expect("time-of-no-scheduling-context", vela_hypercall(VELA_SC_CTRL, 0, VELA_ROOT_EC, 0, 0, 0, 0), VELA_BAD_CAP);
}

void check_threads(void)
{
    donate_and_turns();
    times();
    utcb()->items = vela_items(1, 0);
    utcb()->words[0] = 0xe8;
    expect("msr", ec_ctrl(VELA_EC_MSR, VELA_ROOT_MSR, 0), 0);
    check("msr-one-bit", utcb()->items <= 1);
    expect("msr-wrong-capability", ec_ctrl(VELA_EC_MSR, VELA_ROOT_SUSPEND, 0), VELA_BAD_CAP);
    expect("suspend-wrong-capability", vela_hypercall(VELA_MISC, VELA_MISC_SUSPEND, VELA_ROOT_MSR, 0, 0, 0, 0), VELA_BAD_CAP);
    if (!(hip()->features & (VELA_FEATURE_VMX | VELA_FEATURE_SVM)))
        expect("vcpu-without-hardware",
               vela_create_ec(selectors(1), VELA_EC_GLOBAL, VELA_ROOT_PD, boot_cpu, 0, 0, 0), VELA_BAD_FTR);
    expect("vcpu-state-of-a-thread", ec_ctrl(VELA_EC_GET_STATE, VELA_ROOT_EC, 0), VELA_BAD_CAP);
    expect("vcpu-set-state-of-a-thread", ec_ctrl(VELA_EC_SET_STATE, VELA_ROOT_EC, 0), VELA_BAD_CAP);
}
