//! How a machine ends, and how it starts again.
//!
//! Whoever ends it makes all processors leave the guest; each says so by its mode. Then nothing is in motion but what comes
//! from outside, which the devices take or lose: they are reset first, the memory is filled anew by who owns the images, and
//! the processors go on as after power-on.
//! Invariants: no processor runs between the end and the new start.
//! Concurrency: [`Machine::reset_devices`] and [`Machine::restart`] are for one thread, that of the monitor.

use core::sync::atomic::Ordering;

use vm_memory::Memory;

use super::{Host, Machine};
use crate::cpu::Mode;
use crate::end::End;

/// Bytes that are cleared at once.
const PIECE: usize = 4096;

impl<M: Memory, H: Host> Machine<M, H> {
    /// Why it ended; `None` as long as it runs.
    pub fn end(&self) -> Option<End> {
        if self.has_ended.load(Ordering::SeqCst) { *self.ended.lock() } else { None }
    }

    /// Ends it; the first reason counts.
    pub fn stop(&self, end: End) {
        self.ended.lock().get_or_insert(end);
        self.has_ended.store(true, Ordering::SeqCst);
        (0..self.cpus.len()).for_each(|cpu| self.kick(cpu));
    }

    /// Whether all processors have heard of its end.
    pub fn is_quiet(&self) -> bool {
        self.cpus.iter().all(|cpu| cpu.mode() == Mode::Ended)
    }

    /// The processor that runs the guest and has not left it since `before`, the exits of each so far; they are brought up
    /// to date.
    pub fn stuck(&self, before: &mut [u64]) -> Option<usize> {
        let mut found = None;
        for (cpu, (this, before)) in self.cpus.iter().zip(before).enumerate() {
            let exits = this.exits();
            let same = core::mem::replace(before, exits) == exits;
            found = found.or(Some(cpu).filter(|_| same && this.mode() == Mode::Running));
        }
        found
    }

    /// Resets the devices of a machine that is quiet; clears its memory.
    pub fn reset_devices(&self) {
        self.devices.lock().reset();
        let mut at = 0;
        // The size is a multiple of a page.
        while self.memory.write(at, &[0; PIECE]) {
            at += PIECE as u64;
        }
    }

    /// Starts a machine that is quiet again, with what is in its memory now.
    pub fn restart(&self) {
        self.cpus.iter().for_each(crate::cpu::Cpu::restart);
        *self.ended.lock() = None;
        self.has_ended.store(false, Ordering::SeqCst);
        (0..self.cpus.len()).for_each(|cpu| self.host.wake(cpu));
    }
}
