//! `create_pd`, `create_ec`, `create_sc`, `create_pt` and `pt_ctrl`: parameters, permission bits, quota.
#![no_std]
#![no_main]

use abi::Hypercall::{
    self, ControlPortal, CreateContext, CreateDomain, CreatePortal, CreateScheduling, CreateSemaphore,
};
use abi::Status::{BadCapability, BadCpu, BadFeature, BadParameter, QuotaExhausted, Success};
use abi::{Crd, Status, USER_LIMIT};
use conformance::Report;
use conformance::sys::{EMPTY, ROOT, ROOT_EC, ROOT_SC, Registers, down, hypercall, objects, revoke, up};
use conformance::world::{World, drain};
use rt::{Environment, ExitStatus};

rt::entry!(main);

fn main(environment: &Environment) -> ExitStatus {
    let mut report = Report::new("create", environment);
    report.group("domains", domains);
    report.group("contexts", contexts);
    report.group("scheduling contexts", scheduling);
    report.group("portals", portals);
    report.group("identities", identities);
    report.group("permissions", permissions);
    report.group("quota", quota);
    report.finish()
}

const QUANTUM: u64 = 10_000 << 12;

fn domain(at: u64, donor: u64, given: Crd, limits: u64) -> Registers {
    hypercall(CreateDomain, 0, at, [donor, given.word(), limits, 0])
}

fn context(at: u64, flags: u8, domain: u64, place: u64) -> Registers {
    hypercall(CreateContext, flags, at, [domain, place, 0, 0x800])
}

fn portal(at: u64, domain: u64, context: u64, entry: u64) -> Registers {
    hypercall(CreatePortal, 0, at, [domain, context, 0, entry])
}

fn run(at: u64, domain: u64, context: u64, word: u64) -> Registers {
    hypercall(CreateScheduling, 0, at, [domain, context, word, 0])
}

fn domains(t: &mut Report, world: &mut World) {
    let at = world.block();
    let semaphore = world.semaphore(0);
    let limits = 32 << 32 | 2;
    t.status(CreateDomain, "plain", Success, "plain", domain(at, ROOT, Crd::NULL, limits));
    t.status(CreateDomain, "plain", BadCapability, "selector in use", domain(at, ROOT, Crd::NULL, limits));
    t.status(CreateDomain, "plain", BadCapability, "donor is nothing", domain(at + 1, EMPTY, Crd::NULL, limits));
    t.status(CreateDomain, "plain", BadCapability, "donor is a context", domain(at + 1, ROOT_EC, Crd::NULL, limits));
    t.status(CreateDomain, "plain", BadParameter, "lower above upper", domain(at + 1, ROOT, Crd::NULL, 2 << 32 | 3));
    // What it is made with lies from selector 0 on.
    let given = domain(at + 1, ROOT, objects(semaphore, 0, 0x1F), 256 << 32 | 2);
    t.status(CreateDomain, "plain", Success, "with a capability", given);
    let back = revoke(3, objects(0, 0, 0x1F), at + 1);
    t.status(Hypercall::Revoke, "remote", Success, "what it was made with", back);
    t.status(Hypercall::ControlSemaphore, "up", Success, "which the maker has still", up(semaphore));
    // A capability has the permissions of the donor's.
    world.hand(ROOT, 0x05, ROOT, at + 2);
    t.status(CreateDomain, "plain", Success, "donor of few permissions", domain(at + 3, at + 2, Crd::NULL, limits));
    let found = hypercall(CreateSemaphore, 0, at + 4, [at + 3, 0, 0, 0]);
    t.status(CreateSemaphore, "plain", BadCapability, "permissions are those of the donor", found);
    let found = domain(at + 5, at + 3, Crd::NULL, 0);
    t.holds("a domain of the domain's quota", found.status() == 0 || found.status() == 9);
}

fn contexts(t: &mut Report, world: &mut World) {
    let (at, page) = (world.block(), world.page());
    t.status(CreateContext, "thread", Success, "local", context(at, 0, ROOT, page));
    t.status(CreateContext, "thread", BadCapability, "selector in use", context(at, 0, ROOT, world.page()));
    t.status(CreateContext, "thread", BadCapability, "in nothing", context(at + 2, 0, EMPTY, world.page()));
    t.status(CreateContext, "thread", BadCapability, "in a context", context(at + 2, 0, ROOT_EC, world.page()));
    t.status(CreateContext, "thread", BadParameter, "page at the limit", context(at + 2, 0, ROOT, USER_LIMIT));
    t.status(CreateContext, "thread", BadParameter, "page far beyond", context(at + 2, 0, ROOT, 1 << 63));
    t.status(CreateContext, "thread", BadCpu, "absent core", context(at + 2, 0, ROOT, world.page() | 0xFFF));
    t.status(CreateContext, "thread", BadCpu, "first absent core", context(at + 2, 0, ROOT, world.page() | 255));
    t.status(CreateContext, "thread", Success, "global", context(at + 2, 1, ROOT, world.page()));
    let last = context(at + 4, 0, ROOT, world.page() | (t.machine.cores as u64 - 1));
    t.status(CreateContext, "thread", Success, "on the last core", last);
    if t.machine.virtual_cpus {
        t.status(CreateContext, "virtual", Success, "global", context(at + 6, 1, ROOT, 0));
        t.status(CreateContext, "virtual", BadCapability, "in nothing", context(at + 8, 1, EMPTY, 0));
        t.status(CreateContext, "virtual", BadCpu, "absent core", context(at + 8, 1, ROOT, 0xFFF));
    } else {
        t.status(CreateContext, "virtual", BadFeature, "no hardware for it", context(at + 6, 1, ROOT, 0));
    }
}

fn scheduling(t: &mut Report, world: &mut World) {
    let at = world.block();
    let server = world.server(ROOT, 0);
    let idle = world.prepared(ROOT, 0).context();
    for (word, what) in [(QUANTUM, "priority 0"), (QUANTUM | 128, "priority 128"), (1, "no quantum")] {
        t.status(CreateScheduling, "plain", BadParameter, what, run(at, ROOT, idle, word));
    }
    t.status(CreateScheduling, "plain", BadCapability, "local context", run(at, ROOT, server.context, QUANTUM | 1));
    t.status(CreateScheduling, "plain", BadCapability, "no context", run(at, ROOT, ROOT, QUANTUM | 1));
    t.status(CreateScheduling, "plain", BadCapability, "in nothing", run(at, EMPTY, idle, QUANTUM | 1));
    t.status(CreateScheduling, "plain", BadCapability, "selector in use", run(ROOT_SC, ROOT, idle, QUANTUM | 1));
    for rights in [0x0B_u8, 0x1F] {
        let weak = at + 16 + u64::from(rights);
        world.hand(idle, rights, ROOT, weak);
        let expected = if rights & 4 == 0 { BadCapability } else { Success };
        t.status(
            CreateScheduling,
            "plain",
            expected,
            "permission bit 2 of the context",
            run(at, ROOT, weak, QUANTUM | 2),
        );
    }
    for priority in [1, 127] {
        let thread = world.prepared(ROOT, t.machine.cores.min(4) - 1);
        let found = run(thread.scheduling(), ROOT, thread.context(), QUANTUM | priority);
        t.status(CreateScheduling, "plain", Success, "lowest and highest priority", found);
        let semaphore = world.semaphore(0);
        let upped = thread.does(Registers::new(Hypercall::ControlSemaphore, 0, semaphore, [0; 4]));
        t.status(Hypercall::ControlSemaphore, "up", Success, "by the new thread", upped);
        t.status(Hypercall::ControlSemaphore, "down", Success, "which has run", down(semaphore, 1));
    }
}

fn portals(t: &mut Report, world: &mut World) {
    let at = world.block();
    let server = world.server(ROOT, 0);
    let global = world.prepared(ROOT, 0).context();
    t.status(CreatePortal, "plain", Success, "plain", portal(at, ROOT, server.context, 0x1000));
    t.status(CreatePortal, "plain", BadCapability, "selector in use", portal(at, ROOT, server.context, 0x1000));
    t.status(CreatePortal, "plain", BadCapability, "global context", portal(at + 1, ROOT, global, 0x1000));
    t.status(CreatePortal, "plain", BadCapability, "no context", portal(at + 1, ROOT, ROOT, 0x1000));
    t.status(CreatePortal, "plain", BadCapability, "in nothing", portal(at + 1, EMPTY, server.context, 0x1000));
    for (entry, what) in [(USER_LIMIT, "entry at the limit"), (1 << 63, "entry far beyond"), (u64::MAX, "last entry")] {
        t.status(CreatePortal, "plain", BadParameter, what, portal(at + 1, ROOT, server.context, entry));
    }
    for rights in [0x17_u8, 0x1F] {
        let weak = at + 16 + u64::from(rights & 8);
        world.hand(server.context, rights, ROOT, weak);
        let expected = if rights & 8 == 0 { BadCapability } else { Success };
        t.status(
            CreatePortal,
            "plain",
            expected,
            "permission bit 3 of the context",
            portal(at + 1, ROOT, weak, 0x1000),
        );
    }
}

fn identities(t: &mut Report, world: &mut World) {
    let at = world.block();
    let server = world.server(ROOT, 0);
    let name = |portal| hypercall(ControlPortal, 0, portal, [0, 0, 0, 0]);
    t.status(ControlPortal, "plain", BadCapability, "a context", name(server.context));
    t.status(ControlPortal, "plain", BadCapability, "nothing", name(EMPTY));
    for rights in 1..32_u8 {
        world.hand(server.portal, rights, ROOT, at + u64::from(rights));
        let expected = if rights & 1 == 0 { BadCapability } else { Success };
        t.status(ControlPortal, "plain", expected, "permission bit 0", name(at + u64::from(rights)));
    }
}

/// Which hypercall needs which permission of a domain, bit by bit, from a domain that has only this capability.
fn permissions(t: &mut Report, world: &mut World) {
    let other = world.domain(512);
    let thread = world.thread(other, 0, 2);
    let local = world.server(ROOT, 0).context;
    let global = world.prepared(ROOT, 0).context();
    let (own, made) = (0x3000, 0x3100);
    world.hand(local, 0x1F, other, own);
    world.hand(global, 0x1F, other, own + 1);
    for bit in 0..5_u8 {
        for rights in [1 << bit, 0x1F & !(1 << bit)] {
            let key = own + 8 + 2 * u64::from(bit) + u64::from(rights == 1 << bit);
            world.hand(other, rights, other, key);
            let page = world.page();
            let (call, form, arguments) = match bit {
                0 => (CreateDomain, "plain", [key, 0, 0, 0]),
                1 => (CreateContext, "thread", [key, page, 0, 0x800]),
                2 => (CreateScheduling, "plain", [key, own + 1, QUANTUM | 1, 0]),
                3 => (CreatePortal, "plain", [key, own, 0, 0x1000]),
                _ => (CreateSemaphore, "plain", [key, 0, 0, 0]),
            };
            let found = thread.does(Registers::new(call, 0, made + 4 * u64::from(bit), arguments));
            let expected = if rights & 1 << bit != 0 { Success } else { BadCapability };
            t.status(call, form, expected, "permission of the domain", found);
        }
    }
    for at in (made..made + 32).step_by(4) {
        revoke(3, objects(at, 2, 0x1F), other);
    }
}

fn quota(t: &mut Report, world: &mut World) {
    let (poor, at) = (world.bounded_domain(0, 256), world.block());
    let local = world.server(ROOT, 0).context;
    let global = world.prepared(ROOT, 0).context();
    let semaphore = world.semaphore(0);
    let exhausted = |t: &mut Report, call: Hypercall, form, expected: Status, found| {
        t.status(call, form, expected, "the domain's quota is used up", found);
    };
    drain(poor, 0);
    exhausted(t, CreateDomain, "plain", QuotaExhausted, domain(at, poor, Crd::NULL, 0));
    exhausted(t, CreateScheduling, "plain", QuotaExhausted, run(at, poor, global, QUANTUM | 1));
    exhausted(t, CreatePortal, "plain", QuotaExhausted, portal(at, poor, local, 0x1000));
    let plain = hypercall(CreateSemaphore, 0, at, [poor, 0, 0, 0]);
    exhausted(t, CreateSemaphore, "plain", QuotaExhausted, plain);
    let signal = hypercall(CreateSemaphore, 0, at, [poor, 1, semaphore, 0]);
    exhausted(t, CreateSemaphore, "signal", QuotaExhausted, signal);
    exhausted(t, CreateContext, "thread", QuotaExhausted, context(at, 0, poor, world.page()));
    if t.machine.virtual_cpus {
        exhausted(t, CreateContext, "virtual", QuotaExhausted, context(at, 1, poor, 0));
    }
    // A context needs seven pages, whoever has six has none.
    drain(poor, 6);
    hypercall(Hypercall::ControlDomain, 0, ROOT, [poor, 6, 0, 0]);
    exhausted(t, CreateContext, "thread", QuotaExhausted, context(at, 0, poor, world.page()));
    hypercall(Hypercall::ControlDomain, 0, ROOT, [poor, 64, 0, 0]);
    exhausted(t, CreateContext, "thread", Success, context(at, 0, poor, world.page()));
}
