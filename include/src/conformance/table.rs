//! The rows. One line each, by hypercall, form and status.
//!
//! Invariants: see [`super`]; the tests there hold them.
//! Concurrency: constants.
//! Source: classic interface, "Hypercalls" and "Kernel memory quota and OOM portal".
use super::Reach::{Always, Cores, Iommu, Never, NotVirtual, Virtual, VirtualCores};
use super::{Reach, Triple};
use crate::Hypercall::{
    AssignInterrupt, AssignPci, Call, ControlContext, ControlDomain, ControlPortal, ControlScheduling,
    ControlSemaphore, CreateContext, CreateDomain, CreatePortal, CreateScheduling, CreateSemaphore, Misc, Reply,
    Revoke,
};
use crate::Status::{
    Aborted, BadCapability, BadCpu, BadDevice, BadFeature, BadHypercall, BadParameter, QuotaExhausted, Success, Timeout,
};
use crate::{Hypercall, Status};

const fn row(hypercall: Hypercall, form: &'static str, status: Status, reach: Reach, reason: &'static str) -> Triple {
    Triple { hypercall, form, status, reach, reason }
}

/// No hypercall that costs nothing is refused for want of quota.
const FREE: &str = "needs no kernel memory, so an exhausted quota does not stop it";

/// Every status of every form of every hypercall.
#[rustfmt::skip]
pub const TRIPLES: &[Triple] = &[
    row(Call, "plain", Success, Always, "the callee replied; the register stays as it was"),
    row(Call, "plain", Timeout, Always, "the callee is dead"),
    row(Call, "plain", Aborted, Always, "the callee died while it served"),
    row(Call, "plain", BadHypercall, Never, "all sixteen numbers are defined"),
    row(Call, "plain", BadCapability, Always, "the selector names no portal"),
    row(Call, "plain", BadParameter, Never, "a call across cores needs no helper that could be lacking"),
    row(Call, "plain", BadCpu, Cores, "the callee is on another core and the capability lacks bit 4"),
    row(Call, "plain", QuotaExhausted, Never, "needs no page, and usage never exceeds the limit"),
    row(Call, "no-block", Success, Always, "the callee was free"),
    row(Call, "no-block", Timeout, Always, "the callee is busy"),
    row(Call, "no-block", BadCapability, Always, "the selector names no portal"),

    row(Reply, "plain", Success, Always, "the caller goes on with the answer"),
    row(Reply, "semaphore", Success, Always, "the caller waits on the semaphore, then its call is made again"),

    row(CreateDomain, "plain", Success, Always, "the domain exists"),
    row(CreateDomain, "plain", BadCapability, Always, "no domain, no permission bit 0, or the selector is in use"),
    row(CreateDomain, "plain", BadParameter, Always, "lower limit above the upper one"),
    row(CreateDomain, "plain", QuotaExhausted, Always, "the donor has no free page"),

    row(CreateContext, "thread", Success, Always, "the context exists"),
    row(CreateContext, "thread", BadCapability, Always, "no domain, no permission bit 1, or the selector is in use"),
    row(CreateContext, "thread", BadParameter, Always, "message page beyond the user range"),
    row(CreateContext, "thread", BadCpu, Always, "the core does not run"),
    row(CreateContext, "thread", QuotaExhausted, Always, "the domain has fewer than seven free pages"),
    row(CreateContext, "virtual", Success, Virtual, "the virtual CPU exists"),
    row(CreateContext, "virtual", BadCapability, Virtual, "no domain, no permission bit 1, or the selector is in use"),
    row(CreateContext, "virtual", BadFeature, NotVirtual, "the machine has no virtual CPUs"),
    row(CreateContext, "virtual", BadCpu, Virtual, "the core does not run"),
    row(CreateContext, "virtual", QuotaExhausted, Virtual, "the domain has fewer than seven free pages"),

    row(CreateScheduling, "plain", Success, Always, "the context runs"),
    row(CreateScheduling, "plain", BadCapability, Always, "no permission bit 2, no global context, selector in use"),
    row(CreateScheduling, "plain", BadParameter, Always, "priority 0, priority above 127, or no quantum"),
    row(CreateScheduling, "plain", QuotaExhausted, Always, "the domain has fewer than two free pages"),

    row(CreatePortal, "plain", Success, Always, "the portal exists"),
    row(CreatePortal, "plain", BadCapability, Always, "no permission bit 3, no local context, selector in use"),
    row(CreatePortal, "plain", BadParameter, Always, "entry beyond the user range"),
    row(CreatePortal, "plain", QuotaExhausted, Always, "the domain has fewer than two free pages"),

    row(CreateSemaphore, "plain", Success, Always, "the semaphore exists"),
    row(CreateSemaphore, "plain", BadCapability, Always, "no domain, no permission bit 4, or the selector is in use"),
    row(CreateSemaphore, "plain", QuotaExhausted, Always, "the domain has no free page"),
    row(CreateSemaphore, "signal", Success, Always, "the signal exists"),
    row(CreateSemaphore, "signal", BadCapability, Always, "what it is to be chained to is no plain semaphore"),
    row(CreateSemaphore, "signal", QuotaExhausted, Always, "the domain has no free page"),

    row(Revoke, "local", Success, Always, "what was derived is gone"),
    row(Revoke, "self", Success, Always, "the mapping itself is gone too"),
    row(Revoke, "remote", Success, Always, "gone from another domain"),
    row(Revoke, "remote", BadCapability, Always, "the third argument names no domain"),
    row(Revoke, "keep", Success, Always, "the mapping is gone, what was derived is not"),
    row(Revoke, "report", Success, Always, "what was noted of the memory that went"),
    row(Revoke, "notify", Success, Always, "the semaphore is upped when the memory is back"),

    row(Misc, "lookup", Success, Always, "the mapping, or null if there is none"),
    row(Misc, "delegate", Success, Always, "what exists and fits has been delegated"),
    row(Misc, "delegate", BadCapability, Always, "source or destination is no domain"),
    row(Misc, "delegate", QuotaExhausted, Always, "the quota of the destination is used up"),
    row(Misc, "suspend", Success, Never, "ends the run: nothing wakes the machine"),
    row(Misc, "suspend", BadCapability, Always, "the capability is not the one for suspending"),
    row(Misc, "suspend", BadParameter, Always, "the machine did not fall asleep"),
    row(Misc, "count", Success, Always, "the counter of the core"),
    row(Misc, "count", BadCapability, Always, "the caller is not the root domain"),
    row(Misc, "count", BadParameter, Always, "no such counter"),
    row(Misc, "count", BadCpu, Always, "the core does not run"),
    row(Misc, "evidence", Success, Always, "what is noted of the pages"),
    row(Misc, "evidence", BadCapability, Always, "no domain"),
    row(Misc, "evidence", BadParameter, Always, "no memory, or too much"),
    row(Misc, "later", Success, Always, "memory is taken; the semaphore is upped when nobody uses it"),
    row(Misc, "later", BadCapability, Always, "no semaphore, no permission bit 0, or no domain"),
    row(Misc, "later", BadParameter, Always, "no memory, or a flag that has no meaning"),
    row(Misc, "free", BadParameter, Always, "no such sub-operation"),

    row(ControlContext, "recall", Success, Always, "the recall is pending, or the state is there"),
    row(ControlContext, "recall", Timeout, Cores, "the state of a context that runs on another core"),
    row(ControlContext, "recall", BadCapability, Always, "no context, or no permission bit 0"),
    row(ControlContext, "yield", Success, Always, "others of the priority had their turn"),
    row(ControlContext, "donate", Success, Always, "the other context had the time"),
    row(ControlContext, "donate", BadCapability, Always, "the selector names no context"),
    row(ControlContext, "donate", BadParameter, Always, "blocked, serving, of another domain, or its word differs"),
    row(ControlContext, "donate", BadCpu, Cores, "the other context is on another core"),
    row(ControlContext, "reschedule", Success, Always, "the most urgent context runs"),
    row(ControlContext, "migrate", Success, Cores, "the thread goes on at another core"),
    row(ControlContext, "migrate", BadCapability, Always, "the selector names no context"),
    row(ControlContext, "migrate", BadParameter, Always, "the thread is not blocked on the caller"),
    row(ControlContext, "time", Success, Always, "the run time of the context"),
    row(ControlContext, "time", BadCapability, Always, "the selector names no context"),
    row(ControlContext, "get-state", Success, Virtual, "the state is in the message page"),
    row(ControlContext, "get-state", BadCapability, Always, "no virtual CPU, or no permission bit 0"),
    row(ControlContext, "get-state", BadCpu, VirtualCores, "the virtual CPU is on another core"),
    row(ControlContext, "set-state", Success, Virtual, "the state is that of the message page"),
    row(ControlContext, "set-state", BadCapability, Always, "no virtual CPU, or no permission bit 0"),
    row(ControlContext, "set-state", BadCpu, VirtualCores, "the virtual CPU is on another core"),
    row(ControlContext, "msr", Success, Always, "the bit map says which accesses were made"),
    row(ControlContext, "msr", BadCapability, Always, "the capability is not the one for these registers"),
    row(ControlContext, "free", BadParameter, Always, "no such operation"),

    row(ControlScheduling, "time", Success, Always, "the run time of the scheduling context"),
    row(ControlScheduling, "time", BadCapability, Always, "no scheduling context, or no permission bit 0"),
    row(ControlScheduling, "cross", Success, Always, "the time of calls from other cores"),
    row(ControlScheduling, "cross", BadCapability, Always, "no scheduling context, or no permission bit 0"),
    row(ControlScheduling, "killed", Success, Always, "the time of scheduling contexts that are gone"),
    row(ControlScheduling, "killed", BadCapability, Always, "no scheduling context, or no permission bit 0"),
    row(ControlScheduling, "both", Success, Always, "the times of a scheduling and of an execution context"),
    row(ControlScheduling, "both", BadCapability, Always, "one of the selectors is wrong, or no permission bit 0"),

    row(ControlPortal, "plain", Success, Always, "calls deliver the new identity"),
    row(ControlPortal, "plain", BadCapability, Always, "no portal, or no permission bit 0"),

    row(ControlSemaphore, "up", Success, Always, "a waiter goes on, or the counter grows"),
    row(ControlSemaphore, "up", BadCapability, Always, "no semaphore, or no permission bit 0"),
    row(ControlSemaphore, "up", QuotaExhausted, Never, FREE),
    row(ControlSemaphore, "down", Success, Always, "the counter was above zero, or somebody upped"),
    row(ControlSemaphore, "down", Timeout, Always, "the deadline passed"),
    row(ControlSemaphore, "down", BadCapability, Always, "no semaphore, a signal, no permission bit 1, or it is gone"),
    row(ControlSemaphore, "down", QuotaExhausted, Never, FREE),
    row(ControlSemaphore, "zero", Success, Always, "the counter was above zero, or somebody upped; it is zero"),
    row(ControlSemaphore, "zero", Timeout, Always, "the deadline passed"),
    row(ControlSemaphore, "zero", BadCapability, Always, "no semaphore, a signal, no permission bit 1, or it is gone"),

    row(AssignPci, "plain", Success, Iommu, "the device uses the memory of the domain"),
    row(AssignPci, "plain", BadCapability, Always, "the selector names no domain"),
    row(AssignPci, "plain", BadDevice, Always, "no page, no device, or no IOMMU"),
    row(AssignPci, "plain", QuotaExhausted, Iommu, "the domain has fewer than four free pages"),

    row(AssignInterrupt, "pin", Success, Always, "the interrupt goes to the core"),
    row(AssignInterrupt, "pin", BadCapability, Always, "no semaphore of an interrupt"),
    row(AssignInterrupt, "pin", BadCpu, Always, "the core does not run"),
    row(AssignInterrupt, "pin", BadDevice, Always, "the pin exists and there is a device address"),
    row(AssignInterrupt, "message", Success, Always, "address and data for the device"),
    row(AssignInterrupt, "message", BadDevice, Always, "the address is that of no device"),
    row(AssignInterrupt, "chain", Success, Always, "the interrupt ups the other semaphore"),
    row(AssignInterrupt, "chain", BadCapability, Always, "the target is no semaphore of a program"),
    row(AssignInterrupt, "unchain", Success, Always, "the interrupt ups its own semaphore again"),

    row(ControlDomain, "transfer", Success, Always, "the pages belong to the other domain"),
    row(ControlDomain, "transfer", BadCapability, Always, "one of the selectors names no domain"),
    row(ControlDomain, "transfer", BadParameter, Always, "the source has too few pages to give"),
    row(ControlDomain, "debug", Success, Always, "limit and usage in pages"),
    row(ControlDomain, "debug", BadCapability, Always, "the selector names no domain"),
];
