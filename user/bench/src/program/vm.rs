//! Exits of a virtual CPU to a monitor in another domain, and back.
//!
//! Concurrency: the guest, its monitor and the program's thread take turns on one core; the guest has time of its own.
//! Source: interface §6; design plan §6.

use super::enter::guest::{self, Guest, NEXT, OVER};
use super::enter::{self, DOWN, Entry, UP};
use super::ipc::repeated;
use super::operation::{Arguments, Operation, operation};
use super::resources::{DOMAIN, GLOBAL, Resources, create, identify, portal_at, semaphore_at};
use abi::item::ItemFlags;
use abi::operation::{ContextControl, RevokeFlags};
use abi::qpd::Qpd;
use abi::rights::MemoryRights;
use abi::{Crd, Hypercall, Mtd, Request, Rights, Selector, TypedItem};
use bench::line::Refusal;

/// Pages of the kernel's memory for the guest's domain.
const QUOTA: u64 = 64;
/// Order of the number of a virtual CPU's events.
const EVENTS: u32 = 8;
/// An exit that ends a run, on AMD's processors and on Intel's, and the one that a virtual CPU starts with.
const VMMCALL: u64 = 0x81;
const VMCALL: u64 = 18;
const STARTUP: u64 = abi::event::VCPU_STARTUP as u64;
const REGISTERS: Mtd = Mtd::ACDB.union(Mtd::BSD).union(Mtd::RIP_LEN);

/// The operations.
pub const OPERATIONS: &[Operation] = &[
    operation("vmexit_cpuid", |resources| start(resources, Guest::Cpuid, Mtd::RIP_LEN), exits),
    operation("vmexit_hlt", |resources| start(resources, Guest::Halt, Mtd::RIP_LEN), exits),
    operation("vmexit_io", |resources| start(resources, Guest::Port, Mtd::RIP_LEN), exits),
    operation("vmexit_cpuid_gpr", |resources| start(resources, Guest::Cpuid, REGISTERS), exits),
    operation("vmexit_hlt_gpr", |resources| start(resources, Guest::Halt, REGISTERS), exits),
    operation("vmexit_io_gpr", |resources| start(resources, Guest::Port, REGISTERS), exits),
];

/// A virtual CPU in a domain of its own that has run once; its exits take `transfer` along.
fn start(resources: &mut Resources, guest: Guest, transfer: Mtd) -> Result<Arguments, Refusal> {
    let (domain, last) = resources.guest();
    match last {
        // It waits for the same semaphore.
        Some(last) => {
            let range = Crd::objects(Selector::new(last), 2, Rights::ALL).unwrap_or(Crd::NULL);
            create(Hypercall::Revoke, RevokeFlags::SELF.bits(), 0, [range.word(), 0, 0, 0], "revoke")?;
        }
        None => {
            semaphore_at(OVER, 0)?;
            semaphore_at(NEXT, 0)?;
        }
    }
    // Selectors of all events, at a multiple of their number.
    let (handler, portals) = (resources.handler()?, resources.selectors(2 << EVENTS).next_multiple_of(1 << EVENTS));
    create(Hypercall::CreateDomain, 0, domain, [DOMAIN, 0, QUOTA << 32, 0], "create_pd")?;

    let intel = resources.intel();
    let (event, length) = guest.exit(intel);
    portal_at(portals + event, handler, Entry::Skip, transfer)?;
    identify(portals + event, length)?;
    portal_at(portals + STARTUP, handler, Entry::Echo, Mtd::empty())?;
    let over = [DOMAIN, handler, Mtd::RIP_LEN.bits(), guest::over()];
    create(Hypercall::CreatePortal, 0, portals + if intel { VMCALL } else { VMMCALL }, over, "create_pt")?;
    let range = |base| Crd::objects(Selector::new(base), EVENTS, Rights::ALL).unwrap_or(Crd::NULL);
    delegate(resources, domain, TypedItem::delegate(range(portals), ItemFlags::empty(), 0), range(0))?;

    let window = Crd::memory(0, abi::crd::MAX_ORDER, MemoryRights::all()).unwrap_or(Crd::NULL);
    for (address, rights) in [
        (guest.address(intel), MemoryRights::READ | MemoryRights::EXECUTE),
        (guest::count_page(), MemoryRights::READ | MemoryRights::WRITE),
    ] {
        let page = address / abi::address::PAGE_SIZE;
        let memory = Crd::memory(page, 0, rights).unwrap_or(Crd::NULL);
        delegate(resources, domain, TypedItem::delegate(memory, ItemFlags::GUEST, page), window)?;
    }

    let vcpu = domain + 1;
    create(Hypercall::CreateContext, GLOBAL, vcpu, [domain, resources.core(), 0, 0], "create_ec")?;
    guest::write_state(resources.message_page(), guest.address(intel), intel);
    create(Hypercall::ControlContext, ContextControl::SetState as u8, vcpu, [0; 4], "ec_ctrl")?;
    create(Hypercall::CreateScheduling, 0, domain + 2, [DOMAIN, vcpu, Qpd::ROOT.word(), 0], "create_sc")?;
    repeated(enter::repeat_down(enter::control(OVER, DOWN), 1), "sm_ctrl down")?;
    Ok(Arguments::default())
}

fn delegate(resources: &Resources, domain: u64, item: TypedItem, window: Crd) -> Result<(), Refusal> {
    let request = resources.offer(item);
    match enter::hypercall(request, [window.word(), domain, 0, 0]) {
        0 => Ok(()),
        status => Err(Refusal { step: "delegate", status }),
    }
}

/// Lets the guest leave `count` times.
fn exits(_: &mut Arguments, count: u64) -> Result<(), Refusal> {
    if count == 0 {
        return Ok(());
    }
    guest::set_count(count);
    let request = Request::new(Hypercall::ControlSemaphore, UP, Selector::new(NEXT)).word();
    repeated(enter::repeat(request, 0, 1), "sm_ctrl up")?;
    repeated(enter::repeat_down(enter::control(OVER, DOWN), 1), "sm_ctrl down")
}
