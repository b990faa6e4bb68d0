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
type Followed = Shadow<64, 64>;
static SHADOW: Spin<Followed> = Spin::new(Shadow::new());

/// Tells it that this core is about to show that it loads other tables.
pub fn departs() {
    tell(|shadow, own| {
        shadow.departs(own);
        Ok(())
    });
}

/// Tells it of something that the calling core, whose number it gets, does.
pub fn tell(act: impl FnOnce(&mut Followed, u32) -> Checked) {
    let checked = act(&mut SHADOW.lock(), percpu::this().local.id.get());
    if let Err(wrong) = checked {
        stop::machine(stop::FAULT, format_args!("shadow of translations: {wrong}"));
    }
}
