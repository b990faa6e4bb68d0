//! Purpose: who gets what, through signals and interrupts, with the registers that say so; Miri runs this too.
use super::*;
use crate::context::{Identity, Page};
use crate::reference::Object;
use crate::slab::Slab;
use core::num::NonZeroU32;
use core::ptr::NonNull;
use memory::frames::FrameNumber;
use sync::atomic::AtomicU64;

#[repr(align(4096))]
struct Memory(#[expect(dead_code, reason = "reached as raw memory")] [u8; 4 * 4096]);

static MESSAGE: Page = [const { AtomicU64::new(0) }; 512];

/// Two contexts and room for semaphores.
struct World<'m> {
    store: Store<'m>,
    semaphores: Slab<Semaphore>,
    contexts: [Ref<Context>; 2],
}

fn insert<T: Object>(slab: &mut Slab<T>, store: &Store<'_>, object: T) -> Ref<T> {
    let Some(slot) = slab.reserve(store) else { panic!("the test needs more pages") };
    store.write(slot, object)
}

impl<'m> World<'m> {
    fn new(memory: &'m mut Memory) -> Self {
        // SAFETY: the memory lives and is borrowed as long as the store; only this store touches it.
        let store = unsafe { Store::new(NonNull::from(memory).cast(), 4) };
        let (mut semaphores, mut contexts) = (Slab::default(), Slab::default());
        // SAFETY: pages of that memory, each used once.
        unsafe {
            semaphores.grow(&store, FrameNumber(1), 0);
            contexts.grow(&store, FrameNumber(2), 0);
        }
        let identity = Identity {
            domain: Ref::new(NonZeroU32::MIN),
            message: &MESSAGE,
            message_at: 0,
            core: 0,
            event_base: 0,
            global: true,
            proxy: false,
            guest: false,
        };
        let contexts = [0, 1].map(|_| insert(&mut contexts, &store, Context::new(identity, 0)));
        Self { store, semaphores, contexts }
    }

    fn add(&mut self, semaphore: Semaphore) -> Ref<Semaphore> {
        insert(&mut self.semaphores, &self.store, semaphore)
    }

    fn up(&self, semaphore: Ref<Semaphore>, times: u32) -> Vec<Ref<Context>> {
        (0..times).filter_map(|_| Semaphore::up(&self.store, semaphore)).collect()
    }

    fn down(&self, semaphore: Ref<Semaphore>, context: usize, take: Take) -> Down {
        let waiter = self.store.get(self.contexts[context]);
        waiter.frame().rsi.set(7);
        waiter.frame().rdx.set(8);
        self.store.get(semaphore).down(&self.store, self.contexts[context], take, || {
            let quietly = take == Take::Quietly;
            waiter.set_continuation(if quietly { Continuation::AwaitResume } else { Continuation::AwaitSemaphore });
        })
    }

    fn registers(&self, context: usize) -> (u64, u64) {
        let frame = self.store.get(self.contexts[context]).frame();
        (frame.rsi.get(), frame.rdx.get())
    }

    /// How often a down finds something.
    fn drain(&self, semaphore: Ref<Semaphore>) -> u32 {
        let taken = (0..).take_while(|_| matches!(self.down(semaphore, 1, Take::One), Down::Taken(_))).count();
        assert!(self.store.get(semaphore).cancel(&self.store, self.contexts[1]));
        taken as u32
    }
}

#[test]
fn whoever_finds_a_signal_or_is_woken_by_it_is_told_value_and_count() {
    let mut memory = Memory([0; 4 * 4096]);
    let mut world = World::new(&mut memory);
    let plain = world.add(Semaphore::new(0));
    let signal = world.add(Semaphore::signal(0xAB, plain));
    assert_eq!(world.up(signal, 3), []);
    assert!(matches!(world.down(plain, 0, Take::One), Down::Taken(Some((_, 3)))));
    assert_eq!(world.registers(0), (0xAB, 3));
    assert_eq!(world.down(plain, 0, Take::One), Down::Waits);
    assert_eq!(world.up(signal, 1), [world.contexts[0]]);
    assert_eq!(world.registers(0), (0xAB, 1));
    assert_eq!(world.down(plain, 0, Take::All), Down::Waits);
    assert_eq!(world.up(plain, 1), [world.contexts[0]]);
    assert_eq!(world.registers(0), (7, 8), "no signal, nothing is told");
}

#[test]
fn a_context_that_keeps_its_registers_is_told_nothing() {
    let mut memory = Memory([0; 4 * 4096]);
    let mut world = World::new(&mut memory);
    let plain = world.add(Semaphore::new(0));
    let signal = world.add(Semaphore::signal(0xAB, plain));
    world.up(signal, 1);
    assert!(matches!(world.down(plain, 0, Take::Quietly), Down::Taken(_)));
    assert_eq!(world.down(plain, 0, Take::Quietly), Down::Waits);
    assert_eq!(world.up(signal, 1), [world.contexts[0]]);
    assert_eq!(world.registers(0), (7, 8));
}

#[test]
fn nobody_can_wait_for_a_signal_and_one_that_ends_leaves_the_queue() {
    let mut memory = Memory([0; 4 * 4096]);
    let mut world = World::new(&mut memory);
    let plain = world.add(Semaphore::new(0));
    let signal = world.add(Semaphore::signal(1, plain));
    let other = world.add(Semaphore::signal(2, plain));
    assert_eq!(world.down(signal, 0, Take::One), Down::Closed);
    world.up(signal, 2);
    world.up(other, 2);
    assert_eq!(Semaphore::close(&world.store, signal), None);
    assert_eq!(world.up(signal, 1), []);
    assert!(matches!(world.down(plain, 0, Take::One), Down::Taken(Some((_, 2)))));
    assert_eq!(world.registers(0), (2, 2));
    assert_eq!(world.drain(plain), 0);
    assert_eq!(world.store.get(signal).chained(), Some(plain));
    assert_eq!(world.store.get(plain).chained(), None);
}

#[test]
fn those_who_wait_for_a_semaphore_that_ends_are_handed_out_once() {
    let mut memory = Memory([0; 4 * 4096]);
    let mut world = World::new(&mut memory);
    let plain = world.add(Semaphore::new(0));
    assert_eq!([0, 1].map(|context| world.down(plain, context, Take::One)), [Down::Waits; 2]);
    let closed: Vec<_> = core::iter::from_fn(|| Semaphore::close(&world.store, plain)).collect();
    assert_eq!(closed, world.contexts);
    assert_eq!(world.down(plain, 0, Take::One), Down::Closed);
    assert_eq!(world.up(plain, 1), []);
    assert!(!world.store.get(plain).cancel(&world.store, world.contexts[0]));
}

#[test]
fn an_interrupt_is_counted_until_it_is_chained_and_then_passed_on() {
    let mut memory = Memory([0; 4 * 4096]);
    let mut world = World::new(&mut memory);
    let interrupt = world.add(Semaphore::interrupt(9));
    let plain = world.add(Semaphore::new(0));
    let signal = world.add(Semaphore::signal(0xCD, plain));
    let it = world.store.get(interrupt);
    assert_eq!((it.number(), world.store.get(plain).number()), (Some(9), None));
    world.up(interrupt, 5);
    assert_eq!(world.drain(interrupt), 5);
    world.up(interrupt, 5);
    assert_eq!(it.chain(Some(signal)), None);
    assert_eq!(it.replay(&world.store), None);
    world.up(interrupt, 2);
    assert_eq!(world.down(interrupt, 0, Take::One), Down::Taken(None), "an acknowledgement");
    assert!(matches!(world.down(plain, 0, Take::One), Down::Taken(Some((_, 7)))));
    assert_eq!(it.chain(None), Some(signal));
    world.up(interrupt, 2);
    assert_eq!(world.drain(plain), 0);
    assert_eq!(world.drain(interrupt), 2);
}

#[test]
fn what_was_pending_wakes_all_who_wait_for_the_new_target_and_the_rest_is_counted_there() {
    let mut memory = Memory([0; 4 * 4096]);
    let mut world = World::new(&mut memory);
    let interrupt = world.add(Semaphore::interrupt(9));
    let plain = world.add(Semaphore::new(0));
    let it = world.store.get(interrupt);
    world.up(interrupt, 5);
    assert_eq!([0, 1].map(|context| world.down(plain, context, Take::One)), [Down::Waits; 2]);
    assert_eq!(it.chain(Some(plain)), None);
    let woken: Vec<_> = core::iter::from_fn(|| it.replay(&world.store)).collect();
    assert_eq!(woken, world.contexts);
    assert_eq!(world.drain(plain), 3);
    // An interrupt that nobody has chained has nothing to pass on, and others never do.
    assert_eq!(it.chain(None), Some(plain));
    world.up(interrupt, 1);
    assert_eq!((it.replay(&world.store), world.store.get(plain).replay(&world.store)), (None, None));
    assert_eq!(world.drain(interrupt), 1);
}
