//! Execution contexts: threads and virtual CPUs.
//!
//! Purpose: a context's registers, whose it is, and what it waits for.
//! Invariants: the frame's segments are those of ring 3 and its instruction pointer is at most the end of the user
//! range, so that leaving the kernel through it cannot fault in ring 0; a context serves one caller at a time, and
//! `caller` is set exactly while it does.
//! Concurrency: a context belongs to one core; its frame and its state change there only. Two exceptions: whoever takes
//! a context out of a semaphore's queue makes it go on ([`Context::advance`]), and what other cores want of it they leave
//! in `requests`, and put it into the inbox of its core.
//! Source: interface §4, §5 and §7; `docs/src/decisions/0007-register-frame.md`.
use crate::domain::Domain;
use crate::frame::{Frame, GUEST, Register, SYSCALL};
use crate::reference::Ref;
use abi::event::{RECALL, STARTUP, VCPU_RECALL, VCPU_STARTUP};
use core::mem::offset_of;
use schedule::{InboxLinks, Lent, Requests, WaitLinks};
use sync::Count;
use sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use timeouts::TimeoutLinks;

/// An enumeration, and the list of its values in order.
macro_rules! listed {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$doc:meta])* $value:ident,)* }) => {
        $(#[$about])*
        pub enum $name { $($(#[$doc])* $value,)* }

        impl $name {
            const ALL: &[Self] = &[$(Self::$value,)*];
        }
    };
}

listed! {
    /// What a context does next, instead of a stack of its own in the kernel.
    ///
    /// A proxy is a context that has no code: it calls in place of a context of another core.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u32)]
    pub enum Continuation {
        /// Goes on in ring 3 with its frame.
        Run,
        /// Waits for a call through one of its portals.
        AwaitCall,
        /// Has called, waits for the reply.
        AwaitReply,
        /// Has faulted, waits for the handler's reply.
        AwaitHandler,
        /// Waits for a semaphore, and for the status of that.
        AwaitSemaphore,
        /// Its first step is the event that it holds.
        Event,
        /// Is over.
        Dead,
        /// Waits for a semaphore because who served it wants so; its registers stay as they are.
        AwaitResume,
        /// Has called a context of another core, waits for its proxy.
        AwaitRemote,
        /// A proxy that has nothing to do.
        Idle,
        /// A proxy that has a call to make.
        CallPortal,
        /// A proxy that has called, waits for the reply.
        AwaitRelay,
        /// A proxy that waits for a semaphore because who served it wants so; it calls again then.
        AwaitRetry,
        /// Waits for memory, and then goes on.
        AwaitMemory,
        /// Waits for memory for who called it, and then replies again.
        AwaitMemoryForReply,
        /// Replies again.
        ReplyAgain,
        /// Waits for a semaphore because who gave it memory wants so; it replies again then.
        AwaitReplyAgain,
    }
}

impl Continuation {
    const fn from_bits(bits: u32) -> Self {
        let index = (bits & KIND) as usize;
        if index < Self::ALL.len() { Self::ALL[index] } else { Self::Dead }
    }

    /// What follows once the semaphore that it waits for is its; `None` if it waits for none.
    pub const fn woken(self) -> Option<Self> {
        match self {
            Self::AwaitSemaphore | Self::AwaitResume => Some(Self::Run),
            Self::AwaitRetry => Some(Self::CallPortal),
            Self::AwaitReplyAgain => Some(Self::ReplyAgain),
            _ => None,
        }
    }

    /// Whether it waits for memory.
    pub const fn is_short_of_memory(self) -> bool {
        matches!(self, Self::AwaitMemory | Self::AwaitMemoryForReply)
    }

    /// Whether the context that it names as its partner serves it.
    pub const fn is_served(self) -> bool {
        matches!(self, Self::AwaitReply | Self::AwaitHandler | Self::AwaitRelay) || self.is_short_of_memory()
    }
}

/// Bits of the continuation word that hold the continuation.
const KIND: u32 = 0xFF;
/// Bit of the continuation word: the context is to be recalled before it goes on in ring 3.
const RECALLED: u32 = 1 << 8;

/// No virtual address of tables: all have the highest bit.
pub const NO_ROOT: u64 = 1;

/// A message page as the kernel sees it.
pub type Page = [AtomicU64; 512];

/// What a context is made of; it never changes.
#[derive(Clone, Copy)]
pub struct Identity {
    /// The domain it belongs to.
    pub domain: Ref<Domain>,
    /// The page through which it passes messages. Its owner writes it at any time. Of a virtual CPU the first of its two
    /// pages, which the processor knows.
    pub message: &'static Page,
    /// Where its domain sees that page if the kernel has mapped it there, 0 otherwise.
    pub message_at: u64,
    /// The core it runs on.
    pub core: u32,
    /// First selector of its event portals.
    pub event_base: u64,
    /// Whether it runs on its own, with a scheduling context; otherwise it serves calls.
    pub global: bool,
    /// Whether it is a proxy: it has no code, and the message page of the context that it calls for.
    pub proxy: bool,
    /// Whether it is a virtual CPU.
    pub guest: bool,
}

impl Identity {
    /// The event that it takes when it is recalled.
    pub fn recall(&self) -> u64 {
        u64::from(if self.guest { VCPU_RECALL } else { RECALL })
    }
}

/// An execution context.
#[repr(C)]
pub struct Context {
    frame: Frame,
    identity: Identity,
    continuation: AtomicU32,
    /// Virtual address of the tables that its domain has on its core, [`NO_ROOT`] before it is first switched to.
    pub root: Register,
    /// Word of the reference to the context that it serves, 0 for none.
    pub caller: Register,
    /// Word of the reference to the context that serves it, 0 for none.
    pub partner: Register,
    /// Word of the reference to the scheduling context that waits with it, 0 for none. Of several cores that take it one
    /// gets it.
    pub scheduling: Lent,
    /// Word of the reference to the semaphore that it waits for.
    pub semaphore: Register,
    /// Its place among those who wait for the semaphore.
    pub(crate) wait: WaitLinks,
    /// Physical address of the page for its vector registers, 0 before they are first used.
    pub vectors: AtomicU64,
    event: AtomicU64,
    qualification: [AtomicU64; 2],
    /// Word of the reference to its first proxy, of a proxy to the next of the same context; 0 for none.
    pub proxy: Register,
    /// Word of the reference, which is counted, to the portal through which it asks for kernel memory; 0 for none. Set before the
    /// context runs.
    pub memory_portal: Register,
    /// TSC ticks that it has run for; changed on its core.
    pub time: Register,
    /// What its core is to do with it: bits that the kernel defines.
    pub requests: Requests,
    owns_page: AtomicBool,
    /// Its place in the inbox of its core.
    pub inbox: InboxLinks,
    /// Its place among the core's deadlines.
    pub timeout: TimeoutLinks,
    /// Capabilities, together one, and portals and scheduling contexts.
    pub count: Count,
    /// 1 when no capability names it any more: what becomes of it is nobody's fault.
    pub revoked: Register,
}

impl Context {
    /// Offset of the first selector of its event portals, for entry code.
    pub const EVENT_BASE: usize = offset_of!(Self, identity) + offset_of!(Identity, event_base);

    /// A context with this stack pointer. A local one waits for a call, a global one starts with the startup event.
    pub fn new(identity: Identity, stack: u64) -> Self {
        let frame = Frame::user(0, stack);
        let (vector, event) = if identity.guest { (GUEST, VCPU_STARTUP) } else { (SYSCALL, STARTUP) };
        frame.vector.set(vector);
        let continuation = if identity.global { Continuation::Event } else { Continuation::AwaitCall };
        Self {
            frame,
            identity,
            continuation: AtomicU32::new(continuation as u32),
            root: Register::new(NO_ROOT),
            caller: Register::default(),
            partner: Register::default(),
            scheduling: Lent::default(),
            semaphore: Register::default(),
            wait: WaitLinks::default(),
            vectors: AtomicU64::new(0),
            event: AtomicU64::new(u64::from(event)),
            qualification: Default::default(),
            proxy: Register::default(),
            memory_portal: Register::default(),
            time: Register::default(),
            requests: Requests::default(),
            owns_page: AtomicBool::new(!identity.proxy),
            inbox: InboxLinks::default(),
            timeout: TimeoutLinks::default(),
            count: Count::default(),
            revoked: Register::default(),
        }
    }

    /// The context whose registers these are.
    ///
    /// # Safety
    /// `frame` is a part of a context.
    #[inline]
    pub unsafe fn of_frame(frame: &Frame) -> &Self {
        const { assert!(offset_of!(Self, frame) == 0) };
        // SAFETY: the caller's promise; the frame is the first field. Contexts lie in the pool, whose addresses are exposed.
        unsafe { &*core::ptr::with_exposed_provenance(core::ptr::from_ref(frame).addr()) }
    }

    /// Its registers.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// What it is made of.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What it does next.
    pub fn continuation(&self) -> Continuation {
        Continuation::from_bits(self.continuation.load(Acquire))
    }

    /// Whether it does this next, and nothing before: no recall.
    #[inline]
    pub fn is(&self, continuation: Continuation) -> bool {
        self.continuation.load(Acquire) == continuation as u32
    }

    /// Sets what it does next. A recall is forgotten: for a context that [`Self::is`] what it was.
    #[inline]
    pub fn set_continuation(&self, continuation: Continuation) {
        self.continuation.store(continuation as u32, Release);
    }

    /// Sets what it does next, unless it is over; a recall stays. Returns what it would have done.
    pub fn proceed(&self, continuation: Continuation) -> Continuation {
        self.advance(|old| (old != Continuation::Dead).then_some(continuation))
    }

    /// Changes what it does next to what `next` says, if anything; a recall stays. Returns what it would have done.
    pub fn advance(&self, next: impl Fn(Continuation) -> Option<Continuation>) -> Continuation {
        let step = |bits| next(Continuation::from_bits(bits)).map(|next| bits & !KIND | next as u32);
        let (Ok(bits) | Err(bits)) = self.continuation.fetch_update(AcqRel, Acquire, step);
        Continuation::from_bits(bits)
    }

    /// Makes the recall event come before it goes on in ring 3.
    pub fn recall(&self) {
        self.continuation.fetch_or(RECALLED, AcqRel);
    }

    /// Whether [`Self::recall`] has been called since the last [`Self::take_recall`].
    pub fn is_recalled(&self) -> bool {
        self.continuation.load(Acquire) & RECALLED != 0
    }

    /// Takes the recall back.
    pub fn take_recall(&self) {
        self.continuation.fetch_and(!RECALLED, AcqRel);
    }

    /// The event that it takes next or took last.
    pub fn event(&self) -> u64 {
        self.event.load(Relaxed)
    }

    /// What the processor said of that event: error code, and address of the fault.
    pub fn qualification(&self) -> [u64; 2] {
        [&self.qualification[0], &self.qualification[1]].map(|word| word.load(Relaxed))
    }

    /// Sets which event it took last, and the address of that. Its error code stays another's: it has been told.
    #[inline]
    pub fn note_event(&self, event: u64, address: u64) {
        self.event.store(event, Relaxed);
        self.qualification[1].store(address, Relaxed);
    }

    /// Sets both.
    pub fn set_event(&self, event: u64, qualification: [u64; 2]) {
        self.event.store(event, Relaxed);
        self.qualification.iter().zip(qualification).for_each(|(word, value)| word.store(value, Relaxed));
    }

    /// Whether its message page goes when it goes.
    pub fn owns_page(&self) -> bool {
        self.owns_page.load(Acquire)
    }

    /// Whether it has become another, and waits for its handler only so that this can go on with its time.
    pub fn has_moved(&self) -> bool {
        !self.owns_page() && self.continuation() == Continuation::AwaitHandler
    }

    /// Lets the message page stay when it goes: it has become another's.
    pub fn give_page(&self) {
        self.owns_page.store(false, Release);
    }

    /// The message page is its own again.
    pub fn take_page(&self) {
        self.owns_page.store(true, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_continuation_is_read_as_it_was_written() {
        for (bits, &continuation) in Continuation::ALL.iter().enumerate() {
            assert_eq!(bits, continuation as usize);
            assert_eq!(Continuation::from_bits(bits as u32 | RECALLED), continuation);
        }
        assert_eq!(Continuation::from_bits(200), Continuation::Dead);
    }
}
