//! The shadow of what cores may remember, in a kernel built with the feature `shadow`.
//!
//! Purpose: `memory::shadow` is told what happens; what it finds wrong stops the machine.
//! Invariants: told before a flush or a load, so that it never knows of less than there is. On a processor without tags it is
//! told what one with tags would keep.
//! Concurrency: one lock, innermost.
//! Source: `docs/src/testing.md`.
use crate::stop;
use memory::shadow::{Checked, Shadow};
use sync::Spin;

/// Cores that are followed, and parts of views that each may be about to forget.
type Followed = Shadow<16, 512>;
static SHADOW: Spin<Followed> = Spin::new(Shadow::new());

/// Tells it of something that the calling core, whose number it gets, does.
pub fn note(act: impl FnOnce(&mut Followed, u32)) {
    act(&mut SHADOW.lock(), percpu::this().local.id.get());
}

/// As [`note`], of something that may be wrong.
pub fn tell(act: impl FnOnce(&mut Followed, u32) -> Checked) {
    let checked = act(&mut SHADOW.lock(), percpu::this().local.id.get());
    if let Err(wrong) = checked {
        stop::machine(stop::FAULT, format_args!("shadow of translations: {wrong}"));
    }
}
