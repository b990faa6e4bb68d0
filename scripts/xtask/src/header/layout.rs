//! Structures of the C header.
//!
//! Purpose: the fields in the crate's order, each with an assertion that its offset is the one of the crate.
//! Invariants: offsets and sizes come from `offset_of!` and `size_of`; a field in the wrong place does not compile in C.
//! Concurrency: none.

use std::fmt::Write;
use std::mem::offset_of;

use abi::arch_state::{ArchState, FPU_OFFSET, STATE_OFFSET, Segment};
use abi::hip::{CpuDescriptor, Hip, MemoryDescriptor};
use abi::utcb::{Utcb, WORDS};

use super::numbers::MEMORY_KINDS;

/// A structure: its fields as type, name, array length (0: none) and offset.
struct Layout<'a> {
    title: &'a str,
    name: &'a str,
    size: usize,
    fields: &'a [(&'a str, &'a str, usize, usize)],
}

macro_rules! fields {
    ($type:ty: $($kind:literal $($name:ident $([$length:literal])?)+;)+) => {
        &[$($(($kind, stringify!($name), 0 $(+ $length)?, offset_of!($type, $name)),)+)+]
    };
}

/// Appends them all.
pub fn write(text: &mut String) {
    write_one(
        text,
        &Layout {
            title: "A segment register",
            name: "segment",
            size: size_of::<Segment>(),
            fields: fields!(Segment: "uint16_t" selector attributes; "uint32_t" limit; "uint64_t" base;),
        },
    );
    write_one(
        text,
        &Layout {
            title: "Registers of a thread after an exception, or of a virtual CPU after an exit",
            name: "arch_state",
            size: size_of::<ArchState>(),
            fields: STATE,
        },
    );
    utcb(text);
    write_one(
        text,
        &Layout {
            title: "Header of the hypervisor information page",
            name: "hip",
            size: size_of::<Hip>(),
            fields: fields!(Hip:
            "uint32_t" signature; "uint16_t" checksum length cpu_offset cpu_size memory_offset memory_size;
            "uint32_t" features api_version selectors exception_selectors vcpu_selectors interrupts page_sizes;
            "uint32_t" utcb_sizes tsc_khz bus_khz;),
        },
    );
    write_one(
        text,
        &Layout {
            title: "One core",
            name: "cpu_descriptor",
            size: size_of::<CpuDescriptor>(),
            fields: fields!(CpuDescriptor:
            "uint8_t" flags thread core package acpi_id family model stepping_platform; "uint32_t" patch;),
        },
    );
    write_one(
        text,
        &Layout {
            title: "A range of physical memory, or one physical address",
            name: "memory_descriptor",
            size: size_of::<MemoryDescriptor>(),
            fields: fields!(MemoryDescriptor: "uint64_t" address size; "int32_t" kind; "uint32_t" extra;),
        },
    );
    text.push_str("\n/* Kinds of memory descriptors; others come from the boot loader. */\nenum {\n");
    for (name, kind) in MEMORY_KINDS {
        let _ = writeln!(text, "    VELA_MEMORY_{name} = {},", kind.0);
    }
    text.push_str("};\n");
}

const STATE: &[(&str, &str, usize, usize)] = fields!(ArchState:
    "uint64_t" mtd instruction_length rip rflags;
    "uint32_t" intr_state actv_state inj_info inj_error;
    "uint64_t" rax rcx rdx rbx rsp rbp rsi rdi;
    "uint64_t" r8_r15[8];
    "uint64_t" qual[2];
    "uint32_t" ctrl[2];
    "uint64_t" cr0 cr2 cr3 cr4 xcr0 xss;
    "uint64_t" pdpte[4];
    "uint64_t" cr8 efer star lstar cstar sfmask kernel_gs_base;
    "uint32_t" tpr tpr_threshold;
    "uint64_t" dr7 sysenter_cs sysenter_rsp sysenter_rip;
    "struct vela_segment" es cs ss ds fs gs ldtr tr gdtr idtr;
    "uint64_t" tsc_val tsc_off tsc_aux exit_reason;
);

fn write_one(text: &mut String, layout: &Layout<'_>) {
    let Layout { title, name, size, fields } = layout;
    let _ = writeln!(text, "\n/* {title} */\nstruct vela_{name} {{");
    for (kind, field, length, _) in *fields {
        let array = if *length > 0 { format!("[{length}]") } else { String::new() };
        let _ = writeln!(text, "    {kind} {field}{array};");
    }
    text.push_str("};\n");
    let _ = writeln!(text, "VELA_ASSERT(sizeof(struct vela_{name}) == {size:#x});");
    for pair in fields.chunks(2) {
        let places =
            pair.iter().map(|(_, field, _, offset)| format!("offsetof(struct vela_{name}, {field}) == {offset:#x}"));
        let _ = writeln!(text, "VELA_ASSERT({});", places.collect::<Vec<_>>().join(" && "));
    }
}

fn utcb(text: &mut String) {
    let head = offset_of!(Utcb, words);
    let _ = write!(
        text,
        "
#define VELA_UTCB_WORDS {WORDS}

/* The message page of a thread. The state of a fault lies over the words: see vela_state. Typed items fill the words from
 * the end: see vela_set_item. */
struct vela_utcb {{
    uint64_t items;
    uint64_t translate_window;
    uint64_t delegate_window;
    uint64_t tls;
    uint64_t words[VELA_UTCB_WORDS];
}};
VELA_ASSERT(sizeof(struct vela_utcb) == {:#x});
VELA_ASSERT(offsetof(struct vela_utcb, translate_window) == {:#x});
VELA_ASSERT(offsetof(struct vela_utcb, delegate_window) == {:#x});
VELA_ASSERT(offsetof(struct vela_utcb, tls) == {:#x});
VELA_ASSERT(offsetof(struct vela_utcb, words) == {head:#x});

/* The state in a message page: aliases the words, so read it after a compiler barrier or a hypercall. */
static inline volatile struct vela_arch_state *vela_state(struct vela_utcb *utcb)
{{
    return (volatile struct vela_arch_state *)((unsigned char *)utcb + {STATE_OFFSET:#x});
}}

/* The image of the vector registers in a message page. */
static inline volatile unsigned char *vela_fpu(struct vela_utcb *utcb) {{ return (unsigned char *)utcb + {FPU_OFFSET:#x}; }}
",
        size_of::<Utcb>(),
        offset_of!(Utcb, translate_window),
        offset_of!(Utcb, delegate_window),
        offset_of!(Utcb, tls),
    );
}
