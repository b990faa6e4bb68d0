//! What the kernel does for a protection domain: faults, ports, user mappings, its objects' storage.
//!
//! Purpose: the steps between an object of the store and the tables of the processor.
//! Invariants: the port bitmap is all ones where no port was delegated; a domain's objects lie in slabs that its
//! account paid for.
//! Concurrency: any core; whoever adds to or takes from tables holds the domain's region (`mapping/lock.rs`); slabs are behind
//! locks.
//! Source: design plan §3; interface §7; lecture D:281-311.
use crate::log::warning;
use crate::tables::{self, Error, HARDWARE};
use crate::{cache, pool, translations, vcpu, views};
use abi::address::PAGE_SIZE;
use abi::counter::Counter;
use abi::operation::Noted;
use abi::{PhysAddr, VirtAddr};
use capability::port;
use capability::tree::Span;
use core::sync::atomic::{Ordering, fence};
use memory::format::{Attributes, Ept, Format, Giant, Host};
use memory::frames::{Order, OutOfMemory, Unshown};
use memory::mmu::Noting;
use memory::quota::Quota;
use memory::shootdown::{Machine, Pages};
use memory::space::{self, Filled};
use memory::table::{Mapping, Supply, Table};
use objects::{Domain, Ref, Store};

/// The two pages that every domain has: directory and views.
///
/// # Errors
/// `quota` or the pool is exhausted.
pub fn pages(quota: &Quota) -> Result<[PhysAddr; 2], OutOfMemory> {
    let directory = pool::page(quota)?;
    // SAFETY: nobody else knows it.
    let give_back = |_: &OutOfMemory| unsafe { pool::release(directory, quota, Unshown) };
    pool::page(quota).map(|views| [directory, views]).inspect_err(give_back)
}

/// Whether the domain may do at `address` what needs `rights`, whatever the core shows. Without the lock: a mapping that
/// comes or goes meanwhile is seen by the next fault.
#[inline]
pub fn allows(domain: &Domain, address: u64, rights: Attributes) -> bool {
    let virt = VirtAddr::new(address);
    virt.is_user() && space::allows(&HARDWARE, &domain.master(), virt, rights)
}

/// Whether the domain certainly has nothing at `address`, with as little effort as that takes. Without the lock, see
/// [`allows`].
#[inline]
pub fn lacks(domain: &Domain, address: u64) -> bool {
    let virt = VirtAddr::new(address);
    !virt.is_user() || space::lacks(&HARDWARE, domain.master(), virt)
}

/// Tries to resolve a page fault of ring 3 at `address` that needed `rights`: true if the access may be retried.
pub fn resolve_fault(store: &Store<'_>, owner: Ref<Domain>, address: u64, rights: Attributes) -> bool {
    let virt = VirtAddr::new(address);
    if !virt.is_user() {
        return false;
    }
    let domain = store.get(owner);
    let master = domain.master();
    // The processor forgets the entry that faulted, so a right that is there now is enough (trap T7). Without one nothing is
    // brought in.
    if !space::allows(&HARDWARE, &master, virt, rights) {
        return false;
    }
    let (page, Ok(view)) = (percpu::this(), views::view(domain)) else { return false };
    let core = (&view, page.local.id.get());
    let filled = space::sync(&HARDWARE, &master, core, virt, &mut cache::source(view.root(), owner));
    match filled {
        Ok(Filled::Copied) => page.shared.count(Counter::ViewFills, 1),
        Ok(Filled::Changed) => translations::Cores.flush(Pages::ALL),
        Ok(_) => {}
        Err(_) if cache::reclaim(store) => return true,
        Err(error) => warning!("no table for a page fault at {virt}: {error:?}"),
    }
    filled.is_ok_and(|filled| filled != Filled::Absent)
}

/// Tries to resolve a #GP of ring 3: true if the core showed a stale port bitmap and the access may be retried.
pub fn resolve_protection(domain: &Domain) -> bool {
    let (bitmap, Ok(view)) = (domain.ports[0].load(Ordering::Acquire), views::view(domain)) else { return false };
    let first = PhysAddr::truncate(bitmap);
    let resolved = arch::vmx::mend_task_register()
        || bitmap != 0 && tables::show_ports(&view, [first, first.offset(PAGE_SIZE)]).unwrap_or(false);
    // Who takes it out from here on finds what was shown; who did before is seen.
    fence(Ordering::SeqCst);
    if domain.ports[0].load(Ordering::Acquire) != bitmap {
        views::hide_ports(&view);
    }
    resolved
}

/// Allows or denies ports, to the domain's threads or its guests. What a core has to do to notice is left to
/// [`resolve_protection`], or to a shootdown.
///
/// # Errors
/// The pool is exhausted.
pub fn set_ports(domain: &Domain, span: Span, allow: bool, guests: bool) -> Result<(), OutOfMemory> {
    let place = &domain.ports[usize::from(guests)];
    if place.load(Ordering::Acquire) == 0 {
        place.store(closed_ports(guests, &domain.quota)?.get(), Ordering::Release);
    }
    let bitmap = PhysAddr::truncate(place.load(Ordering::Acquire));
    for (word, mask) in port::words(span.base, span.count) {
        let page = arch::pool::words(bitmap.offset(word as u64 / 512 * 4096));
        if let Some(word) = page.and_then(|page| page.get(word % 512)) {
            if allow {
                word.fetch_and(!mask, Ordering::Release)
            } else {
                word.fetch_or(mask, Ordering::Release)
            };
        }
    }
    Ok(())
}

/// A bitmap that allows no port, to threads or to guests.
///
/// # Errors
/// The pool is exhausted.
pub fn closed_ports(guests: bool, quota: &Quota) -> Result<PhysAddr, OutOfMemory> {
    let bytes = if guests { 3 * 4096 } else { 2 * 4096 };
    let frame = pool::charged(Order::covering(bytes).unwrap_or(Order::MAX), quota)?;
    // SAFETY: the frame was just handed out to us.
    unsafe { arch::pool::fill(frame.number().0, frame.order().index() as u32, u64::MAX) };
    Ok(pool::address(frame))
}

/// Where the tables of a domain come from, and who pays for them.
pub struct Tables<'d>(pub &'d Domain);

impl Tables<'_> {
    fn known(table: PhysAddr) -> PhysAddr {
        HARDWARE.shared(table).store(0, Ordering::Relaxed);
        table
    }
}

impl Supply for Tables<'_> {
    fn table(&mut self, table: PhysAddr, index: usize) -> Result<PhysAddr, OutOfMemory> {
        pool::table_of(self.0.directory, &self.0.quota, table, index).map(Self::known)
    }

    #[inline(always)]
    fn reserve(&mut self, count: u32) -> Result<(), OutOfMemory> {
        Ok(self.0.quota.charge(count)?)
    }

    fn reserved(&mut self, table: PhysAddr, index: usize) -> Result<PhysAddr, OutOfMemory> {
        pool::charged_table_of(self.0.directory, &self.0.quota, table, index).map(Self::known)
    }

    #[inline(always)]
    fn release(&mut self, count: u32) {
        let _ = self.0.quota.refund(count);
    }
}

/// Maps `size` bytes at `virt` of the domain's master table to `phys`; the domain pays for tables.
///
/// # Errors
/// Occupied, misaligned, or the pool is exhausted.
pub fn map_user(domain: &Domain, virt: u64, phys: PhysAddr, size: u64, rights: Attributes) -> Result<(), Error> {
    let attributes = rights | Attributes::READ | Attributes::USER;
    let mapping = Mapping { virt: VirtAddr::new(virt), phys, size, attributes };
    domain.master().map(&HARDWARE, mapping, &mut Tables(domain))
}

/// The top level of the table of the memory that the domain's guests see, made if missing; its region is held.
fn nested<F: Format>(domain: &Domain) -> Result<Table<F>, OutOfMemory> {
    if domain.nested.load(Ordering::Relaxed) == 0 {
        domain.nested.store(pool::page(&domain.quota)?.get(), Ordering::Release);
    }
    Ok(Table::new(PhysAddr::truncate(domain.nested.load(Ordering::Relaxed))))
}

/// As [`map_user`], in the table of the domain's guests, which is made even if there is nothing to map.
///
/// # Errors
/// As for [`map_user`].
pub fn map_guest(domain: &Domain, virt: u64, phys: PhysAddr, size: u64, rights: Attributes) -> Result<(), Error> {
    let attributes = rights | Attributes::READ | Attributes::USER;
    let mapping = Mapping { virt: VirtAddr::new(virt), phys, size, attributes };
    fn map<F: Format>(domain: &Domain, mapping: Mapping) -> Result<(), Error> {
        nested::<F>(domain)?.map(&HARDWARE, mapping, &mut Tables(domain))
    }
    match (vcpu::uses_ept(), vcpu::has_giant_pages()) {
        (true, true) => map::<Giant<Ept>>(domain, mapping),
        (true, false) => map::<Ept>(domain, mapping),
        (false, true) => map::<Giant<Host>>(domain, mapping),
        (false, false) => map::<Host>(domain, mapping),
    }
}

/// Adds rights to what is mapped at `virt`, or to what guests see there, in place: nobody has to forget anything. False if a
/// larger page is to be divided for it, first.
pub fn raise(domain: &Domain, (virt, size): (u64, u64), rights: Attributes, guests: bool) -> bool {
    let range = (VirtAddr::new(virt), size);
    match (guests, vcpu::uses_ept()) {
        (false, _) => domain.master().raise(&HARDWARE, range, rights),
        (true, true) => nested::<Ept>(domain).is_ok_and(|table| table.raise(&HARDWARE, range, rights)),
        (true, false) => nested::<Host>(domain).is_ok_and(|table| table.raise(&HARDWARE, range, rights)),
    }
}

/// As [`crate::translations::restrict_noting`], in the table of the domain's guests, which forget it when they are next
/// entered.
pub fn restrict_guest(domain: &Domain, (virt, size): (u64, u64), left: Attributes) -> Noted {
    fn restrict<F: Format>(domain: &Domain, range: (VirtAddr, u64), left: Attributes) -> Result<Noted, Error> {
        let noting = Noting::<_, F>::new(&HARDWARE);
        nested::<F>(domain)?.restrict(&noting, range, left, &mut Tables(domain), &mut |_| {})?;
        Ok(noting.noted())
    }
    let range = (VirtAddr::new(virt), size);
    let done =
        if vcpu::uses_ept() { restrict::<Ept>(domain, range, left) } else { restrict::<Host>(domain, range, left) };
    if done.is_err() {
        warning!("no kernel memory to divide a large page of a guest at {virt:#x}");
    }
    // Before it is looked which cores have guests: one that gets its first later finds the table as it is now.
    domain.lost.fetch_add(1, Ordering::SeqCst);
    // Without memory it is gone, whatever was noted.
    done.unwrap_or(Noted::all())
}
