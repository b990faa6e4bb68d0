//! A machine of any size on which cores revoke: who is interrupted when, and how long each waits.
//!
//! A core works, then asks its targets, then waits until all have answered. Serving an interrupt takes the target's time,
//! whatever it was doing. Times are nanoseconds.
//! Invariants: events happen in the order of their times, and those at the same time in the order in which they came about;
//! so a run is the same each time. A core serves one interrupt at a time, in the order of arrival.
//! Concurrency: plain values.
//! Source: discrete-event simulation as in A. Law, Simulation Modeling and Analysis, chapter 1.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Whom a revocation interrupts, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// All cores that run the domain, one after the other.
    Loop,
    /// All cores that run the domain, at once.
    Broadcast,
    /// Cores that have used the page, at once.
    Precise,
}

/// What things take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Costs {
    /// A revocation without other cores.
    pub work: u64,
    /// To ask one target.
    pub ask: u64,
    /// From the request to the target, and from its answer back: together.
    pub way: u64,
    /// For the target to serve it.
    pub serve: u64,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Until the last core was done.
    pub time: u64,
    /// Interrupts altogether.
    pub interrupts: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Event {
    /// The core has done its own part, if that has not been put off since: the number says how often it was.
    Worked { core: u32, put_off: u32 },
    /// A request of one core comes to another.
    Arrives { from: u32, to: u32 },
}

#[derive(Clone, Copy, Default, Debug)]
struct Core {
    /// When its own part is done, while it is at that.
    works_until: Option<u64>,
    put_off: u32,
    serves_until: u64,
    /// Targets that have not been asked, those that have not answered, and the last answer.
    unasked: u32,
    awaited: u32,
    answered: u64,
}

/// Cores, of which `revoking` take back a page each that `sharers` cores use, themselves among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scene {
    /// Cores that run the domain.
    pub cores: u32,
    /// The first so many of them revoke, each once, all at the same time.
    pub revoking: u32,
    /// Cores that use the page.
    pub sharers: u32,
}

impl Scene {
    /// What happens with `protocol`.
    pub fn run(&self, protocol: Protocol, costs: &Costs) -> Outcome {
        let targets = match protocol {
            Protocol::Loop | Protocol::Broadcast => self.cores,
            Protocol::Precise => self.sharers.min(self.cores),
        };
        let targets = targets.saturating_sub(1);
        let mut run = Run { costs, targets, protocol, ..Run::new(self.cores) };
        for core in 0..self.revoking.min(self.cores) {
            run.cores[core as usize].works_until = Some(costs.work);
            run.at(costs.work, Event::Worked { core, put_off: 0 });
        }
        while let Some(Reverse((now, _, event))) = run.events.pop() {
            run.happen(now, event);
        }
        Outcome { time: run.end, interrupts: run.interrupts }
    }
}

struct Run<'a> {
    costs: &'a Costs,
    protocol: Protocol,
    targets: u32,
    cores: Vec<Core>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    number: u64,
    end: u64,
    interrupts: u64,
}

impl Run<'_> {
    fn new(cores: u32) -> Self {
        const NOTHING: Costs = Costs { work: 0, ask: 0, way: 0, serve: 0 };
        let (protocol, targets, cores) = (Protocol::Precise, 0, vec![Core::default(); cores as usize]);
        Self { costs: &NOTHING, protocol, targets, cores, events: BinaryHeap::new(), number: 0, end: 0, interrupts: 0 }
    }

    fn at(&mut self, time: u64, event: Event) {
        self.number += 1;
        self.events.push(Reverse((time, self.number, event)));
    }

    fn happen(&mut self, now: u64, event: Event) {
        match event {
            Event::Worked { core, put_off } => {
                let this = &mut self.cores[core as usize];
                if this.put_off != put_off {
                    return;
                }
                (this.works_until, this.unasked, this.awaited) = (None, self.targets, self.targets);
                if self.targets == 0 {
                    self.end = self.end.max(now);
                    return;
                }
                let first = if self.protocol == Protocol::Loop { 1 } else { self.targets };
                (1..=first).for_each(|nth| self.ask(core, now + u64::from(nth) * self.costs.ask));
            }
            Event::Arrives { from, to } => {
                let answer = self.serve(now, to) + self.costs.way / 2;
                let sender = &mut self.cores[from as usize];
                sender.awaited -= 1;
                sender.answered = sender.answered.max(answer);
                if sender.unasked > 0 {
                    self.ask(from, answer + self.costs.ask);
                } else if sender.awaited == 0 {
                    self.end = self.end.max(sender.answered);
                }
            }
        }
    }

    /// `core` has asked its next target at `time`.
    fn ask(&mut self, core: u32, time: u64) {
        let count = self.cores.len() as u32;
        let sender = &mut self.cores[core as usize];
        let nth = self.targets - sender.unasked + 1;
        sender.unasked -= 1;
        self.interrupts += 1;
        self.at(time + self.costs.way / 2, Event::Arrives { from: core, to: (core + nth) % count });
    }

    /// `core` serves a request that comes now; when it is done.
    fn serve(&mut self, now: u64, core: u32) -> u64 {
        let this = &mut self.cores[core as usize];
        this.serves_until = this.serves_until.max(now) + self.costs.serve;
        let done = this.serves_until;
        if let Some(until) = this.works_until {
            let (until, put_off) = (until + self.costs.serve, this.put_off + 1);
            (this.works_until, this.put_off) = (Some(until), put_off);
            self.at(until, Event::Worked { core, put_off });
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs { work: 1000, ask: 100, way: 2000, serve: 300 };

    fn alone(cores: u32, sharers: u32, protocol: Protocol) -> Outcome {
        Scene { cores, revoking: 1, sharers }.run(protocol, &COSTS)
    }

    #[test]
    fn the_loop_waits_for_each_and_the_broadcast_for_all() {
        for others in [1, 2, 7, 63] {
            let each = COSTS.ask + COSTS.way + COSTS.serve;
            assert_eq!(alone(others + 1, 1, Protocol::Loop).time, COSTS.work + u64::from(others) * each);
            let broadcast = COSTS.work + u64::from(others) * COSTS.ask + COSTS.way + COSTS.serve;
            assert_eq!(alone(others + 1, 1, Protocol::Broadcast).time, broadcast);
            assert_eq!(alone(others + 1, 1, Protocol::Loop).interrupts, u64::from(others));
        }
    }

    #[test]
    fn the_precise_one_depends_on_sharers_only() {
        assert_eq!(alone(1024, 1, Protocol::Precise), Outcome { time: COSTS.work, interrupts: 0 });
        assert_eq!(alone(1024, 4, Protocol::Precise), alone(4, 4, Protocol::Broadcast));
        assert_eq!(alone(16, 16, Protocol::Precise), alone(16, 1, Protocol::Broadcast));
    }

    #[test]
    fn private_pages_on_all_cores_at_once_cost_what_one_costs() {
        let churn = |cores, protocol| Scene { cores, revoking: cores, sharers: 1 }.run(protocol, &COSTS);
        assert!([1, 2, 64].iter().all(|&cores| churn(cores, Protocol::Precise).time == COSTS.work));
        let broadcast = [1, 2, 64].map(|cores| churn(cores, Protocol::Broadcast));
        assert!(broadcast.is_sorted_by_key(|outcome| outcome.time), "{broadcast:?}");
        assert_eq!(broadcast[2].interrupts, 64 * 63);
        // Each serves all others, one after the other.
        assert!(broadcast[2].time > COSTS.work + 63 * COSTS.serve);
    }

    #[test]
    fn who_is_interrupted_while_it_works_is_done_later() {
        let scene = Scene { cores: 2, revoking: 2, sharers: 1 };
        let slow = Costs { ask: 0, way: 0, serve: 50, work: 10 };
        // Both ask at 10, serve until 60, and have the other's answer then.
        assert_eq!(scene.run(Protocol::Broadcast, &slow), Outcome { time: 60, interrupts: 2 });
    }
}
