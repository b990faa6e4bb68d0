//! The whole machine: exits of two processors, with all devices behind them.
//!
//! Invariants: a machine that has ended is followed by another one.
//! Concurrency: one thread drives both processors.

use vmm::exit::Backend;
use vmm::trial::Trial;

use crate::Driven;

struct Whole {
    trial: Box<Trial>,
    backend: Backend,
}

pub fn machine() -> Box<dyn Driven> {
    Box::new(Whole { trial: Box::new(Trial::new(Backend::Svm)), backend: Backend::Svm })
}

impl Driven for Whole {
    fn step(&mut self, first: u64, second: u64) {
        if !self.trial.step(first, second) {
            self.backend = if self.backend == Backend::Svm { Backend::Vmx } else { Backend::Svm };
            *self.trial = Trial::new(self.backend);
        }
    }
}
