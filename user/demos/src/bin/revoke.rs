//! Beside a guest: random delegations and revocations on all its cores, round after round, for as long as the machine runs.
//!
//! A program of the root partition. After a few rounds its work counts as done; it goes on, and ends with a failure as soon as
//! something is not as it should be: its pages hold what they held, and the domains cost no more than they did.
//! Concurrency: a thread on each core makes the moves; the first one checks when all are ready.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use abi::{Crd, Hypercall, Rights, Selector, Status, TypedItem};
use demos::churn::moves::{COUNT, Moves};
use demos::raw::{answer, hypercall};
use rt::capability::{Semaphore, Slot, own_domain};
use rt::{ExitStatus, Startup, parent, println, thread, time};

rt::program!(main);

/// Moves of each core in a round; rounds until its work is done; milliseconds between lines.
const STEPS: u64 = 2_000;
const ENOUGH: u64 = 10;
const PAUSE: u64 = 100;
/// Pages of kernel memory for each domain.
const QUOTA: u64 = 256;
/// Milliseconds until memory that was freed has come back.
const PATIENCE: u64 = 60_000;

#[repr(align(0x1_0000))]
struct Pages([[AtomicU64; 512]; 16]);
static PAGES: Pages = Pages([const { [const { AtomicU64::new(0) }; 512] }; 16]);

fn main(startup: &Startup) -> ExitStatus {
    match run(startup) {
        Ok(what) => println!("{}: {what}", startup.name),
        Err(status) => println!("{}: the kernel refuses: {status}", startup.name),
    }
    ExitStatus::FAILURE
}

/// Makes the moves of a round, one after the other.
fn moves(random: &mut u64, places: [u64; 2]) {
    let delegate = |[source, to]: [u64; 2], window: Crd, item: TypedItem| {
        let _ = rt::hypercall::delegate(Selector::new(source), window, Selector::new(to), &[item]);
    };
    let [domains, objects] = places;
    let pages = (&raw const PAGES).addr() as u64 >> 12;
    let moves = Moves { own: own_domain().number(), domains, objects, pages, delegate };
    for _ in 0..STEPS {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        moves.step(*random >> 16);
    }
}

/// Pages of kernel memory that this program uses.
fn usage() -> u64 {
    match answer(Hypercall::ControlDomain, 2, own_domain().number(), [0; 4]) {
        [0, _, usage] => usage,
        _ => u64::MAX,
    }
}

/// Goes on until something is wrong, and says what.
fn run(startup: &Startup) -> Result<&'static str, Status> {
    let (domains, objects) = (Slot::run(2)?, Slot::run(4)?);
    let places = [domains.selector().number(), objects.selector().number()];
    for (index, page) in (1..).zip(&PAGES.0) {
        page.iter().for_each(|word| word.store(index, SeqCst));
    }
    let ready: &'static Semaphore = alloc::boxed::Box::leak(alloc::boxed::Box::new(Semaphore::new(0)?));
    let mut begins: Vec<&'static Semaphore> = Vec::new();
    for core in startup.cores.iter() {
        let begin: &'static Semaphore = alloc::boxed::Box::leak(alloc::boxed::Box::new(Semaphore::new(0)?));
        begins.push(begin);
        thread::spawn(core, move || {
            let mut random = u64::from(core) + 1;
            while begin.down().is_ok() {
                moves(&mut random, places);
                let _ = ready.up();
            }
        })?;
    }
    println!("{}: begins on {} cores", startup.name, begins.len());
    let (mut before, mut next) = (0, time::after(PAUSE));
    for round in 1_u64.. {
        for (base, count, call) in
            [(places[0], COUNT, Hypercall::CreateDomain), (places[1], 16, Hypercall::CreateSemaphore)]
        {
            let argument = if call == Hypercall::CreateDomain { QUOTA << 32 } else { 0 };
            let made = (base..base + count).map(|at| hypercall(call, 0, at, [own_domain().number(), 0, argument, 0]));
            if made.sum::<u64>() != 0 {
                return Ok("a domain or a semaphore cannot be made");
            }
        }
        begins.iter().try_for_each(|begin| begin.up())?;
        begins.iter().try_for_each(|_| ready.down())?;
        // The domains first: what they have is taken by the end of each.
        for (base, order) in [(places[0], 2), (places[1], 4)] {
            let range = Crd::objects(Selector::new(base), order, Rights::ALL).unwrap_or(Crd::NULL);
            if hypercall(Hypercall::Revoke, 1, 0, [range.word(), 0, 0, 0]) != 0 {
                return Ok("what was made cannot be destroyed");
            }
        }
        if (1..).zip(&PAGES.0).any(|(index, page)| page.iter().any(|word| word.load(SeqCst) != index)) {
            return Ok("a page has changed");
        }
        // What stays for good, as tables of the program's spaces, has come with the first rounds.
        let patience = time::after(PATIENCE);
        while round > ENOUGH && usage() > before {
            if time::now() > patience {
                return Ok("kernel memory does not come back");
            }
        }
        if round <= ENOUGH {
            before = before.max(usage());
        }
        if round == ENOUGH {
            parent::done();
        }
        if time::now() > next {
            println!("{}: {} moves, all well", startup.name, round * STEPS * begins.len() as u64);
            next = time::after(PAUSE);
        }
    }
    Ok("the rounds are over")
}
