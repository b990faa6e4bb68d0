//! Purpose: accounts of kernel memory, in pages.
//!
//! Every page of kernel memory is charged to an account. Limit and usage share
//! one atomic word, so that both always change together: at no moment does
//! another core see a usage above its limit. The *lower* part of a limit is
//! what the account keeps for itself: it may be used, not transferred.
//!
//! Invariants: `usage <= limit`; a transfer leaves `usage + lower <= limit` in
//! the source; charges, refunds and transfers conserve the sum of all limits,
//! which the creator of the accounts keeps at or below 2^32 - 1 (16 TiB).
//!
//! Concurrency: lock-free; a retry means that another core made progress. A
//! core that reads a usage also sees what was done before the refunds in it.
//!
//! Source: the interface's quota rules (limit, usage, non-transferable part).

use sync::atomic::{AtomicU64, Ordering};

/// The account cannot bear the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaExceeded;

/// The account was not charged what is to be refunded: the pages were charged
/// to another one. This is a defect of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotCharged;

/// One account.
#[derive(Debug)]
pub struct Quota {
    account: AtomicU64,
    lower: u32,
}

/// The account's word, taken apart.
#[derive(Clone, Copy)]
struct Account {
    limit: u32,
    usage: u32,
}

impl Account {
    const fn pack(self) -> u64 {
        (self.limit as u64) << 32 | self.usage as u64
    }

    const fn unpack(word: u64) -> Self {
        Self { limit: (word >> 32) as u32, usage: word as u32 }
    }
}

impl Quota {
    /// An account with a limit of `limit` pages from nowhere, all of them
    /// transferable. For the first account of the machine; others are filled
    /// from it by [`transfer`].
    pub fn new(limit: u32) -> Self {
        Self { account: AtomicU64::new(Account { limit, usage: 0 }.pack()), lower: 0 }
    }

    /// An account of which `lower` pages cannot be transferred away, with a
    /// limit of `upper` pages that are taken from `donor`.
    ///
    /// # Errors
    /// [`QuotaExceeded`] if `donor` has no `upper` transferable pages, or if
    /// `lower` is above `upper`.
    pub fn funded_by(donor: &Self, lower: u32, upper: u32) -> Result<Self, QuotaExceeded> {
        if lower > upper {
            return Err(QuotaExceeded);
        }
        let child = Self { lower, ..Self::new(0) };
        transfer(donor, &child, upper)?;
        Ok(child)
    }

    /// Pages that may be in use.
    pub fn limit(&self) -> u32 {
        self.read().limit
    }

    /// Pages that are in use.
    pub fn usage(&self) -> u32 {
        self.read().usage
    }

    /// Pages of the limit that cannot be transferred away.
    #[cfg(test)]
    pub fn lower(&self) -> u32 {
        self.lower
    }

    /// Whether `pages` pages could be charged.
    pub fn has(&self, pages: u32) -> bool {
        let Account { limit, usage } = self.read();
        u64::from(usage) + u64::from(pages) <= u64::from(limit)
    }

    /// Charges `pages` pages.
    ///
    /// # Errors
    /// [`QuotaExceeded`] if the usage would go above the limit; nothing is
    /// charged then.
    pub fn charge(&self, pages: u32) -> Result<(), QuotaExceeded> {
        let charged = self.account.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
            let Account { limit, usage } = Account::unpack(word);
            // The new usage is at most the limit, so it stays in its half of the word.
            (limit.wrapping_sub(usage) >= pages).then(|| word + u64::from(pages))
        });
        charged.map(drop).map_err(|_| QuotaExceeded)
    }

    /// Takes a charge of `pages` pages back.
    ///
    /// # Errors
    /// [`NotCharged`] if less than that is in use; nothing changes then.
    pub fn refund(&self, pages: u32) -> Result<(), NotCharged> {
        let refunded = |word| (Account::unpack(word).usage >= pages).then(|| word - u64::from(pages));
        self.account.fetch_update(Ordering::AcqRel, Ordering::Acquire, refunded).map(drop).map_err(|_| NotCharged)
    }

    /// Raises the limit by `pages` pages from nowhere: memory was found.
    ///
    /// # Errors
    /// [`QuotaExceeded`] if the limit would go above 2^32 - 1.
    pub fn endow(&self, pages: u32) -> Result<(), QuotaExceeded> {
        let endowed = |account: Account| Some(Account { limit: account.limit.checked_add(pages)?, ..account });
        self.update(endowed).ok_or(QuotaExceeded)
    }

    fn read(&self) -> Account {
        Account::unpack(self.account.load(Ordering::Acquire))
    }

    /// Replaces the account by what `change` makes of it, in one step; `None`
    /// if it makes nothing of it.
    fn update(&self, mut change: impl FnMut(Account) -> Option<Account>) -> Option<()> {
        let next = |word| change(Account::unpack(word)).map(Account::pack);
        self.account.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).ok().map(drop)
    }
}

/// Moves `pages` pages of limit from one account to another.
///
/// The pages leave the source before they reach the target, so no core sees
/// them twice.
///
/// # Errors
/// [`QuotaExceeded`] if the source has fewer unused transferable pages
/// (`usage + lower + pages > limit`), or if the target's limit would go above
/// 2^32 - 1; both limits are then as before.
pub fn transfer(from: &Quota, to: &Quota, pages: u32) -> Result<(), QuotaExceeded> {
    let taken = from.update(|account| {
        let kept = account.usage.checked_add(from.lower)?;
        let limit = account.limit.checked_sub(pages).filter(|limit| *limit >= kept)?;
        Some(Account { limit, ..account })
    });
    taken.ok_or(QuotaExceeded)?;
    // Cannot fail as long as the sum of all limits is at most the maximum;
    // neither can giving back what was just taken.
    to.endow(pages).or_else(|full| from.endow(pages).and(Err(full)))
}

/// Moves all of the limit from one account, of which nothing is in use, to another; what is in use stays.
pub fn give_all(from: &Quota, to: &Quota) {
    let mut given = 0;
    let taken = from.update(|account| {
        given = account.limit.saturating_sub(account.usage);
        Some(Account { limit: account.usage, ..account })
    });
    // The sum of all limits stays what it was.
    let _ = taken.map(|()| to.endow(given));
}

#[cfg(test)]
mod tests;
