//! A domain delegates until its kernel memory is gone.
//!
//! Purpose: what everybody sees then: who delegates gets a status, nobody else notices, and after a revocation all is
//! returned, counted in pages. Nodes of the mapping tree are paid for by who receives, so the domain delegates to itself;
//! and once the root domain delegates to it.
//! Written straight against the interface. Ends with success if every check holds.
//! Concurrency: the program's thread and the domain's server take turns.
// UNSAFETY: code that the kernel enters in another domain.
#![expect(unsafe_code, reason = "entry points in assembly")]
#![no_std]
#![no_main]

use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::hip::ROOT_UTCB_ADDRESS;
use abi::item::ItemFlags;
use abi::{Crd, Hypercall, Rights, Selector, TypedItem};
use demos::raw::{Checks, call, give, hypercall, memory, object, quota, settles};
use rt::{Environment, ExitStatus, println};

mod kinds;

rt::entry!(main);

/// Selectors: this domain; the one that delegates, its server and the portal to that; a bystander.
const SELF: u64 = 32;
const GIVER: u64 = 0x70;
const SERVER: u64 = 0x71;
const SERVE: u64 = 0x72;
const BYSTANDER: u64 = 0x73;
/// The giver's selector of itself.
const OWN: u64 = 1;
/// Its message page, where it has the page that it delegates, and where its delegations lead.
const PAGE: u64 = 0x4000_0000;
const GIVEN: u64 = 0x8000_0000;
const THERE: u64 = 0x1_0000_0000;
/// Kernel memory of the two domains, in pages.
const QUOTA: u64 = 64;
/// Where this domain delegates to them.
const FROM_HERE: u64 = 0x2_0000_0000;
/// Status of a quota that is exhausted.
const EXHAUSTED: u64 = 9;
/// Rounds, each like the first.
const ROUNDS: u64 = 4;

#[repr(align(4096))]
struct Stack {
    _words: [AtomicU64; 1024],
}
static STACK: Stack = Stack { _words: [const { AtomicU64::new(0) }; 1024] };
/// What is delegated.
#[repr(align(4096))]
struct Lent([AtomicU64; 512]);
static LENT: Lent = Lent([const { AtomicU64::new(0) }; 512]);
/// How often the giver delegated with success, and the status that it got then.
static COUNT: AtomicU64 = AtomicU64::new(0);
static STATUS: AtomicU64 = AtomicU64::new(0);

global_asm!("quota_serve:", "call {serve}", "mov edi, 1", "syscall", serve = sym serve);
// SAFETY: defined above; only its address is used.
unsafe extern "C" {
    fn quota_serve();
}

/// In the giver: delegates a page to itself until that fails.
extern "C" fn serve(page: u64) {
    let (count, status) = delegate(page, (OWN, GIVEN), OWN, THERE);
    COUNT.store(count, SeqCst);
    STATUS.store(status, SeqCst);
}

fn lent() -> u64 {
    LENT.0.as_ptr().addr() as u64
}

/// Delegates 2^`order` pages at `from` from domain `source` to `to` of domain `target`.
fn lend(page: u64, (source, from): (u64, u64), order: u32, (target, to): (u64, u64)) -> u64 {
    let item = TypedItem::delegate(memory(from, order), ItemFlags::empty(), to >> 12);
    give(page, source, item, (target, memory(0, 31)))
}

/// The page again and again, to one address after the other: no two of these join. How often, and the status in the end.
fn delegate(page: u64, (source, from): (u64, u64), target: u64, to: u64) -> (u64, u64) {
    let mut count = 0;
    loop {
        match lend(page, (source, from), 0, (target, to + (count << 12))) {
            0 => count += 1,
            status => return (count, status),
        }
    }
}

/// Takes the page from all to whom this domain has given it.
fn take_back() -> u64 {
    hypercall(Hypercall::Revoke, 0, 0, [memory(lent(), 0).word(), 0, 0, 0])
}

/// Creates a domain.
fn domain(at: u64) -> u64 {
    hypercall(Hypercall::CreateDomain, 0, at, [SELF, 0, QUOTA << 32, 0])
}

fn set_up() -> u64 {
    let stack: *const Stack = &raw const STACK;
    let entry = (quota_serve as *const ()).addr() as u64;
    let mut wrong = domain(GIVER) | domain(BYSTANDER);
    wrong |= lend(ROOT_UTCB_ADDRESS, (SELF, 0), 10, (GIVER, 0));
    wrong |= hypercall(Hypercall::CreateContext, 0, SERVER, [GIVER, PAGE, stack.addr() as u64 + 8192, 0x200]);
    wrong |= hypercall(Hypercall::CreatePortal, 0, SERVE, [GIVER, SERVER, 0, entry]);
    wrong |= hypercall(Hypercall::ControlPortal, 0, SERVE, [PAGE, 0, 0, 0]);
    let itself = TypedItem::delegate(object(GIVER), ItemFlags::empty(), 0);
    wrong |= give(ROOT_UTCB_ADDRESS, SELF, itself, (GIVER, object(OWN)));
    // The page goes out of what surrounds it.
    wrong | take_back()
}

/// Takes the objects of [`set_up`] from everybody, the domains with all they have among them.
fn tear_down() -> u64 {
    let range = Crd::objects(Selector::new(GIVER), 2, Rights::ALL).unwrap_or(Crd::NULL);
    hypercall(Hypercall::Revoke, 1, 0, [range.word(), 0, 0, 0])
}

/// Delegates until it fails, by `run`, and takes all back; compared with what has been found in the first round.
fn round(checks: &mut Checks, run: impl Fn() -> (u64, u64), before: [u64; 3], first: &mut Option<[u64; 2]>) {
    let [giver, bystander, own] = before;
    let (count, status) = run();
    let used = quota(GIVER)[1];
    println!("quota: {count} delegations, {used} of {QUOTA} pages");
    checks.check("status", status, EXHAUSTED);
    // What comes next may need a node and a table.
    checks.check("all is used but what is less than needed", u64::from(QUOTA - used <= 1), 1);
    checks.check("as in the first round", u64::from(*first.get_or_insert([count, used]) == [count, used]), 1);
    checks.check("the bystander's pages", quota(BYSTANDER)[1], bystander);
    checks.check("this domain's pages", quota(SELF)[1], own);
    let other = lend(ROOT_UTCB_ADDRESS, (SELF, lent()), 0, (BYSTANDER, FROM_HERE));
    checks.check("the bystander is given something", other, 0);
    checks.check("taken back", take_back(), 0);
    checks.check("all is returned", quota(GIVER)[1], giver);
    checks.check("the bystander's pages", quota(BYSTANDER)[1], bystander);
    checks.check("this domain's pages", quota(SELF)[1], own);
}

/// Rounds in which the giver delegates to itself, or this domain to it.
fn rounds(checks: &mut Checks, run: impl Fn() -> (u64, u64)) {
    let before = [GIVER, BYSTANDER, SELF].map(|domain| quota(domain)[1]);
    let mut first = None;
    (0..ROUNDS).for_each(|_| round(checks, &run, before, &mut first));
}

fn main(environment: &Environment) -> ExitStatus {
    demos::announce("quota", "a domain delegates until its kernel memory is gone");
    let mut checks = Checks::new("quota");
    let (cores, limit) = (environment.hip().enabled_cpus(), quota(SELF)[0]);
    checks.check("once, for what stays", set_up() | tear_down(), 0);
    kinds::run(&mut Checks::new("quota"), cores);
    checks.check("what was given is this domain's again", u64::from(settles(SELF, [limit, u64::MAX])), 1);
    let before = quota(SELF);
    kinds::run(&mut checks, cores);
    checks.check("what was used is this domain's again", u64::from(settles(SELF, before)), 1);
    checks.check("set-up", set_up(), 0);
    rounds(&mut checks, || {
        let given = lend(ROOT_UTCB_ADDRESS, (SELF, lent()), 0, (GIVER, GIVEN));
        let called = call(SERVE) & 0xFF;
        if given | called == 0 { (COUNT.load(SeqCst), STATUS.load(SeqCst)) } else { (0, 0) }
    });
    rounds(&mut checks, || delegate(ROOT_UTCB_ADDRESS, (SELF, lent()), GIVER, FROM_HERE));
    checks.check("the domains end", tear_down(), 0);
    checks.check("all pages are returned", u64::from(settles(SELF, before)), 1);
    println!("quota: {:?} of this domain before and after", before);
    checks.finish()
}
