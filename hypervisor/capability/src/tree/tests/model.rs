//! Purpose: the tree's operations on single units, by the definitions and without regard to cost.
use super::world::{Entry, Place, World};
use crate::tree::{Attributes, Span, Transfer};
use abi::Rights;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Delegate,
    Copy,
    Grant,
}

/// Each unit with its entry and its parent.
#[derive(Clone, Default, Debug)]
pub struct Model {
    pub units: BTreeMap<Place, (Entry, Option<Place>)>,
    /// Units that something else has.
    pub foreign: BTreeSet<Place>,
}

impl Model {
    /// What is in a world where nothing else has anything.
    pub fn of(world: &World) -> Self {
        Self { units: world.units(), ..Self::default() }
    }

    /// Transfers one piece of the source, which is a node or a part of one.
    pub fn transfer(&mut self, form: Form, transfer: &Transfer, part: Span) {
        let (from, to) = (transfer.from.owner, transfer.to);
        let target = |unit: u64| (to, transfer.base + (unit - transfer.range.base));
        let given = |source: Place| {
            let ((origin, rights, attributes), parent) = self.units[&source];
            let sticky = attributes & (Attributes::WRITE_COMBINING.0 | Attributes::LAST.0);
            let entry = (origin, rights & transfer.rights.bits(), transfer.attributes.0 | sticky);
            (entry, if form == Form::Delegate { Some(source) } else { parent })
        };
        // What is there as it would be entered is no obstacle to what follows, nor is what is not the tree's.
        let is_foreign = |source: &Place| self.foreign.contains(&target(source.1));
        let present =
            |source: &Place| form != Form::Grant && self.units.get(&target(source.1)) == Some(&given(*source));
        let sources = (part.base..part.end()).map(|unit| (from, unit));
        let sources: Vec<_> = sources.skip_while(|source| present(source) || is_foreign(source)).collect();
        if sources.iter().any(|&(_, unit)| self.units.contains_key(&target(unit))) {
            return;
        }
        let sources: Vec<_> = sources.into_iter().filter(|source| !is_foreign(source)).collect();
        for source in sources {
            let ((origin, rights, attributes), parent) = self.units[&source];
            let rights = rights & transfer.rights.bits();
            let kept_back = attributes & Attributes::LAST.0 != 0 && form != Form::Grant;
            if rights == 0 || kept_back || form == Form::Copy && parent.is_none() {
                continue;
            }
            let sticky = attributes & (Attributes::WRITE_COMBINING.0 | Attributes::LAST.0);
            let entry = (origin, rights, transfer.attributes.0 | sticky);
            let parent = if form == Form::Delegate { Some(source) } else { parent };
            if form == Form::Grant {
                self.take(&self.below(source), Rights::ALL.without(transfer.rights));
                self.units.remove(&source);
                self.move_children(source, Some(target(source.1)));
            }
            self.units.insert(target(source.1), (entry, parent));
        }
    }

    fn move_children(&mut self, from: Place, to: Option<Place>) {
        for (_, parent) in self.units.values_mut().filter(|(_, parent)| *parent == Some(from)) {
            *parent = to;
        }
    }

    fn children(&self, place: Place) -> impl Iterator<Item = Place> {
        self.units.iter().filter(move |(_, (_, parent))| *parent == Some(place)).map(|(&place, _)| place)
    }

    /// All that descends from a unit.
    fn below(&self, place: Place) -> Vec<Place> {
        let mut found = vec![];
        let mut todo: Vec<Place> = self.children(place).collect();
        while let Some(place) = todo.pop() {
            found.push(place);
            todo.extend(self.children(place));
        }
        found
    }

    fn take(&mut self, places: &[Place], rights: Rights) {
        for place in places {
            if let Some(((_, left, _), _)) = self.units.get_mut(place) {
                *left &= !rights.bits();
                if *left == 0 {
                    self.units.remove(place);
                }
            }
        }
    }

    pub fn revoke(&mut self, owner: u32, range: Span, rights: Rights, itself: bool) {
        let mut affected = vec![];
        for place in (range.base..range.end()).map(|unit| (owner, unit)) {
            if self.units.contains_key(&place) {
                affected.extend(self.below(place));
                affected.extend(itself.then_some(place));
            }
        }
        self.take(&affected, rights);
    }

    /// Keep, for one piece.
    pub fn revoke_keep(&mut self, owner: u32, part: Span, rights: Rights) {
        let places: Vec<Place> = (part.base..part.end()).map(|unit| (owner, unit)).collect();
        if places.iter().all(|&place| self.children(place).next().is_none()) {
            return self.take(&places, rights);
        }
        for place in places {
            if let Some((_, parent)) = self.units.remove(&place) {
                self.move_children(place, parent);
            }
        }
    }

    /// Whether everything here is in `other` too, with at least these rights.
    pub fn is_within(&self, other: &Self) -> bool {
        self.units.iter().all(|(place, ((origin, rights, _), _))| {
            other
                .units
                .get(place)
                .is_some_and(|((other_origin, more, _), _)| origin == other_origin && rights & !more == 0)
        })
    }
}
