//! Taking back, with or without a report of what was noted.
//!
//! Purpose: a revocation from end to end: the tree's steps, slice by slice, and one shootdown.
//! Invariants: when it is over, no core uses what was taken. A report misses nothing that a processor noted before the entry
//! was exchanged; afterwards it can note nothing, because it notes in an entry that allows the access only.
//! Concurrency: for a slice the regions of what is met, or all; none while cores are waited for.
//! Source: interface §5; `docs/src/decisions/0030-revocations-report.md`.
use super::{Machine, Stored, remaining, shown, space, waits};
use crate::translations::{self, Cores};
use abi::operation::{Noted, RevokeFlags};
use abi::{Kind, Rights};
use capability::tree::{Attributes as Manner, Effects, Error, Outcome, Piece, Span, Tree};
use memory::shootdown::Acknowledged;
use objects::{Domain, Ref, Store};

/// Takes `rights` from everybody who has them from `range` of `owner`; with the flag for it, from `owner` too, or from
/// `owner` alone. When it returns, no core uses them. `None` if something else is to be done first: the same has to be asked
/// for again, with what is left of the range.
pub fn revoke(
    store: &Store<'_>,
    owner: Ref<Domain>,
    what: (Kind, Rights),
    range: &mut Span,
    flags: RevokeFlags,
) -> Option<Acknowledged> {
    let stored = Stored(store);
    let mut machine = Machine::new(&stored);
    let outcome = take_silently(&stored, owner, what, (range, flags), &mut machine);
    finish(machine, outcome)
}

/// As [`revoke`]; `noted` is extended by what processors have noted of what went, if it is memory.
#[inline(never)]
pub fn revoke_reporting(
    store: &Store<'_>,
    owner: Ref<Domain>,
    what: (Kind, Rights),
    range: &mut Span,
    flags: RevokeFlags,
    noted: &mut Noted,
) -> Option<Acknowledged> {
    let stored = Stored(store);
    let mut reporting = Reporting { machine: Machine::new(&stored), noted: *noted };
    let outcome = take(&stored, owner, what, (range, flags), &mut reporting, Reporting::machine);
    *noted = reporting.noted;
    finish(reporting.machine, outcome)
}

/// As [`revoke`], but cores that are made to forget are not waited for: `Some(None)` if [`translations::landed`] is to come.
#[inline(never)]
pub fn revoke_later(
    store: &Store<'_>,
    owner: Ref<Domain>,
    what: (Kind, Rights),
    range: &mut Span,
    flags: RevokeFlags,
) -> Option<Option<Acknowledged>> {
    let stored = Stored(store);
    let mut machine = Machine::new(&stored);
    let outcome = take_silently(&stored, owner, what, (range, flags), &mut machine);
    if outcome == Ok(Outcome::Done) {
        return Some(machine.shootdown.finish_later(&Cores));
    }
    finish(machine, outcome).map(Some)
}

/// [`take`] without a report: once, so that it stays one function.
#[inline(never)]
fn take_silently(
    stored: &Stored<'_>,
    owner: Ref<Domain>,
    what: (Kind, Rights),
    range: (&mut Span, RevokeFlags),
    machine: &mut Machine<'_>,
) -> Result<Outcome, Error> {
    take(stored, owner, what, range, machine, |machine| machine)
}

#[inline(always)]
fn take<'s, E: Effects>(
    stored: &Stored<'_>,
    owner: Ref<Domain>,
    (kind, rights): (Kind, Rights),
    (range, flags): (&mut Span, RevokeFlags),
    effects: &mut E,
    machine: impl Fn(&mut E) -> &mut Machine<'s>,
) -> Result<Outcome, Error> {
    let space = space(owner, kind);
    // What stays goes to the parents. The end of an object is the business of its domain.
    let ends = flags.contains(RevokeFlags::SELF) && kind == Kind::Objects;
    machine(effects).all = flags.contains(RevokeFlags::KEEP) || ends;
    loop {
        let all = machine(effects).begin(owner);
        let outcome = if flags.contains(RevokeFlags::KEEP) {
            Tree(stored).revoke_keep(space, range, rights, effects)
        } else {
            Tree(stored).revoke(space, range, rights, flags.contains(RevokeFlags::SELF), effects)
        };
        machine(effects).pause();
        drop(all);
        if outcome != Ok(Outcome::Preempted) || waits() {
            return outcome;
        }
    }
}

#[inline(always)]
fn finish(machine: Machine<'_>, outcome: Result<Outcome, Error>) -> Option<Acknowledged> {
    let acknowledged = machine.shootdown.finish(&Cores);
    if outcome.is_err() {
        crate::log::warning!("no kernel memory to divide a mapping that is revoked in part");
    }
    (outcome != Ok(Outcome::Preempted)).then_some(acknowledged)
}

/// Takes everything from the spaces of a domain that nobody uses. False if there is more to do.
pub fn clear(store: &Store<'_>, owner: Ref<Domain>) -> bool {
    let kinds = [Kind::Memory, Kind::Ports, Kind::Objects].into_iter().zip(&store.get(owner).spaces);
    // Who has found it before may still give it something: that is seen when nobody can any more.
    let mut left = kinds.filter(|(_, index)| !index.is_empty());
    left.all(|(kind, _)| revoke(store, owner, (kind, Rights::ALL), &mut { Span::ALL }, RevokeFlags::SELF).is_some())
}

/// A machine that sees what was noted.
struct Reporting<'s> {
    machine: Machine<'s>,
    noted: Noted,
}

impl<'s> Reporting<'s> {
    const fn machine(&mut self) -> &mut Machine<'s> {
        &mut self.machine
    }
}

impl Effects for Reporting<'_> {
    fn mapped(&mut self, piece: &Piece) -> Result<(), Error> {
        self.machine.mapped(piece)
    }

    fn raised(&mut self, piece: &Piece) {
        self.machine.raised(piece);
    }

    fn revoked(&mut self, piece: &Piece, left: Rights, last: bool) {
        if piece.space.kind != Kind::Memory {
            return self.machine.revoked(piece, left, last);
        }
        self.machine.work(piece);
        let (domain, (virt, _, size)) = (self.machine.stored.domain(piece.space.owner), shown(piece));
        let left = remaining(left);
        self.noted |= translations::restrict_noting(domain, (virt, size), left, &mut self.machine.shootdown);
        if piece.attributes.has(Manner::GUEST) {
            self.noted |= self.machine.take_from_guests(domain, (virt, size), left);
        }
    }

    fn portion(&self, piece: &Piece, enter: bool) -> u64 {
        self.machine.portion(piece, enter)
    }

    fn may_continue(&mut self) -> bool {
        self.machine.may_continue()
    }

    fn may_reach_all(&mut self) -> bool {
        self.machine.may_reach_all()
    }

    fn may_reach(&mut self, owner: u32) -> bool {
        self.machine.may_reach(owner)
    }
}
