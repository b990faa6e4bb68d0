//! The C header of the interface, `include/vela.h`: every number in it is taken from the crate `abi`.
//!
//! `cargo xtask header` writes it. A test compares the committed file with what the crate gives, others compile it as C11
//! and C++17 without a warning, with assertions on every size and offset.
//! Invariants: the header depends on `stdint.h` and `stddef.h` only; its names begin with `vela_` or `VELA_`.
//! Concurrency: none.

mod layout;
mod numbers;

use std::fs;

use anyhow::{Context, Result};

use crate::workspace;

/// The committed header, relative to the repository.
pub const PATH: &str = "include/vela.h";

const HEAD: &str = "\
/* The interface of Vela for C11 and C++17: the classic NOVA x86-64 interface, API version 10.
 *
 * Written by `cargo xtask header` from the crate in this directory; do not edit.
 * Words are 64 bits. A status is the low byte of what a hypercall returns.
 */
#ifndef VELA_H
#define VELA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define VELA_ASSERT(condition) static_assert(condition, #condition)
#else
#define VELA_ASSERT(condition) _Static_assert(condition, #condition)
#endif
";

const FUNCTIONS: &str = r#"
/* ---- Words ---- */

/* 2^order pages, ports or selectors from base on. */
static inline uint64_t vela_crd(uint64_t kind, uint64_t rights, uint64_t order, uint64_t base)
{
    return (kind & 3) | (rights & 0x1f) << 2 | (order & 0x1f) << 7 | base << 12;
}

static inline uint64_t vela_crd_kind(uint64_t crd) { return crd & 3; }
static inline uint64_t vela_crd_rights(uint64_t crd) { return crd >> 2 & 0x1f; }
static inline uint64_t vela_crd_order(uint64_t crd) { return crd >> 7 & 0x1f; }
static inline uint64_t vela_crd_base(uint64_t crd) { return crd >> 12; }

/* Second word of a typed item; the hotspot is a page number, port or selector. */
static inline uint64_t vela_item_control(uint64_t kind, uint64_t flags, uint64_t hotspot)
{
    return (kind & 3) | (flags & 0xf1c) | hotspot << 12;
}

/* First word of a message: counts of words and items. */
static inline uint64_t vela_items(uint64_t words, uint64_t items) { return (words & 0xffff) | (items & 0xffff) << 16; }

/* Puts item number `index` (0 to 253) into a message page, whose count of items is the caller's business. */
static inline void vela_set_item(struct vela_utcb *utcb, unsigned index, uint64_t crd, uint64_t control)
{
    utcb->words[VELA_UTCB_WORDS - 2 - 2 * index] = crd;
    utcb->words[VELA_UTCB_WORDS - 1 - 2 * index] = control;
}

/* Priority 1 to 127 and quantum in microseconds, for create_sc. */
static inline uint64_t vela_qpd(uint64_t priority, uint64_t quantum) { return (priority & 0xff) | quantum << 12; }

/* First register of a hypercall. */
static inline uint64_t vela_request(uint64_t hypercall, uint64_t flags, uint64_t selector)
{
    return (hypercall & 0xf) | (flags & 0xf) << 4 | selector << 8;
}

/* ---- Hypercalls ---- */

/* The registers that a hypercall takes and gives. */
struct vela_registers {
    uint64_t rdi, rsi, rdx, rax, r8;
};

/* Makes the hypercall in `registers`, which receive what comes back, and returns the status: 0 to 9. */
static inline unsigned vela_syscall(struct vela_registers *registers)
{
    register uint64_t r8 __asm__("r8") = registers->r8;
    __asm__ volatile("syscall"
                     : "+D"(registers->rdi), "+S"(registers->rsi), "+d"(registers->rdx), "+a"(registers->rax), "+r"(r8)
                     :
                     : "rcx", "r11", "memory", "cc");
    registers->r8 = r8;
    return (unsigned)(registers->rdi & 0xff);
}

/* A hypercall whose results other than the status are of no interest. */
static inline unsigned vela_hypercall(uint64_t hypercall, uint64_t flags, uint64_t selector, uint64_t rsi, uint64_t rdx,
                                      uint64_t rax, uint64_t r8)
{
    struct vela_registers registers = {vela_request(hypercall, flags, selector), rsi, rdx, rax, r8};
    return vela_syscall(&registers);
}

/* Calls through a portal. A call without flags returns 0 on success. */
static inline unsigned vela_call(uint64_t portal) { return vela_hypercall(VELA_CALL, 0, portal, 0, 0, 0, 0); }

/* Replies, and lets the caller wait on the semaphore unless it is 0. The next call enters at the portal's entry. */
__attribute__((noreturn)) static inline void vela_reply(uint64_t semaphore)
{
    __asm__ volatile("syscall" : : "D"(vela_request(VELA_REPLY, 0, semaphore)) : "memory");
    __builtin_unreachable();
}

static inline unsigned vela_create_pd(uint64_t at, uint64_t donor, uint64_t crd, uint32_t lower, uint32_t upper)
{
    return vela_hypercall(VELA_CREATE_PD, 0, at, donor, crd, (uint64_t)upper << 32 | lower, 0);
}

/* `utcb` is the address of a page, or 0 for a virtual CPU. */
static inline unsigned vela_create_ec(uint64_t at, uint64_t flags, uint64_t pd, uint64_t cpu, uint64_t utcb, uint64_t rsp,
                                      uint64_t event_base)
{
    return vela_hypercall(VELA_CREATE_EC, flags, at, pd, utcb | cpu, rsp, event_base);
}

static inline unsigned vela_create_sc(uint64_t at, uint64_t pd, uint64_t ec, uint64_t qpd)
{
    return vela_hypercall(VELA_CREATE_SC, 0, at, pd, ec, qpd, 0);
}

static inline unsigned vela_create_pt(uint64_t at, uint64_t pd, uint64_t ec, uint64_t mtd, uint64_t entry)
{
    return vela_hypercall(VELA_CREATE_PT, 0, at, pd, ec, mtd, entry);
}

/* With `chain` 0 a semaphore with `value` as its count, else a signal of that value on the semaphore `chain`. */
static inline unsigned vela_create_sm(uint64_t at, uint64_t pd, uint64_t value, uint64_t chain)
{
    return vela_hypercall(VELA_CREATE_SM, 0, at, pd, value, chain, 0);
}

/* `notify` is a semaphore or 0; `pd` counts with VELA_REVOKE_REMOTE. */
static inline unsigned vela_revoke(uint64_t flags, uint64_t crd, uint64_t pd, uint64_t notify)
{
    return vela_hypercall(VELA_REVOKE, flags, notify, crd, pd, 0, 0);
}

/* The mapping that contains the base of `*crd`, or 0. */
static inline unsigned vela_lookup(uint64_t *crd)
{
    struct vela_registers registers = {vela_request(VELA_MISC, VELA_MISC_LOOKUP, 0), *crd, 0, 0, 0};
    unsigned status = vela_syscall(&registers);
    *crd = registers.rsi;
    return status;
}

/* Delegates the typed items of the own message page. */
static inline unsigned vela_delegate(uint64_t source, uint64_t destination, uint64_t window)
{
    return vela_hypercall(VELA_MISC, VELA_MISC_DELEGATE, source, window, destination, 0, 0);
}

static inline unsigned vela_pt_ctrl(uint64_t portal, uint64_t identity)
{
    return vela_hypercall(VELA_PT_CTRL, 0, portal, identity, 0, 0, 0);
}

static inline unsigned vela_up(uint64_t semaphore) { return vela_hypercall(VELA_SM_CTRL, 0, semaphore, 0, 0, 0, 0); }

/* Waits until the time-stamp counter reaches `deadline`, or for ever if that is 0. */
static inline unsigned vela_down(uint64_t semaphore, uint64_t flags, uint64_t deadline)
{
    return vela_hypercall(VELA_SM_CTRL, flags | VELA_SM_DOWN, semaphore, deadline >> 32, deadline & 0xffffffff, 0, 0);
}

static inline unsigned vela_pd_transfer(uint64_t from, uint64_t to, uint64_t pages)
{
    return vela_hypercall(VELA_PD_CTRL, VELA_PD_TRANSFER, from, to, pages, 0, 0);
}

#endif
"#;

/// The header that belongs to the crate.
#[must_use]
pub fn text() -> String {
    let mut text = HEAD.to_owned();
    numbers::write(&mut text);
    layout::write(&mut text);
    text + FUNCTIONS
}

/// Writes the header to its place.
///
/// # Errors
/// The file cannot be written.
pub fn write() -> Result<()> {
    let file = workspace::root().join(PATH);
    fs::write(&file, text()).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Uses every function and puts numbers of the interface into assertions of their own.
    const USE: &str = "
#include \"vela.h\"
VELA_ASSERT(VELA_PD_CTRL == 15 && VELA_PD_OOM == 9 && VELA_UTCB_WORDS == 508);
VELA_ASSERT(VELA_HIP_ADDRESS == 0x7fffbfffc000 && VELA_UTCB_ADDRESS == 0x7fffbfffb000);
VELA_ASSERT(VELA_MTD_FPU == UINT64_C(1) << 31 && VELA_ITEM_HYPERVISOR == 0x800 && VELA_ITEM_GRANT == 0x10);
int main(void) {
    static struct vela_utcb utcb;
    struct vela_registers r = {0, 0, 0, 0, 0};
    uint64_t crd = vela_crd(VELA_CRD_PORTS, 0x1f, 16, 0);
    vela_set_item(&utcb, 0, crd, vela_item_control(VELA_ITEM_DELEGATE, VELA_ITEM_HYPERVISOR, 0));
    utcb.items = vela_items(0, 1);
    if (crd != 0x87e || utcb.words[507] != 0x801 || vela_crd_order(crd) != 16 || vela_crd_kind(crd) != VELA_CRD_PORTS)
        return 1;
    if (vela_crd_base(crd) != 0 || vela_crd_rights(crd) != 31 || vela_request(8, 1, 32) != 0x2018)
        return 2;
    if (sizeof(struct vela_utcb) == 1) {
        vela_syscall(&r); vela_call(1); vela_create_pd(1, 2, 3, 4, 5); vela_create_ec(1, 0, 1, 1, 1, 1, 1);
        vela_create_sc(1, 1, 1, vela_qpd(1, 1)); vela_create_pt(1, 1, 1, 1, 1); vela_create_sm(1, 1, 1, 1);
        vela_revoke(0, 0, 0, 0); vela_lookup(&crd); vela_delegate(1, 1, 1); vela_pt_ctrl(1, 1); vela_up(1);
        vela_down(1, VELA_SM_ZERO, 1); vela_pd_transfer(1, 1, 1); vela_reply(0);
    }
    return 0;
}
";

    fn compiles_and_runs(compiler: &str, standard: &str, suffix: &str) {
        let directory = std::env::temp_dir().join(format!("vela-header-{}-{suffix}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("vela.h"), text()).unwrap();
        let (source, program) = (directory.join(format!("use.{suffix}")), directory.join("use"));
        fs::write(&source, USE).unwrap();
        let mut command = Command::new(compiler);
        command.args([standard, "-O2", "-Wall", "-Wextra", "-pedantic", "-Werror", "-o"]).arg(&program).arg(&source);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let ran = Command::new(&program).status().unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert!(ran.success(), "{ran}");
    }

    #[test]
    fn the_committed_header_is_the_one_of_the_crate() {
        let committed = fs::read_to_string(workspace::root().join(PATH)).unwrap_or_default();
        assert!(committed == text(), "{PATH} is out of date: run `cargo xtask header`");
    }

    #[test]
    fn the_header_is_c11_without_a_warning() {
        compiles_and_runs("gcc", "-std=c11", "c");
    }

    #[test]
    fn the_header_is_cpp17_without_a_warning() {
        compiles_and_runs("g++", "-std=c++17", "cpp");
    }
}
