//! What a program can ask of the root partition.
//!
//! Every core has a portal for it, at [`PARENT`] of the core's events; the root partition knows who calls by the portal.
//! Invariants: the answer to a request is one of [`Reply`]; a capability in it lies where the program asked for it.
//! Concurrency: each call is one message.

use crate::message;
use crate::message::Text;

message! {
    /// A request.
    pub enum Request {
        /// The program is over, with this exit status; no answer.
        Exit(status: u64) = 1,
        /// The program has done its work; it goes on serving others.
        Done() = 2,
        /// A line for the console, when nobody else takes it.
        Report(line: Text<256>) = 3,
        /// A portal to the service of this name, for calls from this core.
        Connect(service: Text<32>, core: u32) = 4,
        /// This program serves the service of this name on this core: the context in the message, at this address.
        Register(service: Text<32>, core: u32, entry: u64) = 5,
        /// A thread: core, UTCB, record on its stack, entry point. The answer has its number and its context.
        Spawn(core: u32, utcb: u64, record: u64, entry: u64) = 6,
        /// The thread of this number is to be destroyed.
        End(thread: u64) = 7,
        /// The name of the client with this identity.
        NameOf(identity: u64) = 8,
        /// The domain in the message is the guest's: it gets the guest's memory, from address 0 on.
        Populate() = 9,
    }
}

message! {
    /// The answer.
    pub enum Reply {
        /// It is done.
        Done() = 0,
        /// Not now; later, perhaps.
        NotYet() = 1,
        /// The boot configuration does not allow it, or it makes no sense.
        Refused() = 2,
        /// A number.
        Number(value: u64) = 3,
        /// A name.
        Name(name: Text<32>) = 4,
        /// There is not enough memory.
        Exhausted() = 5,
    }
}

#[cfg(target_os = "none")]
mod calls;
#[cfg(target_os = "none")]
pub(crate) use calls::{adopt, current};
#[cfg(target_os = "none")]
pub use calls::{done, exit, name_of, report, request, request_with, startup};
