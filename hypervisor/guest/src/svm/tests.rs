//! Rules of the control block, against whatever messages and exits there are.
use super::*;
use crate::sane_xcr0;
use abi::arch_state::FPU_OFFSET;
use core::array;
use proptest::prelude::*;
use sync::atomic::{AtomicU64, Ordering::Relaxed};

const COMPONENTS: u64 = 0x7;

fn page(mut word: impl FnMut(usize) -> u64) -> Box<Page> {
    Box::new(array::from_fn(|index| AtomicU64::new(word(index))))
}

fn words(page: &Page) -> Vec<u64> {
    page.iter().map(|word| word.load(Relaxed)).collect()
}

struct World {
    frame: Frame,
    block: Box<Page>,
    extra: Box<Page>,
}

impl World {
    fn new() -> Self {
        let (block, extra) = (page(|_| 0), page(|_| 0));
        initialise(Block(&block), &extra, PhysAddr::truncate(0x5000), PhysAddr::truncate(0x9000));
        Self { frame: Frame::default(), block, extra }
    }

    fn guest(&self) -> Guest<'_, Block<'_>> {
        Guest { frame: &self.frame, extra: &self.extra, fields: Block(&self.block) }
    }
}

/// What a message of random words says, as the guest has it afterwards: by word of the message.
fn expected(field: usize, value: u64) -> u64 {
    match field {
        f if f == word!(rflags) => value | RFLAGS_ONE,
        f if f == word!(efer) => value | EFER_SVME,
        f if f == word!(tsc_aux) => value & 0xFFFF_FFFF,
        f if f == word!(xcr0) => sane_xcr0(value, COMPONENTS),
        f if f == word!(xss) => 0,
        f if f == word!(intr_state) => value & 1,
        f if f == word!(inj_info) => value & !(WANTS_WINDOW | WANTS_NMI_WINDOW),
        f if SEGMENTS.iter().any(|&(_, first, _)| first == f) => value & !NO_ATTRIBUTE,
        _ => value,
    }
}

/// Words of the state by group; those that are written and read alike.
fn groups() -> Vec<(Mtd, usize)> {
    let general = [
        (Mtd::ACDB, word!(rax)..word!(rsp)),
        (Mtd::RSP, word!(rsp)..word!(rbp)),
        (Mtd::BSD, word!(rbp)..word!(r8_r15)),
        (Mtd::R8_R15, word!(r8_r15)..word!(qual)),
        (Mtd::RIP_LEN, word!(rip)..word!(rflags)),
        (Mtd::RFLAGS, word!(rflags)..word!(intr_state)),
        (Mtd::STA, word!(intr_state)..word!(inj_info)),
        (Mtd::INJ, word!(inj_info)..word!(rax)),
        (Mtd::XSAVE, word!(xcr0)..word!(pdpte)),
        (Mtd::EFER, word!(efer)..word!(star)),
        (Mtd::TSC_AUX, word!(tsc_aux)..word!(exit_reason)),
    ];
    let mut all: Vec<_> =
        general.into_iter().flat_map(|(group, range)| range.map(move |field| (group, field))).collect();
    all.extend(PLAIN.map(|(group, field, _)| (group, field)));
    all.extend(SEGMENTS.into_iter().flat_map(|(group, field, _)| [(group, field), (group, field + 1)]));
    all
}

/// What no message changes: words of the block with the bits that stay.
fn kept(block: &Page) -> Vec<u64> {
    let fixed = [IO_MAP, MSR_MAP, ASID_FLUSH, NESTED, NESTED_ROOT, CODE, 0x78 / 8, 0x80 / 8, INTERRUPTED, PAT, DR6];
    let bits = [
        (CR_DR, DEBUG | CR8),
        (EXCEPTIONS_MISC, ALWAYS_FIRST | 0xFFFF_FFFF),
        (MISC, ALWAYS_SECOND),
        (INTERRUPT, MASKING),
        (EFER, EFER_SVME),
    ];
    let all = fixed.map(|index| (index, u64::MAX)).into_iter().chain(bits);
    all.map(|(index, mask)| load(block, index as usize) & mask).collect()
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
        world.guest().restore(&old, COMPONENTS, &());
        let mtd = Mtd::from_bits_retain(mtd);
        prop_assert_eq!(world.guest().restore(&new, COMPONENTS, &()), mtd);
        let seen = page(|_| 0);
        world.guest().save(Mtd::all(), event::VCPU_RECALL, || 0, &seen);
        for (group, field) in groups() {
            let written = if mtd.intersects(group) { message[field] } else { before[field] };
            prop_assert_eq!(load(&seen, field), expected(field, written), "word {:#x}", field * 8);
        }
        let sum = before[word!(tsc_off)].wrapping_add(if mtd.intersects(Mtd::TSC) { message[word!(tsc_off)] } else { 0 });
        prop_assert_eq!(load(&seen, word!(tsc_off)), sum);
        prop_assert_eq!(world.guest().read(CPL) >> 24 & 0xFF, world.guest().read(at(0x420)) >> 21 & 3);
    }

    #[test]
    fn an_exit_shows_the_groups_of_the_portal_only(block in prop::collection::vec(any::<u64>(), 512), mtd: u64, code: u8) {
        let world = World { block: page(|index| block[index]), ..World::new() };
        let (mtd, seen) = (Mtd::from_bits_retain(mtd), page(|_| 0x5555));
        let before = words(&world.block);
        world.guest().save(mtd, code, || 99, &seen);
        prop_assert_eq!(words(&world.block), before);
        let mut fields = groups();
        fields.extend([(Mtd::QUAL, word!(qual)), (Mtd::QUAL, word!(qual) + 1)]);
        fields.extend([(Mtd::TSC, word!(tsc_val)), (Mtd::TSC, word!(tsc_off))]);
        let head = [0, word!(mtd), word!(exit_reason)];
        for (field, value) in words(&seen).into_iter().enumerate().filter(|(field, _)| !head.contains(field)) {
            let named = fields.iter().any(|&(group, at)| at == field && mtd.intersects(group));
            prop_assert!(named || value == 0x5555, "word {:#x}", field * 8);
        }
        prop_assert_eq!(load(&seen, word!(exit_reason)), u64::from(code));
        prop_assert!(seen[FPU_OFFSET / 8..].iter().all(|word| word.load(Relaxed) == 0x5555));
    }

    #[test]
    fn no_message_opens_what_the_kernel_keeps(message in prop::collection::vec(any::<u64>(), 512)) {
        let world = World::new();
        world.guest().prepare(Tag { number: 3, fresh: true, flush: true }, PhysAddr::truncate(0x3000));
        let before = kept(&world.block);
        world.guest().restore(&page(|index| message[index]), COMPONENTS, &());
        prop_assert_eq!(kept(&world.block), before);
    }

    #[test]
    fn every_value_of_xcr0_is_one_that_the_processor_takes(wanted: u64, components: u64) {
        let value = sane_xcr0(wanted, components);
        prop_assert!(value & 1 == 1 && value & !(components | 1) == 0);
        prop_assert!(value & 4 == 0 || value & 2 != 0);
        prop_assert!(matches!(value >> 5 & 7, 0) || value & 0xE4 == 0xE4);
    }

    #[test]
    fn an_event_that_an_exit_interrupted_comes_again_unless_its_instruction_does(event: u64) {
        let injected = again(event);
        let by_instruction = kind(event) == 4 || kind(event) == 3 && (event & 0xFF == 3 || event & 0xFF == 4);
        prop_assert_eq!(injected, if event & VALID != 0 && !by_instruction { event } else { 0 });
    }
}

#[test]
fn exits_have_the_events_of_the_interface() {
    let world = World::new();
    let exit = |code| {
        world.guest().write(CODE, code);
        let exit = world.guest().exit();
        let known = if let Exit::Event(event) = exit { event } else { code as u8 };
        assert_eq!(world.guest().reason(exit), known, "what is counted of exit {code:#x}");
        exit
    };
    for code in 0..=0xFA {
        let found = match code {
            0x60..=0x63 => Exit::Interrupt,
            0x20..=0x3F => Exit::Debug,
            0x41 | 0x51 => Exit::Again,
            0x52 => Exit::Host(18),
            _ => Exit::Event(code as u8),
        };
        assert_eq!(exit(code), found, "exit {code:#x}");
    }
    assert_eq!([exit(0xFB), exit(0x100), exit(0x401)], [Exit::Event(event::VCPU_SVM_OTHER); 3]);
    assert_eq!(exit(0x400), Exit::Event(event::VCPU_SVM_NESTED_FAULT));
    // Some processors sign-extend the code.
    assert_eq!([exit(u64::MAX), exit(0xFFFF_FFFF)], [Exit::Event(event::VCPU_SVM_INVALID); 2]);
}

#[test]
fn a_trap_that_the_kernel_intercepts_goes_back_to_the_guest() {
    let world = World::new();
    for (code, injected) in [(0x41, 0x8000_0301), (0x51, 0x8000_0B11)] {
        world.guest().write(CODE, code);
        assert_eq!(world.guest().exit(), Exit::Again);
        assert_eq!(world.guest().read(INJECT), injected);
    }
}

#[test]
fn a_window_is_open_until_its_exit_or_another_reply() {
    let world = World::new();
    let open = || world.guest().read(EXCEPTIONS_MISC) & WINDOW != 0;
    let ask = |event| {
        let message = page(|_| 0);
        store(&message, word!(mtd), (Mtd::INJ | Mtd::CTRL).bits());
        store(&message, word!(inj_info), event);
        world.guest().restore(&message, COMPONENTS, &());
    };
    ask(WANTS_WINDOW | 0x8000_0020);
    assert!(open() && world.guest().read(INTERRUPT) == MASKING | PENDING);
    assert_eq!(world.guest().read(INJECT), 0x8000_0020);
    world.guest().write(CODE, 0x78);
    world.guest().exit();
    assert!(open());
    world.guest().write(CODE, 0x64);
    assert_eq!(world.guest().exit(), Exit::Event(0x64));
    assert!(!open() && world.guest().read(INTERRUPT) == MASKING);
    ask(WANTS_WINDOW);
    ask(0);
    assert!(!open());
}

#[test]
fn an_interrupt_that_the_guest_takes_is_a_virtual_one_until_it_is_delivered() {
    const INTERRUPT_EC: u64 = 0x8000_00EC;
    let world = World::new();
    let ask = |rflags, shadow, event| {
        let message = page(|_| 0);
        store(&message, word!(mtd), (Mtd::RFLAGS | Mtd::STA | Mtd::INJ).bits());
        for (field, value) in [(word!(rflags), rflags), (word!(intr_state), shadow), (word!(inj_info), event)] {
            store(&message, field, value);
        }
        world.guest().restore(&message, COMPONENTS, &());
        world.guest().read(INJECT)
    };
    let shown = |event| {
        let seen = page(|_| 0);
        world.guest().save(Mtd::INJ, event, || 0, &seen);
        load(&seen, word!(inj_info))
    };
    for (rflags, shadow) in [(RFLAGS_IF, 1), (0, 0)] {
        assert_eq!(ask(rflags, shadow, INTERRUPT_EC), INTERRUPT_EC);
        assert_eq!((world.guest().read(INTERRUPT), shown(event::VCPU_RECALL)), (MASKING, INTERRUPT_EC));
    }
    assert_eq!(ask(RFLAGS_IF, 0, VALID | EXCEPTION << 8 | 6), VALID | EXCEPTION << 8 | 6);
    assert_eq!(ask(RFLAGS_IF, 0, INTERRUPT_EC) & VALID, 0);
    assert_eq!(world.guest().read(INTERRUPT), MASKING | PENDING | 0xEC << 32);
    // The host is interrupted first: it stays.
    world.guest().write(CODE, 0x60);
    assert_eq!(world.guest().exit(), Exit::Interrupt);
    assert_eq!([event::VCPU_RECALL, 0xFC].map(shown), [INTERRUPT_EC; 2]);
    // It has no stack: a translator calls it an exception, and offers it still.
    world.guest().write(CODE, 0x400);
    world.guest().write(INTERRUPTED, VALID | EXCEPTION << 8 | 0xEC);
    assert_eq!(world.guest().exit(), Exit::Event(event::VCPU_SVM_NESTED_FAULT));
    assert_eq!((world.guest().read(INJECT), shown(event::VCPU_SVM_NESTED_FAULT)), (0, INTERRUPT_EC));
    // The processor delivers it, or the monitor takes it back.
    world.guest().set(INTERRUPT, IS_PENDING, false);
    assert_eq!(shown(event::VCPU_RECALL), 0);
    world.guest().write(INTERRUPTED, INTERRUPT_EC);
    world.guest().exit();
    assert_eq!(world.guest().read(INJECT), INTERRUPT_EC);
    ask(RFLAGS_IF, 0, INTERRUPT_EC);
    ask(RFLAGS_IF, 0, 0);
    assert_eq!((world.guest().read(INTERRUPT) & IS_PENDING, shown(event::VCPU_RECALL)), (0, 0));
}
