//! The machine: handles the exits of its virtual processors.
//!
//! Each exit comes with the part of the state that its portal names, and leaves with the part that changed. Exits that
//! concern the processor alone (CPUID, its local APIC, HLT) take no lock that others hold; devices are under one lock.
//! Invariants: nothing that a guest does makes it panic; a guest that does what no machine knows ends with a reason.
//! Concurrency: one thread per virtual processor, and one for time and input.
//! Source: see the modules that decode exits, instructions and registers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use rt::message::Words;
use vm_lapic::{Delivery, Destination, Effect, Message};
use vm_memory::Memory;
use vm_power::Outcome;

use crate::clock::Clock;
use crate::count;
use crate::cpu::{Cpu, Mode, Phase, Private};
use crate::cpuid::{self, Topology};
use crate::devices::{Access, Devices, Event, Sink};
pub use crate::end::{End, Place};
use crate::exit::{Backend, Exit, PortAccess, memory_access};
use crate::instruction;
use crate::state::{INTERRUPTS_ON, NMI_WINDOW, State, VALID, WINDOW, WINDOWS};
use crate::string::{self, Ports as _};
use crate::sync::Mutex;
use crate::{msr, start};

mod restart;
mod window;

use window::Window;

/// Exceptions that are injected.
const UNDEFINED: u8 = 6;
const PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
const CR4_OSXSAVE: u64 = 1 << 18;
/// VMX's number of accesses to control registers.
const CONTROL_REGISTER: u8 = 28;

/// What the machine needs of the world it is in.
pub trait Host: Sync {
    /// The time-stamp counter, which the guest sees too.
    fn now(&self) -> u64;
    /// What the processor's CPUID says.
    fn cpuid(&self, leaf: u32, subleaf: u32) -> cpuid::Leaf;
    /// Makes processor `cpu` leave the guest soon.
    fn recall(&self, cpu: usize);
    /// Wakes the thread of processor `cpu`, which waits.
    fn wake(&self, cpu: usize);
    /// Processor `cpu` has something to do when the counter reads `deadline`, even if it runs; `u64::MAX` for never.
    fn set_timer(&self, cpu: usize, deadline: u64);
    /// The devices have something to do then.
    fn set_device_timer(&self, deadline: u64);
    /// The guest printed this.
    fn print(&self, byte: u8);
}

/// What a processor's thread does after an exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Runs the guest.
    Resume,
    /// Waits to be woken, at most until the counter reads this, then calls [`Machine::resume`].
    Wait(u64),
    /// Nothing any more.
    End(End),
}

/// A machine.
pub struct Machine<M, H> {
    memory: M,
    host: H,
    backend: Backend,
    cpus: Vec<Cpu>,
    devices: Mutex<Devices>,
    ended: Mutex<Option<End>>,
    has_ended: AtomicBool,
    /// The counter when the machine started, and its ticks per millisecond.
    start: u64,
    khz: u64,
    clock: Clock,
    boot: start::Boot,
}

/// What a machine is made of.
pub struct Parts<M, H> {
    /// The guest's memory, with the guest in it.
    pub memory: M,
    /// The world.
    pub host: H,
    /// What virtualises the processor.
    pub backend: Backend,
    /// How many processors.
    pub cpus: u32,
    /// The devices.
    pub devices: Devices,
    /// Ticks of the time-stamp counter per millisecond.
    pub tsc_khz: u32,
    /// How the boot processor starts.
    pub boot: start::Boot,
}

impl<M: Memory, H: Host> Machine<M, H> {
    /// A machine that has not started.
    #[must_use]
    pub fn new(parts: Parts<M, H>) -> Self {
        let Parts { memory, host, backend, cpus, devices, tsc_khz, boot } = parts;
        let (start, khz) = (host.now(), u64::from(tsc_khz).max(1));
        let clock = Clock { start, khz, date: devices.date() };
        Self {
            memory,
            host,
            backend,
            cpus: (0..cpus.clamp(1, 64)).map(Cpu::new).collect(),
            devices: Mutex::new(devices),
            ended: Mutex::new(None),
            has_ended: AtomicBool::new(false),
            start,
            khz,
            clock,
            boot,
        }
    }

    /// Its memory.
    pub const fn memory(&self) -> &M {
        &self.memory
    }

    /// The world it is in.
    pub const fn host(&self) -> &H {
        &self.host
    }

    /// Its processors.
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// Gives a byte to the guest's console: to the virtio one if `preferred`, else to the serial port.
    pub fn input(&self, byte: u8, preferred: bool) {
        let access = self.access();
        self.devices.lock().input(byte, preferred, &access);
    }

    /// Writes the guest's memory; whether it has all of it.
    pub fn write_memory(&self, address: u64, bytes: &[u8]) -> bool {
        self.memory.write(address, bytes)
    }

    /// Lets the devices do what is due; when that is again the case, or `u64::MAX`.
    pub fn poll_devices(&self) -> u64 {
        let mut devices = self.devices.lock();
        let access = self.access();
        devices.poll(&access);
        devices.deadline(access.now).map_or(u64::MAX, |due| self.ticks(due))
    }

    /// The timer of a processor that runs may be due: makes it look.
    pub fn expire(&self, cpu: usize) {
        self.kick(cpu);
    }

    /// Handles an exit of processor `cpu` and says what its thread does next.
    pub fn exit<W: Words>(&self, cpu: usize, exit: Exit, state: &mut State<'_, W>) -> Action {
        let Some(this) = self.cpus.get(cpu) else { return Action::End(End::Stopped) };
        let number = match exit {
            Exit::Port => PortAccess::new(self.backend, state.qualification()).port.into(),
            Exit::Msr(_) => state.rcx() as u32,
            _ => 0,
        };
        this.count_exit(exit.kind(number));
        if exit == Exit::Cpuid {
            // Brings no interrupt and takes none.
            self.cpuid(cpu as u32, state);
            state.finish();
            return Action::Resume;
        }
        this.set_mode(Mode::Handling);
        let mut private = this.private();
        if let Some(address) = private.lapic.offered() {
            let word = self.memory.read_u32(address).unwrap_or(1);
            private.lapic.found(&this.shared, word);
        }
        match exit {
            Exit::Cpuid => {}
            Exit::Startup => {}
            Exit::Recall | Exit::Window => private.window &= exit != Exit::Window,
            Exit::Init => {}
            Exit::Halt => {
                state.skip(length(state, 1));
                private.phase = Phase::Halted;
            }
            Exit::Port => self.port(state),
            Exit::Msr(write) => self.msr(this, &mut private, write, state),
            Exit::Memory => self.memory_access(this, &mut private, state),
            Exit::Undefined => state.inject_exception(UNDEFINED, None),
            Exit::SetXcr => self.set_xcr(state),
            Exit::Priority => self.priority(cpu, &mut private, state),
            Exit::Counter => state.inject_exception(PROTECTION, Some(0)),
            Exit::Cache(bytes) => state.skip(length(state, bytes)),
            Exit::TripleFault => self.stop(End::TripleFault(Place::new(cpu, state))),
            Exit::Invalid => self.stop(End::Invalid(Place::new(cpu, state))),
            Exit::Other(index) => self.stop(End::Unknown(index, Place::new(cpu, state))),
        }
        self.settle(this, &mut private, exit, state)
    }

    /// Goes on with a processor that has waited.
    pub fn resume<W: Words>(&self, cpu: usize, state: &mut State<'_, W>) -> Action {
        let Some(this) = self.cpus.get(cpu) else { return Action::End(End::Stopped) };
        this.set_mode(Mode::Handling);
        self.settle(this, &mut this.private(), Exit::Recall, state)
    }

    /// Delivers what waits for a processor and says what its thread does next.
    fn settle<W: Words>(&self, this: &Cpu, private: &mut Private, exit: Exit, state: &mut State<'_, W>) -> Action {
        if core::mem::take(&mut private.fresh) && private.phase == Phase::On {
            self.boot.load(state, self.backend);
        }
        // What was being delivered when the guest was left has to be delivered again; at a recall it still waits.
        if state.injection() & VALID != 0 {
            let event = if state.is_raised_again() { 0 } else { state.injection() & !WINDOWS };
            state.set_injection(event);
        }
        loop {
            if let Some(end) = self.end() {
                this.set_mode(Mode::Ended);
                return Action::End(end);
            }
            match this.shared.take_start() {
                Some(None) => {
                    private.lapic.init(&this.shared);
                    (private.phase, private.window) = (Phase::Off, false);
                }
                Some(Some(page)) if private.phase == Phase::Off => {
                    start::load_page(state, self.backend, page);
                    private.phase = Phase::On;
                }
                _ => {}
            }
            let now = self.host.now();
            if private.lapic.deadline().is_some_and(|due| due <= now) {
                private.lapic.tick(&this.shared, now);
            }
            if private.phase == Phase::Off {
                // Who waits for a start-up message takes no other.
                this.shared.take_nmi();
            }
            let wanted = private.phase != Phase::Off && self.deliver(this, private, state);
            if private.phase != Phase::On {
                this.set_mode(Mode::Waiting);
                if self.nothing_waits(this, private, state) {
                    return Action::Wait(private.lapic.deadline().unwrap_or(u64::MAX));
                }
                this.set_mode(Mode::Handling);
                continue;
            }
            if wanted || private.window || exit == Exit::Window {
                let event = state.injection() & !WINDOWS;
                let event = if event & VALID != 0 { event } else { 0 };
                state.set_injection(event | if wanted { self.window(this, private) } else { 0 });
                private.window = wanted;
            }
            if let Some((address, word)) = private.lapic.offer(&this.shared)
                && !self.memory.write(address, &word.to_le_bytes())
            {
                private.lapic.withdraw();
            }
            this.set_mode(Mode::Running);
            // What came in between did not see that it has to recall.
            let late = private.lapic.offered().is_some() && this.shared.highest_request().is_some();
            let news = late || !wanted && (this.shared.has_nmi() || self.next(this, private).is_some());
            if !news && !this.shared.has_start() && !self.has_ended.load(Ordering::SeqCst) {
                break;
            }
            this.set_mode(Mode::Handling);
        }
        if let Some(due) = private.lapic.deadline() {
            self.host.set_timer(this.shared.id() as usize, due);
        }
        state.finish();
        Action::Resume
    }

    /// Injects what is to be delivered first, if the guest takes it; whether something has to wait for that.
    fn deliver<W: Words>(&self, this: &Cpu, private: &mut Private, state: &mut State<'_, W>) -> bool {
        let occupied = |state: &State<'_, W>| state.injection() & VALID != 0;
        if !occupied(state) && state.takes_nmi() && this.shared.take_nmi() {
            state.inject_nmi();
            private.phase = Phase::On;
        }
        let Some(next) = self.next(this, private) else { return this.shared.has_nmi() };
        if private.phase == Phase::Halted && state.rflags() & INTERRUPTS_ON == 0 {
            return false;
        }
        private.phase = Phase::On;
        if occupied(state) || !state.takes_interrupts() {
            return true;
        }
        // HLT goes first. After STI the guest relies on it: whoever handles the interrupt returns behind HLT and does not
        // wait. A processor keeps to it while the shadow of STI lasts, but QEMU's translator forgets the shadow when the
        // guest is left in it. Without a shadow the interrupt comes an instruction later, as it may at any time.
        if instruction::halts(state, &self.memory) {
            state.skip(1);
        }
        let vector = match next {
            Next::Vector(vector) => {
                private.lapic.accept(&this.shared, vector);
                vector
            }
            Next::External => {
                let mut devices = self.devices.lock();
                devices.acknowledge(&self.access())
            }
        };
        state.inject_interrupt(vector);
        self.next(this, private).is_some() || this.shared.has_nmi()
    }

    /// What to ask for so that the guest exits when it takes what waits for it.
    fn window(&self, this: &Cpu, private: &Private) -> u32 {
        // Without a window of its own a non-maskable interrupt waits for that of the others.
        let nmi = this.shared.has_nmi() && self.backend == Backend::Vmx;
        let other = !nmi || self.next(this, private).is_some();
        (if nmi { NMI_WINDOW } else { 0 }) | if other { WINDOW } else { 0 }
    }

    /// The interrupt that comes next, if there is one.
    fn next(&self, this: &Cpu, private: &Private) -> Option<Next> {
        if let Some(vector) = private.lapic.pending(&this.shared) {
            return Some(Next::Vector(vector));
        }
        (this.external() && private.lapic.takes_external()).then_some(Next::External)
    }

    /// Whether a processor that does not run has no reason to.
    fn nothing_waits<W: Words>(&self, this: &Cpu, private: &Private, state: &State<'_, W>) -> bool {
        let open = private.phase == Phase::Halted && state.rflags() & INTERRUPTS_ON != 0;
        let interrupt = open && self.next(this, private).is_some() || this.shared.has_nmi() && state.takes_nmi();
        !interrupt && !this.shared.has_start() && !self.has_ended.load(Ordering::SeqCst)
    }

    fn cpuid<W: Words>(&self, cpu: u32, state: &mut State<'_, W>) {
        let osxsave = state.cr4() & CR4_OSXSAVE != 0;
        let topology =
            Topology { cpu, count: self.cpus.len() as u32, osxsave, xcr0: state.xcr0(), backend: self.backend };
        let (leaf, subleaf) = (state.rax() as u32, state.rcx() as u32);
        let [a, b, c, d] = cpuid::answer(|leaf, sub| self.host.cpuid(leaf, sub), leaf, subleaf, topology);
        state.set_rax(a.into());
        state.set_rbx(b.into());
        state.set_rcx(c.into());
        state.set_rdx(d.into());
        state.skip(length(state, 2));
    }

    /// Enables extended states.
    fn set_xcr<W: Words>(&self, state: &mut State<'_, W>) {
        let value = state.rdx() << 32 | state.rax() & 0xFFFF_FFFF;
        let known = cpuid::states(|leaf, sub| self.host.cpuid(leaf, sub));
        if state.level() == 0 && state.rcx() as u32 == 0 && cpuid::is_set_of_states(value, known) {
            state.set_xcr0(value);
            state.skip(length(state, 3));
        } else {
            state.inject_exception(PROTECTION, Some(0));
        }
    }

    /// A move to or from control register 8.
    fn priority<W: Words>(&self, cpu: usize, private: &mut Private, state: &mut State<'_, W>) {
        let known = instruction::fetch(state, &self.memory);
        match known.and_then(|instruction| instruction::priority(state, &instruction, private.lapic.class())) {
            Some(Some(class)) => private.lapic.set_class(class),
            Some(None) => {}
            None => self.stop(End::Unknown(CONTROL_REGISTER, Place::new(cpu, state))),
        }
    }

    fn port<W: Words>(&self, state: &mut State<'_, W>) {
        let PortAccess { port, size, read, string, next } = PortAccess::new(self.backend, state.qualification());
        if string {
            return self.string(state, port);
        }
        if port == count::PORT && size == 4 {
            if read {
                state.set_rax(count::total(&self.cpus).into());
            } else {
                count::report(&self.cpus, |byte| self.host.print(byte));
            }
        } else if read {
            let value = u64::from(self.port_read(port, size));
            let rax = match size {
                1 => state.rax() & !0xFF | value & 0xFF,
                2 => state.rax() & !0xFFFF | value & 0xFFFF,
                _ => value,
            };
            state.set_rax(rax);
        } else {
            self.port_write(port, size, state.rax() as u32);
        }
        match next {
            Some(next) => {
                state.skip(0);
                state.set_rip(next);
            }
            None => state.skip(length(state, 1)),
        }
    }

    /// A port instruction that moves memory, with all that it needs in the state if the world has asked for it.
    fn string<W: Words>(&self, state: &mut State<'_, W>, port: u16) {
        let known = state.brought().contains(string::NEEDS);
        let done = if known { string::run(state, &self.memory, port, self) } else { Err(string::Fault::Protection) };
        match done {
            Ok(()) => {}
            Err(string::Fault::Protection) => state.inject_exception(PROTECTION, Some(0)),
            Err(string::Fault::Page { address, write }) => {
                state.set_cr2(address);
                state.inject_exception(PAGE_FAULT, Some(u32::from(write) << 1));
            }
        }
    }

    fn msr<W: Words>(&self, this: &Cpu, private: &mut Private, write: Option<bool>, state: &mut State<'_, W>) {
        let number = state.rcx() as u32;
        let write = write.unwrap_or(state.qualification()[0] & 1 != 0);
        let apic = vm_lapic::is_own(number);
        let done = if write {
            let value = state.rdx() << 32 | state.rax() & 0xFFFF_FFFF;
            if apic {
                let effect = private.lapic.write_msr(&this.shared, number, value, self.host.now());
                effect.map(|effect| self.effect(effect)).ok()
            } else if let Some((at, bytes, length)) = self.clock.answer(number, value) {
                bytes.get(..length).and_then(|bytes| self.memory.write(at, bytes).then_some(()))
            } else {
                msr::write(state, &mut private.kept, number, value)
            }
        } else {
            let now = self.host.now();
            let value = if apic {
                private.lapic.read_msr(&this.shared, number, now).ok()
            } else {
                msr::read(state, &private.kept, number, now)
            };
            value.map(|value| {
                state.set_rax(value & 0xFFFF_FFFF);
                state.set_rdx(value >> 32);
            })
        };
        match done {
            Some(()) => state.skip(length(state, 2)),
            None => state.inject_exception(PROTECTION, Some(0)),
        }
    }

    fn effect(&self, effect: Effect) {
        match effect {
            // The deadline is looked at before the guest runs.
            Effect::None | Effect::Timer => {}
            Effect::Send(message) => self.send(message),
            Effect::EndOfLevel(vector) => {
                let access = self.access();
                self.devices.lock().end_of_level(vector, &access);
            }
        }
    }

    fn memory_access<W: Words>(&self, this: &Cpu, private: &mut Private, state: &mut State<'_, W>) {
        let (_, address) = memory_access(state.qualification());
        let Some(instruction) = instruction::fetch(state, &self.memory) else {
            return state.inject_exception(PROTECTION, Some(0));
        };
        let mut device = Window { machine: self, this, private, address };
        if !instruction::emulate(state, &instruction, &self.memory, &mut device) {
            state.inject_exception(PROTECTION, Some(0));
        }
    }

    fn access(&self) -> Access<'_, M> {
        Access { memory: &self.memory, sink: self, now: self.nanoseconds() }
    }

    fn nanoseconds(&self) -> u64 {
        let ticks = self.host.now().saturating_sub(self.start);
        (u128::from(ticks) * 1_000_000 / u128::from(self.khz)) as u64
    }

    /// The counter at a time in nanoseconds since the machine started.
    fn ticks(&self, nanoseconds: u64) -> u64 {
        let ticks = u128::from(nanoseconds) * u128::from(self.khz) / 1_000_000 + 1;
        self.start.saturating_add(u64::try_from(ticks).unwrap_or(u64::MAX))
    }

    /// Makes a processor look for requests.
    fn kick(&self, cpu: usize) {
        match self.cpus.get(cpu).map(Cpu::mode) {
            Some(Mode::Running) => self.host.recall(cpu),
            Some(Mode::Waiting) => self.host.wake(cpu),
            _ => {}
        }
    }
}

/// The interrupt that comes next.
enum Next {
    Vector(u8),
    External,
}

impl<M: Memory, H: Host> Sink for Machine<M, H> {
    fn send(&self, message: Message) {
        let Message { delivery, vector, level, destination } = message;
        let external = Destination::Physical(0);
        let destination = if delivery == Delivery::External { external } else { destination };
        for (cpu, this) in self.cpus.iter().enumerate().filter(|(_, this)| this.shared.is_addressed(destination)) {
            match delivery {
                Delivery::Fixed | Delivery::Lowest => {
                    this.shared.request(vector, level);
                }
                Delivery::Nmi => this.shared.request_nmi(),
                Delivery::Init => this.shared.request_init(),
                Delivery::Startup => this.shared.request_startup(vector),
                Delivery::External => this.set_external(true),
            }
            self.kick(cpu);
            if delivery == Delivery::Lowest {
                break;
            }
        }
    }

    fn print(&self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.host.print(*byte));
    }

    fn external(&self, pending: bool) {
        if let Some(this) = self.cpus.first() {
            this.set_external(pending);
            if pending {
                self.kick(0);
            }
        }
    }
}

impl<M: Memory, H: Host> string::Ports for Machine<M, H> {
    fn port_read(&self, port: u16, size: u8) -> u32 {
        let access = self.access();
        self.devices.lock().port_read(port, size, &access)
    }

    fn port_write(&self, port: u16, size: u8, value: u32) {
        let value = value & (u32::MAX >> (32 - 8 * u32::from(size)));
        let access = self.access();
        let (event, due) = {
            let mut devices = self.devices.lock();
            let event = devices.port_write(port, size, value, &access);
            (event, devices.deadline(access.now))
        };
        match event {
            Event::None => {}
            Event::Print(byte) => self.host.print(byte),
            Event::End(Outcome::Off) => self.stop(End::Off),
            Event::End(Outcome::Reset) => self.stop(End::Reset),
            Event::End(Outcome::Exit(value)) => self.stop(End::Exit(value)),
            Event::End(Outcome::Print(_)) => {}
        }
        if let Some(due) = due {
            self.host.set_device_timer(self.ticks(due));
        }
    }
}

/// Length of the instruction that exited: as the processor says, else `usual`.
fn length<W: Words>(state: &State<'_, W>, usual: u64) -> u64 {
    match state.instruction_length() {
        length @ 1..=15 => length,
        _ => usual,
    }
}

/// A machine that lives as long as its program.
pub fn leak<M, H>(machine: Machine<M, H>) -> &'static Machine<M, H> {
    Box::leak(Box::new(machine))
}
