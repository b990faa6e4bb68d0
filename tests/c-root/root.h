/* What the files of this root program share. It is written from the interface alone: vela.h and nothing else. */
#ifndef ROOT_H
#define ROOT_H

#include "vela.h"

/* ---- Console and checks (console.c) ---- */

void say(const char *text);
void say_number(uint64_t number);
/* One line per check: `ok NAME` or `FAIL NAME ...`. */
void check(const char *name, int holds);
void expect(const char *name, uint64_t found, uint64_t expected);
void fail(const char *name, const char *why);
__attribute__((noreturn)) void end(void);

static inline void outb(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline uint8_t inb(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

/* ---- Time ---- */

static inline uint64_t now(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}
/* The time-stamp counter in `ms` milliseconds. */
uint64_t in_ms(uint64_t ms);
/* Milliseconds after which something that should happen has not, on a busy host either. */
#define PATIENCE 60000
void sleep_ms(uint64_t ms);

/* ---- What this program knows (world.c) ---- */

extern uint64_t boot_hip, boot_cpu;
extern char image_end[];
extern unsigned cores;

static inline struct vela_hip *hip(void) { return (struct vela_hip *)boot_hip; }
/* The message page of the first thread. */
static inline struct vela_utcb *utcb(void) { return (struct vela_utcb *)(boot_hip - 0x1000); }
const struct vela_cpu_descriptor *cpu_descriptor(unsigned index);
unsigned cpu_slots(void);
/* A core that is not the one this program started on, if there is one. */
uint64_t other_core(void);
/* Address of free physical memory, different each time. */
uint64_t free_memory(unsigned pages);

/* ---- Building blocks (world.c) ---- */

/* 2^order empty selectors, aligned. */
uint64_t selectors(unsigned order);
/* An address where nothing is mapped, of 2^order pages, aligned. */
uint64_t addresses(unsigned order);
/* One item from one domain to another; returns the status. */
unsigned give(uint64_t from, uint64_t to, uint64_t crd, uint64_t flags, uint64_t hotspot, uint64_t window);
/* One capability to another domain. */
unsigned give_cap(uint64_t to, uint64_t sel, uint64_t rights, uint64_t there);
/* A page of physical memory at an address of this domain. */
unsigned map(uint64_t physical, uint64_t address, uint64_t rights);
uint64_t object(uint64_t sel);

struct handler;
/* Serves a call; returns the semaphore for the reply, or 0. */
typedef uint64_t (*serve)(struct handler *);

/* A context that is called, or one portal of it. */
struct handler {
    serve function;
    struct vela_utcb *utcb;
    uint64_t ec, portal;
    uint64_t argument, calls, seen[4];
    /* Registers at the entry. */
    uint64_t rsi, rdx;
};
/* A new local context of domain `pd` at `cpu` with one portal; `handler` must stay. Returns the status. */
unsigned serve_at(struct handler *handler, uint64_t pd, uint64_t cpu, serve function);
/* A further portal to the context of `server`, at selector `at`. */
unsigned portal_at(uint64_t at, uint64_t mtd, struct handler *handler, const struct handler *server, serve function);

struct thread {
    struct handler start;
    void (*body)(struct thread *);
    uint64_t cpu, pd, events, ec, sc, stack, utcb, done;
    volatile uint64_t argument, result, phase;
};
/* A thread with its events at `events` (empty up to events + 63). Ups `done` when its body returns. */
unsigned start_thread(struct thread *thread, uint64_t pd, uint64_t cpu, uint64_t priority, void (*body)(struct thread *));
/* The first half of it: everything but execution and scheduling context. */
void prepare_thread(struct thread *thread, uint64_t pd, uint64_t cpu, void (*body)(struct thread *));
/* The second half. */
unsigned launch_thread(struct thread *thread, uint64_t priority);
/* Waits for the thread; returns whether it came to its end. */
int join(struct thread *thread, uint64_t ms);
/* A domain with this program in it. */
uint64_t new_domain(uint32_t lower, uint32_t upper);
uint64_t new_semaphore(uint64_t count);

/* A message with words from the caller's page; sets no items. */
unsigned call_words(uint64_t portal, unsigned count);

extern char handler_entry[], scratch_entry[], thread_entry[], checked_return[];
uint64_t checked_syscall(uint64_t *registers);
uint64_t handle(struct handler *handler, uint64_t rsi, uint64_t rdx);
void run_thread(struct thread *thread);

/* ---- The checks, in this order ---- */

void check_start(void);
void check_registers(void);
void check_calls(void);
void check_items(void);
void check_pager(void);
void check_semaphores(void);
void check_memory(void);
void check_revoke(void);
void check_threads(void);
void check_recall(void);
void check_migrate(void);
void check_quota(void);
void check_interrupts(void);

#endif
