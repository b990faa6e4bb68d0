//! Purpose: why a frame may be used for something else.
//!
//! Invariants: what a processor may have walked, or a program used, comes back with an [`Acknowledged`] only, which nothing
//! but a shootdown makes. Whoever has a frame that was neither says so in the code, as [`Unshown`].
//!
//! Concurrency: plain values without content.
//!
//! Source: `docs/src/shootdown.md`; traps T2, T13.

use crate::shootdown::Acknowledged;

/// No translation has ever shown the frame, no processor has walked it: nobody but the kernel itself has used it.
#[derive(Clone, Copy, Debug)]
pub struct Unshown;

/// Why a frame may be used for something else: `&Acknowledged` or [`Unshown`].
///
/// A shootdown that is not finished is none:
/// ```compile_fail
/// use memory::frames::{FrameNumber, Frames};
/// use memory::shootdown::{Machine, Shootdown};
/// fn give_back(frames: &mut Frames<'_>, root: FrameNumber, taken: Shootdown, cores: &impl Machine) {
///     let _ = frames.denote(root, &taken);
///     taken.finish(cores);
/// }
/// ```
/// What finishing it gives is:
/// ```
/// use memory::frames::{FrameNumber, Frames};
/// use memory::shootdown::{Machine, Shootdown};
/// fn give_back(frames: &mut Frames<'_>, root: FrameNumber, taken: Shootdown, cores: &impl Machine) {
///     let acknowledged = taken.finish(cores);
///     let _ = frames.denote(root, &acknowledged);
/// }
/// ```
/// Nothing else makes one:
/// ```compile_fail
/// let acknowledged = memory::shootdown::Acknowledged(());
/// ```
pub trait Reusable: sealed::Sealed + Copy {}

impl Reusable for Unshown {}
impl Reusable for &Acknowledged {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Unshown {}
    impl Sealed for &super::Acknowledged {}
}
