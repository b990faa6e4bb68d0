//! Constants of the C header.
//!
//! Purpose: sub-operations and flags as enumerations, words of 64 bits as macros, each with the value that the crate has.
//! Invariants: names are those of the classic interface where it has some.
//! Concurrency: none.

use std::fmt::Write;

use abi::event::{self, Exception};
use abi::hip::{self, Features, MemoryKind};
use abi::item::{ItemFlags, ItemKind};
use abi::operation::{
    CallFlags, ContextControl, ContextFlags, DomainControl, InterruptFlags, Misc, Noted, RevokeFlags,
    SchedulingControl, SemaphoreFlags,
};
use abi::rights::{ContextRights, DomainRights, MemoryRights, PortalRights, SchedulingRights, SemaphoreRights};
use abi::{Hypercall, Kind, Mtd, Selector, Status, address, crd, qpd, utcb};

/// Appends them all.
pub fn write(text: &mut String) {
    let hypercalls = Hypercall::ALL.map(|call| (call.name().to_uppercase(), u64::from(call.number())));
    enumeration(text, "Hypercalls", "", hypercalls);
    let names = ["SUCCESS", "COM_TIM", "COM_ABT", "BAD_HYP", "BAD_CAP", "BAD_PAR", "BAD_FTR", "BAD_CPU", "BAD_DEV"];
    let statuses = Status::ALL.into_iter().zip(names.into_iter().chain(["PD_OOM"]));
    enumeration(text, "Status", "", statuses.map(|(status, name)| (name, u64::from(status.number()))));
    operations(text);
    rights(text);
    enumeration(text, "Range descriptors", "CRD_", kinds());
    let items = [
        ("TRANSLATE", ItemKind::Translate as u64),
        ("DELEGATE", ItemKind::Delegate as u64),
        ("TRANSLATE_OR_DELEGATE", ItemKind::TranslateOrDelegate as u64),
    ];
    let flags = ItemFlags::all().iter_names().map(|(name, flag)| (name, flag.bits()));
    enumeration(text, "Typed items: kinds and flags", "ITEM_", items.into_iter().chain(flags));
    events(text);
    words(
        text,
        "Message transfer descriptor",
        Mtd::all().iter_names().map(|(name, group)| (format!("MTD_{name}"), group.word())),
    );
    words(text, "Places and sizes", places());
}

fn kinds() -> [(&'static str, u64); 5] {
    [
        ("NULL", Kind::Null as u64),
        ("MEMORY", Kind::Memory as u64),
        ("PORTS", Kind::Ports as u64),
        ("OBJECTS", Kind::Objects as u64),
        ("MAX_ORDER", u64::from(crd::MAX_ORDER)),
    ]
}

fn operations(text: &mut String) {
    let flags = [
        ("LOOKUP", Misc::Lookup),
        ("DELEGATE", Misc::Delegate),
        ("SUSPEND", Misc::Suspend),
        ("COUNT", Misc::Count),
        ("EVIDENCE", Misc::Evidence),
        ("REVOKE_LATER", Misc::RevokeLater),
    ];
    enumeration(text, "Sub-operations of misc", "MISC_", flags.map(|(name, flag)| (name, u64::from(flag.flags()))));
    let controls = [
        ("RECALL", ContextControl::Recall),
        ("YIELD", ContextControl::Yield),
        ("DONATE", ContextControl::Donate),
        ("RESCHEDULE", ContextControl::Reschedule),
        ("MIGRATE", ContextControl::Migrate),
        ("TIME", ContextControl::Time),
        ("GET_STATE", ContextControl::GetState),
        ("SET_STATE", ContextControl::SetState),
        ("MSR", ContextControl::AccessMsr),
    ];
    let global = ("GLOBAL", u64::from(ContextFlags::GLOBAL.bits()));
    let controls = controls.map(|(name, flag)| (name, u64::from(flag.flags())));
    enumeration(text, "Operations of ec_ctrl, and the flag of create_ec", "EC_", controls.into_iter().chain([global]));
    let controls = [
        ("TIME", SchedulingControl::Time),
        ("CROSS_TIME", SchedulingControl::CrossCpuTime),
        ("KILLED_TIME", SchedulingControl::KilledTime),
        ("BOTH_TIMES", SchedulingControl::BothTimes),
    ];
    enumeration(text, "Operations of sc_ctrl", "SC_", controls.map(|(name, flag)| (name, u64::from(flag.flags()))));
    let controls = [("TRANSFER", DomainControl::Transfer), ("DEBUG", DomainControl::ReadQuota)];
    enumeration(text, "Operations of pd_ctrl", "PD_", controls.map(|(name, flag)| (name, u64::from(flag.flags()))));
    let semaphore = [("DOWN", SemaphoreFlags::DOWN), ("ZERO", SemaphoreFlags::TO_ZERO)];
    enumeration(text, "Flags of sm_ctrl", "SM_", semaphore.map(|(name, flag)| (name, u64::from(flag.bits()))));
    let flags = CallFlags::all().iter_names().map(|(name, flag)| (name, u64::from(flag.bits())));
    enumeration(text, "Flags of call", "CALL_", flags);
    let flags = RevokeFlags::all().iter_names().map(|(name, flag)| (name, u64::from(flag.bits())));
    enumeration(text, "Flags of revoke", "REVOKE_", flags);
    let noted = Noted::all().iter_names().map(|(name, bit)| (name, bit.bits()));
    enumeration(text, "What a revocation reports", "NOTED_", noted);
    let flags = InterruptFlags::all().iter_names().map(|(name, flag)| (name, u64::from(flag.bits())));
    enumeration(text, "Flags of assign_gsi", "GSI_", flags);
}

fn rights(text: &mut String) {
    macro_rules! set {
        ($title:literal, $prefix:literal, $type:ty) => {
            let names = <$type>::all().iter_names().map(|(name, right)| (name, u64::from(right.bits())));
            enumeration(text, $title, $prefix, names);
        };
    }
    set!("Rights of memory", "RIGHT_MEMORY_", MemoryRights);
    set!("Permissions of a protection domain", "RIGHT_PD_", DomainRights);
    set!("Permissions of an execution context", "RIGHT_EC_", ContextRights);
    set!("Permissions of a scheduling context", "RIGHT_SC_", SchedulingRights);
    set!("Permissions of a portal", "RIGHT_PT_", PortalRights);
    set!("Permissions of a semaphore", "RIGHT_SM_", SemaphoreRights);
}

fn events(text: &mut String) {
    let exceptions = (0..32)
        .filter_map(Exception::new)
        .filter(|exception| exception.is_delivered())
        .map(|exception| (exception.mnemonic().replace('#', ""), u64::from(exception.vector())));
    let own = [
        ("STARTUP", event::STARTUP.into()),
        ("RECALL", event::RECALL.into()),
        ("THREAD_COUNT", event::THREAD_EVENTS),
        ("VCPU_SVM_OTHER", event::VCPU_SVM_OTHER.into()),
        ("VCPU_SVM_NESTED_FAULT", event::VCPU_SVM_NESTED_FAULT.into()),
        ("VCPU_SVM_INVALID", event::VCPU_SVM_INVALID.into()),
        ("VCPU_VMX_INVALID", event::VCPU_VMX_INVALID.into()),
        ("VCPU_STARTUP", event::VCPU_STARTUP.into()),
        ("VCPU_RECALL", event::VCPU_RECALL.into()),
        ("VCPU_COUNT", event::VCPU_EVENTS),
    ];
    let own = own.map(|(name, number): (&str, u64)| (name.to_owned(), number));
    enumeration(text, "Events", "EVENT_", exceptions.chain(own));
}

fn places() -> Vec<(String, u64)> {
    let mut places: Vec<_> = [
        ("API_VERSION", u64::from(abi::API_VERSION)),
        ("PAGE_SIZE", address::PAGE_SIZE),
        ("USER_LIMIT", abi::USER_LIMIT),
        ("HIP_ADDRESS", hip::HIP_ADDRESS),
        ("HIP_SIZE", hip::HIP_SIZE as u64),
        ("HIP_SIGNATURE", u64::from(hip::SIGNATURE)),
        ("UTCB_ADDRESS", hip::ROOT_UTCB_ADDRESS),
        ("MAX_ITEMS", utcb::MAX_ITEMS as u64),
        ("CPU_SLOTS", hip::CPU_SLOTS as u64),
        ("GSI_COUNT", u64::from(hip::INTERRUPTS)),
        ("PRIORITIES", u64::from(qpd::PRIORITIES)),
        ("SELECTORS", Selector::COUNT),
        ("ROOT_PD", Selector::ROOT_DOMAIN.number()),
        ("ROOT_EC", Selector::ROOT_CONTEXT.number()),
        ("ROOT_SC", Selector::ROOT_SCHEDULING.number()),
        ("ROOT_SUSPEND", Selector::ROOT_SUSPEND.number()),
        ("ROOT_MSR", Selector::ROOT_MSR.number()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    let features = Features::all().iter_names().map(|(name, bit)| (format!("FEATURE_{name}"), u64::from(bit.bits())));
    places.extend(features);
    places.push(("CPU_ENABLED".into(), u64::from(hip::CpuFlags::ENABLED.bits())));
    places
}

/// Types of memory descriptors: signed.
pub const MEMORY_KINDS: [(&str, MemoryKind); 11] = [
    ("AVAILABLE", MemoryKind::AVAILABLE),
    ("RESERVED", MemoryKind::RESERVED),
    ("ACPI_RECLAIMABLE", MemoryKind::ACPI_RECLAIMABLE),
    ("ACPI_NVS", MemoryKind::ACPI_NVS),
    ("HYPERVISOR", MemoryKind::HYPERVISOR),
    ("MODULE", MemoryKind::MODULE),
    ("RSDT", MemoryKind::RSDT),
    ("XSDT", MemoryKind::XSDT),
    ("FRAME_BUFFER", MemoryKind::FRAME_BUFFER),
    ("LOG", MemoryKind::LOG),
    ("EFI_SYSTEM_TABLE", MemoryKind::EFI_SYSTEM_TABLE),
];

fn enumeration<N: AsRef<str>>(
    text: &mut String,
    title: &str,
    prefix: &str,
    values: impl IntoIterator<Item = (N, u64)>,
) {
    let _ = writeln!(text, "\n/* {title} */\nenum {{");
    for (name, value) in values {
        let _ = writeln!(text, "    VELA_{prefix}{} = {value:#x},", name.as_ref());
    }
    text.push_str("};\n");
}

fn words(text: &mut String, title: &str, values: impl IntoIterator<Item = (String, u64)>) {
    let _ = writeln!(text, "\n/* {title} */");
    for (name, value) in values {
        let _ = writeln!(text, "#define VELA_{name} UINT64_C({value:#x})");
    }
}
