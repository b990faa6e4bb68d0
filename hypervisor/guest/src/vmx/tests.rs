//! Rules of the control structure, against whatever messages and exits there are.
use super::*;
use crate::sane_xcr0;
use core::array;
use core::cell::RefCell;
use proptest::prelude::*;
use std::collections::BTreeMap;
use sync::atomic::AtomicU64;

fn page(mut word: impl FnMut(usize) -> u64) -> Box<Page> {
    Box::new(array::from_fn(|index| AtomicU64::new(word(index))))
}

/// A control structure without a processor.
#[derive(Default)]
struct Memory(RefCell<BTreeMap<u32, u64>>);

impl Structure for &Memory {
    fn vmread(self, field: u32) -> u64 {
        // What nobody has written is what the memory had.
        self.0.borrow().get(&field).copied().unwrap_or_else(|| narrowed(field, 0xDEAD_BEEF_DEAD_BEEF))
    }
    fn vmwrite(self, field: u32, value: u64) {
        self.0.borrow_mut().insert(field, narrowed(field, value));
    }
}

/// As wide as the processor has it.
fn narrowed(field: u32, value: u64) -> u64 {
    match field >> 13 & 3 {
        0 => value & 0xFFFF,
        2 => value & 0xFFFF_FFFF,
        _ => value,
    }
}

const COMPONENTS: u64 = 7;

/// A processor that allows everything and insists on what manuals of all times do.
const LIMITS: Limits = Limits {
    pin: 0xFFFF_FFFF_0000_0016,
    primary: 0xFFFF_FFFF_0400_6172,
    secondary: 0xFFFF_FFFF_0000_0000,
    exit: 0xFFFF_FFFF_0003_6DFB,
    entry: 0xFFFF_FFFF_0000_11FB,
    msrs: 6,
    timer_shift: 5,
};

struct World {
    frame: Frame,
    extra: Box<Page>,
    structure: Memory,
}

impl World {
    fn new() -> Self {
        let world = Self { frame: Frame::default(), extra: page(|_| 0), structure: Memory::default() };
        let pages = [0x5000, 0x6000, 0x7000].map(PhysAddr::truncate);
        initialise(&world.structure, &world.extra, &LIMITS, 3200, pages);
        world
    }

    fn guest(&self) -> Guest<'_, &Memory> {
        Guest { frame: &self.frame, extra: &self.extra, fields: &self.structure }
    }

    fn read(&self, field: u32) -> u64 {
        (&self.structure).vmread(field)
    }

    fn exits(&self, reason: u64, fields: &[(u32, u64)]) -> Exit {
        fields.iter().for_each(|&(field, value)| (&self.structure).vmwrite(field, value));
        (&self.structure).vmwrite(REASON, reason);
        let (exit, event) = self.guest().exit(false);
        assert_eq!(event, reason as u8);
        exit
    }
}

/// What a message says, as the guest has it afterwards: by word of the message.
fn expected(field: usize, value: u64) -> u64 {
    match field {
        f if f == word!(rflags) => value | RFLAGS_ONE,
        f if f == word!(tsc_aux) => value & 0xFFFF_FFFF,
        f if f == word!(xcr0) => sane_xcr0(value, COMPONENTS),
        f if f == word!(sysenter_cs) => value & 0xFFFF_FFFF,
        f if f == word!(inj_info) => value & !0x3000,
        f if f == word!(gdtr) || f == word!(idtr) => value >> 32 << 32,
        // Attributes are 13 bits.
        f if SEGMENTS.iter().any(|&(_, first)| first == f) => value & !(0xE000 << 16),
        _ => value,
    }
}

fn groups() -> Vec<(Mtd, usize)> {
    let mut all = vec![
        (Mtd::RSP, word!(rsp)),
        (Mtd::RIP_LEN, word!(rip)),
        (Mtd::RFLAGS, word!(rflags)),
        (Mtd::STA, word!(intr_state)),
        (Mtd::INJ, word!(inj_info)),
        (Mtd::XSAVE, word!(xcr0)),
        (Mtd::TSC_AUX, word!(tsc_aux)),
        (Mtd::CR, word!(cr0)),
        (Mtd::CR, word!(cr2)),
        (Mtd::CR, word!(cr4)),
    ];
    all.extend((0..4).map(|index| (Mtd::ACDB, word!(rax) + index)));
    all.extend((0..3).map(|index| (Mtd::BSD, word!(rbp) + index)));
    all.extend((0..8).map(|index| (Mtd::R8_R15, word!(r8_r15) + index)));
    all.extend((0..5).map(|index| (Mtd::SYSCALL_SWAPGS, word!(star) + index)));
    all.extend(PLAIN.map(|(group, field, _)| (group, field)));
    all.extend(SEGMENTS.into_iter().flat_map(|(group, field)| [(group, field), (group, field + 1)]));
    all
}

proptest! {
    #[test]
    fn what_a_reply_names_is_there_afterwards_and_nothing_else_changes(
        message in prop::collection::vec(any::<u64>(), 512), before in prop::collection::vec(any::<u64>(), 512), mtd: u64,
    ) {
        let world = World::new();
        let (old, new) = (page(|index| before[index]), page(|index| message[index]));
        store(&old, word!(mtd), Mtd::all().bits());
        store(&new, word!(mtd), mtd);
        world.guest().restore(&old, COMPONENTS, &LIMITS);
        let mtd = Mtd::from_bits_retain(mtd);
        prop_assert_eq!(world.guest().restore(&new, COMPONENTS, &LIMITS), mtd);
        let seen = page(|_| 0);
        world.guest().save(Mtd::all(), event::VCPU_RECALL, || 0, &seen);
        for (group, field) in groups() {
            let written = if mtd.intersects(group) { message[field] } else { before[field] };
            prop_assert_eq!(load(&seen, field), expected(field, written), "word {:#x}", field * 8);
        }
        prop_assert!(world.read(CR0) & NE != 0 && world.read(CR4) & VMXE != 0);
        let long = load(&seen, word!(efer)) & LMA != 0;
        prop_assert_eq!(world.read(ENTRY) & LONG_MODE != 0, long);
    }

    #[test]
    fn no_message_opens_what_the_kernel_keeps(message in prop::collection::vec(any::<u64>(), 512)) {
        let world = World::new();
        world.guest().prepare(Tag { number: 9, fresh: true, flush: true }, PhysAddr::truncate(0x9000));
        let fixed = [
            VPID,
            IO_BITMAP_A_ADDR_FULL,
            IO_BITMAP_B_ADDR_FULL,
            MSR_MAP,
            EPT,
            LINK,
            PIN,
            EXIT,
            EXCEPTIONS,
            TIMER,
            mask(CR0),
            mask(CR4),
            VMEXIT_MSR_STORE_ADDR_FULL,
            VMENTRY_MSR_LOAD_ADDR_FULL,
            VMEXIT_MSR_LOAD_ADDR_FULL,
            VMEXIT_MSR_STORE_COUNT,
            VMENTRY_MSR_LOAD_COUNT,
            VMEXIT_MSR_LOAD_COUNT,
        ];
        let kept = || fixed.into_iter().map(|field| world.read(field)).collect::<Vec<_>>();
        let before = kept();
        world.guest().restore(&page(|index| message[index]), COMPONENTS, &LIMITS);
        prop_assert_eq!(kept(), before);
        let (primary, secondary) = (world.read(PRIMARY), world.read(SECONDARY));
        prop_assert_eq!(primary & (PRIMARY_ALWAYS | MOV_DR), PRIMARY_ALWAYS | MOV_DR);
        prop_assert_eq!(secondary & SECONDARY_ALWAYS, SECONDARY_ALWAYS);
        // No control that makes the processor use an address which nobody has set: a virtual controller, functions, logs.
        prop_assert_eq!(primary & (1 << 21 | 1 << 17), 0);
        prop_assert_eq!(secondary & !(SECONDARY_ALWAYS | SECONDARY_ALLOWED), 0);
    }

    #[test]
    fn a_control_register_reads_as_it_was_written(register in 0usize..16, value: u64, efer in prop::bool::ANY, four in prop::bool::ANY) {
        let world = World::new();
        let value = value & 0xFFFF_FFFF;
        let start = page(|_| 0);
        store(&start, word!(mtd), (Mtd::EFER | Mtd::GPR).bits());
        store(&start, word!(efer), if efer { LME } else { 0 });
        let fields = [word!(rax), word!(rcx), word!(rdx), word!(rbx), word!(rsp), word!(rbp), word!(rsi), word!(rdi)];
        store(&start, fields.get(register).copied().unwrap_or(word!(r8_r15) + register.saturating_sub(8)), value);
        world.guest().restore(&start, COMPONENTS, &LIMITS);
        let about = if four { 4 } else { 0 } | (register as u64) << 8;
        let exit = world.exits(28, &[(QUALIFICATION, about), (RIP, 0x1000), (LENGTH, 3)]);
        let of = if four { CR4 } else { CR0 };
        // With paging in CR0 and PAE in CR4 entries have to be loaded; one of them is 0 here.
        prop_assert_eq!(exit, Exit::Again);
        prop_assert_eq!((world.guest().control(of), world.read(RIP)), (value, 0x1003));
        let long = efer && !four && value & PG != 0;
        prop_assert_eq!(world.read(EFER) & LMA != 0, long);
    }
}

#[test]
fn exits_have_the_events_of_the_interface() {
    let world = World::new();
    for reason in [2, 3, 9, 10, 12, 18, 30, 31, 32, 48, 49, 55] {
        assert_eq!(world.exits(reason, &[]), Exit::Event(reason as u8));
    }
    assert_eq!([world.exits(1, &[]), world.exits(52, &[])], [Exit::Interrupt; 2]);
    assert_eq!(world.exits(29, &[]), Exit::Debug);
    // A move to CR8 is the monitor's.
    assert_eq!(world.exits(28, &[(QUALIFICATION, 8)]), Exit::Event(28));
    assert_eq!(world.exits(VALID | 33, &[]), Exit::Event(event::VCPU_VMX_INVALID));
    let refused = event::VCPU_VMX_INVALID;
    assert_eq!(world.guest().exit(true), (Exit::Event(refused), refused));
    for vector in [2, 18] {
        assert_eq!(world.exits(0, &[(EXIT_EVENT, VALID | vector)]), Exit::Host(vector as u8));
    }
}

#[test]
fn a_trap_that_the_kernel_intercepts_goes_back_to_the_guest() {
    let world = World::new();
    let exit = world.exits(0, &[(EXIT_EVENT, 0x8000_0301), (QUALIFICATION, 0x4001)]);
    assert_eq!((exit, world.read(INJECT)), (Exit::Trap(0x4001), 0x8000_0301));
    let exit = world.exits(0, &[(EXIT_EVENT, 0x8000_0B11), (EXIT_ERROR, 5)]);
    assert_eq!((exit, world.read(INJECT), world.read(INJECT_ERROR)), (Exit::Again, 0x8000_0B11, 5));
}

#[test]
fn an_event_that_an_exit_interrupted_comes_again() {
    let world = World::new();
    world.exits(48, &[(INTERRUPTED, 0x8000_1B0E), (INTERRUPTED_ERROR, 2), (LENGTH, 1)]);
    let injected = [INJECT, INJECT_ERROR, INJECT_LENGTH].map(|field| world.read(field));
    assert_eq!(injected, [0x8000_0B0E, 2, 1]);
    // An NMI would be behind itself for ever.
    for (event, shadow) in [(0x8000_0202, 0), (0x8000_0020, BEHIND_NMI)] {
        world.exits(48, &[(INTERRUPTED, event), (SHADOW, BEHIND_NMI)]);
        assert_eq!((world.read(INJECT), world.read(SHADOW)), (event, shadow));
    }
}

#[test]
fn a_window_is_open_until_its_exit_or_another_reply() {
    let world = World::new();
    let ask = |event| {
        let message = page(|_| 0);
        store(&message, word!(mtd), (Mtd::INJ | Mtd::CTRL).bits());
        store(&message, word!(inj_info), event);
        world.guest().restore(&message, COMPONENTS, &LIMITS);
        [2, 22].map(|bit| world.read(PRIMARY) >> bit & 1)
    };
    assert_eq!(ask(0x1000 | 0x8000_0020), [1, 0]);
    assert_eq!(world.read(INJECT), 0x8000_0020);
    assert_eq!(ask(0x3000), [1, 1]);
    assert_eq!(world.exits(7, &[]), Exit::Event(7));
    assert_eq!(world.read(PRIMARY) >> 2 & 1, 0);
    assert_eq!(ask(0), [0, 0]);
}

#[test]
fn a_processor_without_nested_tables_does_not_suffice() {
    assert!(LIMITS.suffice());
    assert!(!Limits { secondary: 0, ..LIMITS }.suffice());
    assert!(!Limits { primary: 0x7FFF_FFFF << 32, ..LIMITS }.suffice());
    assert!(!Limits::default().suffice());
}

#[test]
fn an_entry_uses_nothing_that_the_memory_had() {
    let world = World::new();
    let message = page(|_| 0);
    store(&message, word!(mtd), Mtd::all().bits());
    world.guest().restore(&message, COMPONENTS, &LIMITS);
    world.guest().prepare(Tag { number: 1, fresh: true, flush: true }, PhysAddr::truncate(0x8000));
    // By the kind of field: control, guest, host; but for the length and error code of an event that there is not, and what
    // the back end knows of the host.
    let steps = |range: core::ops::RangeInclusive<u32>| range.step_by(2);
    let control =
        steps(0x4000..=0x4016).chain([0x401E, 0x2000, 0x2002, 0x2004, 0x2006, 0x2008, 0x200A, 0x2010, 0x201A]);
    let guest = steps(0x800..=0x80E).chain(steps(0x4800..=0x4826)).chain(steps(0x6800..=0x6826));
    let more = steps(0x2800..=0x2806).chain(steps(0x280A..=0x2810)).chain([0, 0x482A, 0x482E]);
    let host = [0xC00, 0xC06, 0xC08, 0xC0A, 0x4C00, 0x6C06, 0x6C08, 0x6C10, 0x6C12];
    for field in control.chain(guest).chain(more).chain(host) {
        assert!(world.structure.0.borrow().contains_key(&field), "field {field:#x}");
    }
}
