//! Revocations that do not wait.
//!
//! Purpose: memory is taken from all tables, cores are asked to forget it, and the caller goes on; when they have forgotten, a
//! semaphore is upped.
//! Invariants: until the semaphore is upped, what was taken may be used, and is used for nothing else. One at a time for each
//! core; it keeps its semaphore.
//! Concurrency: the core that has begun ends it; the last core that forgets makes it look.
//! Source: lecture A:249; `docs/src/decisions/0032-revocations-that-do-not-wait.md`.
use crate::lifetime::Counted;
use crate::{mapping, semaphore, translations};
use abi::operation::RevokeFlags;
use abi::{Kind, Rights};
use capability::tree::Span;
use memory::shootdown::Acknowledged;
use objects::{Domain, Ref, Semaphore, Store};

/// Takes `rights` to memory back as [`mapping::revoke`] does. False if something else is to be done first.
pub fn revoke(
    store: &Store<'_>,
    owner: Ref<Domain>,
    rights: Rights,
    range: &mut Span,
    flags: RevokeFlags,
    semaphore: Ref<Semaphore>,
) -> bool {
    let awaiting = &percpu::this().local.awaiting;
    if awaiting.get() != 0 {
        let _ = translations::earlier();
        look(store);
    }
    match mapping::revoke_later(store, owner, (Kind::Memory, rights), range, flags) {
        None => return false,
        Some(Some(acknowledged)) => tell(store, semaphore, &acknowledged),
        // One that ends just now has nobody to be told.
        Some(None) if Counted::Semaphore(semaphore).count(store).acquire() => awaiting.set(semaphore.to_word()),
        Some(None) => {}
    }
    true
}

/// Tells whoever waits that what was revoked can be used for something else.
pub fn tell(store: &Store<'_>, semaphore: Ref<Semaphore>, _: &Acknowledged) {
    semaphore::up(store, semaphore);
}

/// Ends what was begun on this core, if all have forgotten.
pub fn look(store: &Store<'_>) {
    let awaiting = &percpu::this().local.awaiting;
    if let Some(acknowledged) = translations::landed()
        && let Some(semaphore) = store.reference::<Semaphore>(awaiting.take())
    {
        tell(store, semaphore, &acknowledged);
        Counted::Semaphore(semaphore).release(store);
    }
}
