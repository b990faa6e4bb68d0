//! Hypercalls as typed functions, as far as programs need them now: delegation.
//!
//! Invariants: a request is put together by a pure function, tested on the host; only `delegate` enters the kernel.
//! Concurrency: items travel in the UTCB of the calling thread.
//! Source: classic interface, "Hypercalls".

#[cfg(target_os = "none")]
use abi::Status;
use abi::operation::Misc;
use abi::{Crd, Hypercall, Request, Selector};
#[cfg(target_os = "none")]
use abi::{TypedItem, utcb};

/// The registers that carry a hypercall in and out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Registers {
    /// In: the [`Request`]. Out: the status.
    pub rdi: u64,
    /// Second argument and result.
    pub rsi: u64,
    /// Third.
    pub rdx: u64,
    /// Fourth.
    pub rax: u64,
    /// Fifth.
    pub r8: u64,
}

/// The registers of a delegation from `source` into `window` of `destination`.
#[must_use]
pub const fn delegation(source: Selector, window: Crd, destination: Selector) -> Registers {
    Registers {
        rdi: Request::new(Hypercall::Misc, Misc::Delegate.flags(), source).word(),
        rsi: window.word(),
        rdx: destination.number(),
        rax: 0,
        r8: 0,
    }
}

/// Delegates `items` of the protection domain `source` into the `window` of the protection domain `destination`.
///
/// Success does not say that all of it arrived: what is occupied at the destination, or does not exist at the source,
/// is skipped without a word.
///
/// More than 254 items are [`Status::BadParameter`]; a selector that names no protection domain is
/// [`Status::BadCapability`]; [`Status::QuotaExhausted`] may leave a part delegated.
#[cfg(target_os = "none")]
pub fn delegate(source: Selector, window: Crd, destination: Selector, items: &[TypedItem]) -> Status {
    let mut utcb = crate::arch::utcb::Utcb::current();
    if items.len() > utcb::MAX_ITEMS {
        return Status::BadParameter;
    }
    for (index, item) in items.iter().enumerate() {
        utcb.set_item(index, *item);
    }
    utcb.set_header(utcb::Header::new(0, items.len()));
    let answer = crate::arch::syscall::delegate(source, window, destination);
    // A kernel that answers outside the interface cannot be relied on for anything.
    Status::from_register(answer).unwrap_or(Status::BadHypercall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_all_ports_is_these_registers() {
        let registers = delegation(Selector::ROOT_DOMAIN, Crd::ALL_PORTS, Selector::ROOT_DOMAIN);
        assert_eq!(registers, Registers { rdi: 0x2018, rsi: 0x87E, rdx: 32, rax: 0, r8: 0 });
    }
}
