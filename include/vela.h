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

/* Hypercalls */
enum {
    VELA_CALL = 0x0,
    VELA_REPLY = 0x1,
    VELA_CREATE_PD = 0x2,
    VELA_CREATE_EC = 0x3,
    VELA_CREATE_SC = 0x4,
    VELA_CREATE_PT = 0x5,
    VELA_CREATE_SM = 0x6,
    VELA_REVOKE = 0x7,
    VELA_MISC = 0x8,
    VELA_EC_CTRL = 0x9,
    VELA_SC_CTRL = 0xa,
    VELA_PT_CTRL = 0xb,
    VELA_SM_CTRL = 0xc,
    VELA_ASSIGN_PCI = 0xd,
    VELA_ASSIGN_GSI = 0xe,
    VELA_PD_CTRL = 0xf,
};

/* Status */
enum {
    VELA_SUCCESS = 0x0,
    VELA_COM_TIM = 0x1,
    VELA_COM_ABT = 0x2,
    VELA_BAD_HYP = 0x3,
    VELA_BAD_CAP = 0x4,
    VELA_BAD_PAR = 0x5,
    VELA_BAD_FTR = 0x6,
    VELA_BAD_CPU = 0x7,
    VELA_BAD_DEV = 0x8,
    VELA_PD_OOM = 0x9,
};

/* Sub-operations of misc */
enum {
    VELA_MISC_LOOKUP = 0x0,
    VELA_MISC_DELEGATE = 0x1,
    VELA_MISC_SUSPEND = 0x2,
    VELA_MISC_COUNT = 0x3,
    VELA_MISC_EVIDENCE = 0x4,
    VELA_MISC_REVOKE_LATER = 0x5,
};

/* Operations of ec_ctrl, and the flag of create_ec */
enum {
    VELA_EC_RECALL = 0x0,
    VELA_EC_YIELD = 0x1,
    VELA_EC_DONATE = 0x2,
    VELA_EC_RESCHEDULE = 0x3,
    VELA_EC_MIGRATE = 0x4,
    VELA_EC_TIME = 0x5,
    VELA_EC_GET_STATE = 0x6,
    VELA_EC_SET_STATE = 0x7,
    VELA_EC_MSR = 0x8,
    VELA_EC_GLOBAL = 0x1,
};

/* Operations of sc_ctrl */
enum {
    VELA_SC_TIME = 0x0,
    VELA_SC_CROSS_TIME = 0x1,
    VELA_SC_KILLED_TIME = 0x2,
    VELA_SC_BOTH_TIMES = 0x3,
};

/* Operations of pd_ctrl */
enum {
    VELA_PD_TRANSFER = 0x0,
    VELA_PD_DEBUG = 0x2,
};

/* Flags of sm_ctrl */
enum {
    VELA_SM_DOWN = 0x1,
    VELA_SM_ZERO = 0x2,
};

/* Flags of call */
enum {
    VELA_CALL_DO_NOT_BLOCK = 0x1,
    VELA_CALL_NO_DONATION = 0x2,
    VELA_CALL_NO_REPLY = 0x4,
};

/* Flags of revoke */
enum {
    VELA_REVOKE_SELF = 0x1,
    VELA_REVOKE_REMOTE = 0x2,
    VELA_REVOKE_KEEP = 0x4,
    VELA_REVOKE_REPORT = 0x8,
};

/* What a revocation reports */
enum {
    VELA_NOTED_ACCESSED = 0x1,
    VELA_NOTED_DIRTY = 0x2,
};

/* Flags of assign_gsi */
enum {
    VELA_GSI_LOW = 0x1,
    VELA_GSI_LEVEL = 0x2,
    VELA_GSI_CONFIGURE = 0x4,
};

/* Rights of memory */
enum {
    VELA_RIGHT_MEMORY_READ = 0x1,
    VELA_RIGHT_MEMORY_WRITE = 0x2,
    VELA_RIGHT_MEMORY_EXECUTE = 0x4,
};

/* Permissions of a protection domain */
enum {
    VELA_RIGHT_PD_CREATE_DOMAIN = 0x1,
    VELA_RIGHT_PD_CREATE_CONTEXT = 0x2,
    VELA_RIGHT_PD_CREATE_SCHEDULING = 0x4,
    VELA_RIGHT_PD_CREATE_PORTAL = 0x8,
    VELA_RIGHT_PD_CREATE_SEMAPHORE = 0x10,
};

/* Permissions of an execution context */
enum {
    VELA_RIGHT_EC_CONTROL = 0x1,
    VELA_RIGHT_EC_BIND_SCHEDULING = 0x4,
    VELA_RIGHT_EC_BIND_PORTAL = 0x8,
};

/* Permissions of a scheduling context */
enum {
    VELA_RIGHT_SC_CONTROL = 0x1,
};

/* Permissions of a portal */
enum {
    VELA_RIGHT_PT_CONTROL = 0x1,
    VELA_RIGHT_PT_CALL = 0x2,
    VELA_RIGHT_PT_CALL_CROSS_CPU = 0x10,
};

/* Permissions of a semaphore */
enum {
    VELA_RIGHT_SM_UP = 0x1,
    VELA_RIGHT_SM_DOWN = 0x2,
};

/* Range descriptors */
enum {
    VELA_CRD_NULL = 0x0,
    VELA_CRD_MEMORY = 0x1,
    VELA_CRD_PORTS = 0x2,
    VELA_CRD_OBJECTS = 0x3,
    VELA_CRD_MAX_ORDER = 0x1f,
};

/* Typed items: kinds and flags */
enum {
    VELA_ITEM_TRANSLATE = 0x0,
    VELA_ITEM_DELEGATE = 0x1,
    VELA_ITEM_TRANSLATE_OR_DELEGATE = 0x2,
    VELA_ITEM_LAST = 0x4,
    VELA_ITEM_COPY = 0x8,
    VELA_ITEM_GRANT = 0x10,
    VELA_ITEM_RAISE = 0x20,
    VELA_ITEM_REPLACE = 0x40,
    VELA_ITEM_LIMITED = 0x80,
    VELA_ITEM_DEVICE = 0x100,
    VELA_ITEM_GUEST = 0x200,
    VELA_ITEM_WRITE_COMBINING = 0x400,
    VELA_ITEM_HYPERVISOR = 0x800,
};

/* Events */
enum {
    VELA_EVENT_DE = 0x0,
    VELA_EVENT_DB = 0x1,
    VELA_EVENT_BP = 0x3,
    VELA_EVENT_OF = 0x4,
    VELA_EVENT_BR = 0x5,
    VELA_EVENT_UD = 0x6,
    VELA_EVENT_TS = 0xa,
    VELA_EVENT_NP = 0xb,
    VELA_EVENT_SS = 0xc,
    VELA_EVENT_GP = 0xd,
    VELA_EVENT_PF = 0xe,
    VELA_EVENT_MF = 0x10,
    VELA_EVENT_AC = 0x11,
    VELA_EVENT_MC = 0x12,
    VELA_EVENT_XM = 0x13,
    VELA_EVENT_STARTUP = 0x1e,
    VELA_EVENT_RECALL = 0x1f,
    VELA_EVENT_THREAD_COUNT = 0x20,
    VELA_EVENT_VCPU_SVM_OTHER = 0xfb,
    VELA_EVENT_VCPU_SVM_NESTED_FAULT = 0xfc,
    VELA_EVENT_VCPU_SVM_INVALID = 0xfd,
    VELA_EVENT_VCPU_VMX_INVALID = 0x21,
    VELA_EVENT_VCPU_STARTUP = 0xfe,
    VELA_EVENT_VCPU_RECALL = 0xff,
    VELA_EVENT_VCPU_COUNT = 0x100,
};

/* Message transfer descriptor */
#define VELA_MTD_ACDB UINT64_C(0x1)
#define VELA_MTD_BSD UINT64_C(0x2)
#define VELA_MTD_RSP UINT64_C(0x4)
#define VELA_MTD_RIP_LEN UINT64_C(0x8)
#define VELA_MTD_RFLAGS UINT64_C(0x10)
#define VELA_MTD_DS_ES UINT64_C(0x20)
#define VELA_MTD_FS_GS UINT64_C(0x40)
#define VELA_MTD_CS_SS UINT64_C(0x80)
#define VELA_MTD_TR UINT64_C(0x100)
#define VELA_MTD_LDTR UINT64_C(0x200)
#define VELA_MTD_GDTR UINT64_C(0x400)
#define VELA_MTD_IDTR UINT64_C(0x800)
#define VELA_MTD_CR UINT64_C(0x1000)
#define VELA_MTD_DR UINT64_C(0x2000)
#define VELA_MTD_SYSENTER UINT64_C(0x4000)
#define VELA_MTD_QUAL UINT64_C(0x8000)
#define VELA_MTD_CTRL UINT64_C(0x10000)
#define VELA_MTD_INJ UINT64_C(0x20000)
#define VELA_MTD_STA UINT64_C(0x40000)
#define VELA_MTD_TSC UINT64_C(0x80000)
#define VELA_MTD_EFER UINT64_C(0x100000)
#define VELA_MTD_PDPTE UINT64_C(0x200000)
#define VELA_MTD_R8_R15 UINT64_C(0x400000)
#define VELA_MTD_SYSCALL_SWAPGS UINT64_C(0x800000)
#define VELA_MTD_TPR UINT64_C(0x1000000)
#define VELA_MTD_TSC_AUX UINT64_C(0x2000000)
#define VELA_MTD_XSAVE UINT64_C(0x4000000)
#define VELA_MTD_FPU UINT64_C(0x80000000)

/* Places and sizes */
#define VELA_API_VERSION UINT64_C(0xa)
#define VELA_PAGE_SIZE UINT64_C(0x1000)
#define VELA_USER_LIMIT UINT64_C(0x7fffc0000000)
#define VELA_HIP_ADDRESS UINT64_C(0x7fffbfffc000)
#define VELA_HIP_SIZE UINT64_C(0x4000)
#define VELA_HIP_SIGNATURE UINT64_C(0x41564f4e)
#define VELA_UTCB_ADDRESS UINT64_C(0x7fffbfffb000)
#define VELA_MAX_ITEMS UINT64_C(0xfe)
#define VELA_CPU_SLOTS UINT64_C(0x100)
#define VELA_GSI_COUNT UINT64_C(0xc0)
#define VELA_PRIORITIES UINT64_C(0x80)
#define VELA_SELECTORS UINT64_C(0x4000000)
#define VELA_ROOT_PD UINT64_C(0x20)
#define VELA_ROOT_EC UINT64_C(0x21)
#define VELA_ROOT_SC UINT64_C(0x22)
#define VELA_ROOT_SUSPEND UINT64_C(0x23)
#define VELA_ROOT_MSR UINT64_C(0x24)
#define VELA_FEATURE_IOMMU UINT64_C(0x1)
#define VELA_FEATURE_VMX UINT64_C(0x2)
#define VELA_FEATURE_SVM UINT64_C(0x4)
#define VELA_FEATURE_ITEM_FORMS UINT64_C(0x8)
#define VELA_FEATURE_COUNTERS UINT64_C(0x10)
#define VELA_FEATURE_OVERMAPPING UINT64_C(0x20)
#define VELA_FEATURE_EVIDENCE UINT64_C(0x40)
#define VELA_FEATURE_REPORT UINT64_C(0x80)
#define VELA_FEATURE_REVOKE_LATER UINT64_C(0x100)
#define VELA_FEATURE_LIMITS UINT64_C(0x200)
#define VELA_CPU_ENABLED UINT64_C(0x1)

/* A segment register */
struct vela_segment {
    uint16_t selector;
    uint16_t attributes;
    uint32_t limit;
    uint64_t base;
};
VELA_ASSERT(sizeof(struct vela_segment) == 0x10);
VELA_ASSERT(offsetof(struct vela_segment, selector) == 0x0 && offsetof(struct vela_segment, attributes) == 0x2);
VELA_ASSERT(offsetof(struct vela_segment, limit) == 0x4 && offsetof(struct vela_segment, base) == 0x8);

/* Registers of a thread after an exception, or of a virtual CPU after an exit */
struct vela_arch_state {
    uint64_t mtd;
    uint64_t instruction_length;
    uint64_t rip;
    uint64_t rflags;
    uint32_t intr_state;
    uint32_t actv_state;
    uint32_t inj_info;
    uint32_t inj_error;
    uint64_t rax;
    uint64_t rcx;
    uint64_t rdx;
    uint64_t rbx;
    uint64_t rsp;
    uint64_t rbp;
    uint64_t rsi;
    uint64_t rdi;
    uint64_t r8_r15[8];
    uint64_t qual[2];
    uint32_t ctrl[2];
    uint64_t cr0;
    uint64_t cr2;
    uint64_t cr3;
    uint64_t cr4;
    uint64_t xcr0;
    uint64_t xss;
    uint64_t pdpte[4];
    uint64_t cr8;
    uint64_t efer;
    uint64_t star;
    uint64_t lstar;
    uint64_t cstar;
    uint64_t sfmask;
    uint64_t kernel_gs_base;
    uint32_t tpr;
    uint32_t tpr_threshold;
    uint64_t dr7;
    uint64_t sysenter_cs;
    uint64_t sysenter_rsp;
    uint64_t sysenter_rip;
    struct vela_segment es;
    struct vela_segment cs;
    struct vela_segment ss;
    struct vela_segment ds;
    struct vela_segment fs;
    struct vela_segment gs;
    struct vela_segment ldtr;
    struct vela_segment tr;
    struct vela_segment gdtr;
    struct vela_segment idtr;
    uint64_t tsc_val;
    uint64_t tsc_off;
    uint64_t tsc_aux;
    uint64_t exit_reason;
};
VELA_ASSERT(sizeof(struct vela_arch_state) == 0x238);
VELA_ASSERT(offsetof(struct vela_arch_state, mtd) == 0x0 && offsetof(struct vela_arch_state, instruction_length) == 0x8);
VELA_ASSERT(offsetof(struct vela_arch_state, rip) == 0x10 && offsetof(struct vela_arch_state, rflags) == 0x18);
VELA_ASSERT(offsetof(struct vela_arch_state, intr_state) == 0x20 && offsetof(struct vela_arch_state, actv_state) == 0x24);
VELA_ASSERT(offsetof(struct vela_arch_state, inj_info) == 0x28 && offsetof(struct vela_arch_state, inj_error) == 0x2c);
VELA_ASSERT(offsetof(struct vela_arch_state, rax) == 0x30 && offsetof(struct vela_arch_state, rcx) == 0x38);
VELA_ASSERT(offsetof(struct vela_arch_state, rdx) == 0x40 && offsetof(struct vela_arch_state, rbx) == 0x48);
VELA_ASSERT(offsetof(struct vela_arch_state, rsp) == 0x50 && offsetof(struct vela_arch_state, rbp) == 0x58);
VELA_ASSERT(offsetof(struct vela_arch_state, rsi) == 0x60 && offsetof(struct vela_arch_state, rdi) == 0x68);
VELA_ASSERT(offsetof(struct vela_arch_state, r8_r15) == 0x70 && offsetof(struct vela_arch_state, qual) == 0xb0);
VELA_ASSERT(offsetof(struct vela_arch_state, ctrl) == 0xc0 && offsetof(struct vela_arch_state, cr0) == 0xc8);
VELA_ASSERT(offsetof(struct vela_arch_state, cr2) == 0xd0 && offsetof(struct vela_arch_state, cr3) == 0xd8);
VELA_ASSERT(offsetof(struct vela_arch_state, cr4) == 0xe0 && offsetof(struct vela_arch_state, xcr0) == 0xe8);
VELA_ASSERT(offsetof(struct vela_arch_state, xss) == 0xf0 && offsetof(struct vela_arch_state, pdpte) == 0xf8);
VELA_ASSERT(offsetof(struct vela_arch_state, cr8) == 0x118 && offsetof(struct vela_arch_state, efer) == 0x120);
VELA_ASSERT(offsetof(struct vela_arch_state, star) == 0x128 && offsetof(struct vela_arch_state, lstar) == 0x130);
VELA_ASSERT(offsetof(struct vela_arch_state, cstar) == 0x138 && offsetof(struct vela_arch_state, sfmask) == 0x140);
VELA_ASSERT(offsetof(struct vela_arch_state, kernel_gs_base) == 0x148 && offsetof(struct vela_arch_state, tpr) == 0x150);
VELA_ASSERT(offsetof(struct vela_arch_state, tpr_threshold) == 0x154 && offsetof(struct vela_arch_state, dr7) == 0x158);
VELA_ASSERT(offsetof(struct vela_arch_state, sysenter_cs) == 0x160 && offsetof(struct vela_arch_state, sysenter_rsp) == 0x168);
VELA_ASSERT(offsetof(struct vela_arch_state, sysenter_rip) == 0x170 && offsetof(struct vela_arch_state, es) == 0x178);
VELA_ASSERT(offsetof(struct vela_arch_state, cs) == 0x188 && offsetof(struct vela_arch_state, ss) == 0x198);
VELA_ASSERT(offsetof(struct vela_arch_state, ds) == 0x1a8 && offsetof(struct vela_arch_state, fs) == 0x1b8);
VELA_ASSERT(offsetof(struct vela_arch_state, gs) == 0x1c8 && offsetof(struct vela_arch_state, ldtr) == 0x1d8);
VELA_ASSERT(offsetof(struct vela_arch_state, tr) == 0x1e8 && offsetof(struct vela_arch_state, gdtr) == 0x1f8);
VELA_ASSERT(offsetof(struct vela_arch_state, idtr) == 0x208 && offsetof(struct vela_arch_state, tsc_val) == 0x218);
VELA_ASSERT(offsetof(struct vela_arch_state, tsc_off) == 0x220 && offsetof(struct vela_arch_state, tsc_aux) == 0x228);
VELA_ASSERT(offsetof(struct vela_arch_state, exit_reason) == 0x230);

#define VELA_UTCB_WORDS 508

/* The message page of a thread. The state of a fault lies over the words: see vela_state. Typed items fill the words from
 * the end: see vela_set_item. */
struct vela_utcb {
    uint64_t items;
    uint64_t translate_window;
    uint64_t delegate_window;
    uint64_t tls;
    uint64_t words[VELA_UTCB_WORDS];
};
VELA_ASSERT(sizeof(struct vela_utcb) == 0x1000);
VELA_ASSERT(offsetof(struct vela_utcb, translate_window) == 0x8);
VELA_ASSERT(offsetof(struct vela_utcb, delegate_window) == 0x10);
VELA_ASSERT(offsetof(struct vela_utcb, tls) == 0x18);
VELA_ASSERT(offsetof(struct vela_utcb, words) == 0x20);

/* The state in a message page: aliases the words, so read it after a compiler barrier or a hypercall. */
static inline volatile struct vela_arch_state *vela_state(struct vela_utcb *utcb)
{
    return (volatile struct vela_arch_state *)((unsigned char *)utcb + 0x20);
}

/* The image of the vector registers in a message page. */
static inline volatile unsigned char *vela_fpu(struct vela_utcb *utcb) { return (unsigned char *)utcb + 0x258; }

/* Header of the hypervisor information page */
struct vela_hip {
    uint32_t signature;
    uint16_t checksum;
    uint16_t length;
    uint16_t cpu_offset;
    uint16_t cpu_size;
    uint16_t memory_offset;
    uint16_t memory_size;
    uint32_t features;
    uint32_t api_version;
    uint32_t selectors;
    uint32_t exception_selectors;
    uint32_t vcpu_selectors;
    uint32_t interrupts;
    uint32_t page_sizes;
    uint32_t utcb_sizes;
    uint32_t tsc_khz;
    uint32_t bus_khz;
};
VELA_ASSERT(sizeof(struct vela_hip) == 0x38);
VELA_ASSERT(offsetof(struct vela_hip, signature) == 0x0 && offsetof(struct vela_hip, checksum) == 0x4);
VELA_ASSERT(offsetof(struct vela_hip, length) == 0x6 && offsetof(struct vela_hip, cpu_offset) == 0x8);
VELA_ASSERT(offsetof(struct vela_hip, cpu_size) == 0xa && offsetof(struct vela_hip, memory_offset) == 0xc);
VELA_ASSERT(offsetof(struct vela_hip, memory_size) == 0xe && offsetof(struct vela_hip, features) == 0x10);
VELA_ASSERT(offsetof(struct vela_hip, api_version) == 0x14 && offsetof(struct vela_hip, selectors) == 0x18);
VELA_ASSERT(offsetof(struct vela_hip, exception_selectors) == 0x1c && offsetof(struct vela_hip, vcpu_selectors) == 0x20);
VELA_ASSERT(offsetof(struct vela_hip, interrupts) == 0x24 && offsetof(struct vela_hip, page_sizes) == 0x28);
VELA_ASSERT(offsetof(struct vela_hip, utcb_sizes) == 0x2c && offsetof(struct vela_hip, tsc_khz) == 0x30);
VELA_ASSERT(offsetof(struct vela_hip, bus_khz) == 0x34);

/* One core */
struct vela_cpu_descriptor {
    uint8_t flags;
    uint8_t thread;
    uint8_t core;
    uint8_t package;
    uint8_t acpi_id;
    uint8_t family;
    uint8_t model;
    uint8_t stepping_platform;
    uint32_t patch;
};
VELA_ASSERT(sizeof(struct vela_cpu_descriptor) == 0xc);
VELA_ASSERT(offsetof(struct vela_cpu_descriptor, flags) == 0x0 && offsetof(struct vela_cpu_descriptor, thread) == 0x1);
VELA_ASSERT(offsetof(struct vela_cpu_descriptor, core) == 0x2 && offsetof(struct vela_cpu_descriptor, package) == 0x3);
VELA_ASSERT(offsetof(struct vela_cpu_descriptor, acpi_id) == 0x4 && offsetof(struct vela_cpu_descriptor, family) == 0x5);
VELA_ASSERT(offsetof(struct vela_cpu_descriptor, model) == 0x6 && offsetof(struct vela_cpu_descriptor, stepping_platform) == 0x7);
VELA_ASSERT(offsetof(struct vela_cpu_descriptor, patch) == 0x8);

/* A range of physical memory, or one physical address */
struct vela_memory_descriptor {
    uint64_t address;
    uint64_t size;
    int32_t kind;
    uint32_t extra;
};
VELA_ASSERT(sizeof(struct vela_memory_descriptor) == 0x18);
VELA_ASSERT(offsetof(struct vela_memory_descriptor, address) == 0x0 && offsetof(struct vela_memory_descriptor, size) == 0x8);
VELA_ASSERT(offsetof(struct vela_memory_descriptor, kind) == 0x10 && offsetof(struct vela_memory_descriptor, extra) == 0x14);

/* Kinds of memory descriptors; others come from the boot loader. */
enum {
    VELA_MEMORY_AVAILABLE = 1,
    VELA_MEMORY_RESERVED = 2,
    VELA_MEMORY_ACPI_RECLAIMABLE = 3,
    VELA_MEMORY_ACPI_NVS = 4,
    VELA_MEMORY_HYPERVISOR = -1,
    VELA_MEMORY_MODULE = -2,
    VELA_MEMORY_RSDT = -3,
    VELA_MEMORY_XSDT = -4,
    VELA_MEMORY_FRAME_BUFFER = -5,
    VELA_MEMORY_LOG = -6,
    VELA_MEMORY_EFI_SYSTEM_TABLE = -7,
};

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
