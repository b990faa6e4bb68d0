//! Portals: where a call goes.
//!
//! Purpose: the context that serves, its entry point, and what it is told.
//! Invariants: context, entry point and transfer descriptor never change.
//! Concurrency: the identity is one atomic word, and so is whether it was revoked.
//! Source: interface §5 ("create_pt", "pt_ctrl").
use crate::context::Context;
use crate::frame::Register;
use crate::reference::Ref;
use abi::{Mtd, VirtAddr};
use sync::Count;

/// A portal.
pub struct Portal {
    /// The context that serves calls.
    pub context: Ref<Context>,
    /// Where it starts.
    pub entry: VirtAddr,
    /// Which registers it gets of a fault.
    pub transfer: Mtd,
    /// Capabilities, together one.
    pub count: Count,
    /// What the serving context gets in its first register.
    pub identity: Register,
    /// Not 0 once its last capability is gone: who still waits to call it waits no longer.
    pub revoked: Register,
}

impl Portal {
    /// A portal to `context`, with identity 0. `None` if `entry` is not in the user range.
    pub fn new(context: Ref<Context>, entry: VirtAddr, transfer: Mtd) -> Option<Self> {
        let (count, identity, revoked) = (Count::default(), Register::default(), Register::default());
        entry.is_user().then_some(Self { context, entry, transfer, count, identity, revoked })
    }
}
