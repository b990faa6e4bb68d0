//! Going on before others have forgotten.
//!
//! Purpose: a shootdown whose targets are asked and not waited for; the last of them that is done says so.
//! Invariants: 1. a core that finds itself asked to tell somebody forgets, after that, all pages that came with it. 2. An
//! operation that begins later, on whatever core, is not over before: it may have found things taken. 3. One at a time for
//! each core; who begins another waits for the first.
//! Concurrency: the number of cores left and a count of rounds share a word, so that who waits for a round sees its end.
//! Source: M. Kumar et al., "LATR: Lazy translation coherence" (2018); trap T13 (as an operation of its own).
use super::{Acknowledged, BITS, Core, Machine, Shootdown, bit, members, others_land};
use sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// In [`Core::later`]: the cores that have not forgotten yet; above that, rounds.
const LEFT: u64 = 0xFFFF;

impl Shootdown {
    /// As [`Self::finish`], but does not wait for the cores that it asks: [`Machine::landed`] is told when they are done, then
    /// [`Acknowledged::of_landed`] is there. If there is nobody to wait for, the acknowledgement at once.
    pub fn finish_later(self, machine: &impl Machine) -> Option<Acknowledged> {
        let (own, count) = (machine.own(), machine.cores());
        let others = || members(self.targets, count).filter(|&id| id != own);
        let number = others().count();
        if self.naive || count > BITS || number == 0 {
            return Some(self.finish(machine));
        }
        land(machine, own);
        let core = machine.core(own);
        core.later.store(core.later.load(Relaxed) + LEFT + 1 + number as u64, Release);
        machine.flights().fetch_add(1, AcqRel);
        let pages = self.pages.at_most(machine.threshold());
        others().for_each(|id| machine.core(id).ask(pages, bit(own)));
        machine.interrupt(others(), number as u32);
        if self.targets & bit(own) != 0 {
            machine.flush(pages);
        }
        self.end_flight(machine);
        // What others had taken before is over; they wait for nothing but interrupts.
        others_land(machine);
        None
    }
}

impl Acknowledged {
    /// That of the calling core's own latest [`Shootdown::finish_later`], if all are done.
    pub fn of_landed(machine: &impl Machine) -> Option<Self> {
        let landed = machine.core(machine.own()).later.load(Acquire) & LEFT == 0;
        #[cfg(any(test, feature = "shadow"))]
        if landed {
            machine.returns();
        }
        landed.then_some(Self(()))
    }
}

impl Core {
    /// Who wants to be told that this core is done, with what it has been asked for so far.
    #[inline]
    pub(super) fn told(&self) -> u64 {
        if self.tell.load(Relaxed) == 0 { 0 } else { self.tell.swap(0, AcqRel) }
    }
}

/// Tells the cores in `told` that the calling one is done.
#[cold]
pub(super) fn tell(machine: &impl Machine, told: u64) {
    for id in members(told, machine.cores()) {
        if machine.core(id).later.fetch_sub(1, AcqRel) & LEFT == 1 {
            machine.flights().fetch_sub(1, AcqRel);
            machine.landed(id);
        }
    }
}

/// Waits until what core `id` has taken without waiting is used by nobody.
pub(super) fn land(machine: &impl Machine, id: u32) {
    let later = &machine.core(id).later;
    let round = later.load(Acquire) & !LEFT;
    let flies = || {
        let now = later.load(Acquire);
        now & LEFT != 0 && now & !LEFT == round
    };
    while flies() {
        machine.core(machine.own()).serve(machine);
        sync::relax();
    }
}
