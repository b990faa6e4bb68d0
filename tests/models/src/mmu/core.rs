//! What the kernel does on a core, with the crate that ships.
//!
//! Invariants: as in the kernel: tables change under a lock, shootdowns are finished without it; faults take none;
//! interrupts are taken in ring 3, and while a core waits for others.
//! Concurrency: one coroutine per core, which has its turn.
//! Source: `hypervisor/src/translations.rs`, `domain.rs`, `switch.rs`.
use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use abi::{PhysAddr, VirtAddr};
use generator::{Gn, LocalGenerator};
use memory::format::{Attributes, Host};
use memory::frames::OutOfMemory;
use memory::mmu::Mmu;
use memory::shadow::{Checked, Shadow};
use memory::shootdown::{self, Acknowledged, NOTE, Pages, Shootdown};
use memory::space::{self, Filled, Latest, Space, cache};
use memory::table::{Mapping, Table};
use memory::tags::{KEEP, LOADS, Tags};
use sync::atomic::AtomicU64;

use super::processor::{Found, Machine, PAGES};
use super::turns::Choices;

/// What the cores share.
pub struct World {
    machine: RefCell<Machine>,
    /// Whose turn it is, and who has not ended.
    running: Cell<usize>,
    left: RefCell<Vec<usize>>,
    /// Cores that have not come to the end of their programs.
    busy: Cell<usize>,
    /// What went wrong.
    wrong: RefCell<Option<String>>,
    shown: Vec<shootdown::Core>,
    /// Fewer than there are domains.
    tags: Vec<Tags<2>>,
    /// What a debug build would notice.
    shadow: RefCell<Box<Shadow<3, 16>>>,
    /// Whether nobody else may go on.
    quiet: Cell<bool>,
    lock: Cell<bool>,
    flights: AtomicU64,
    pub(super) masters: Vec<PhysAddr>,
    pub(super) views: Vec<Vec<PhysAddr>>,
    /// Each domain's.
    pub(super) latest: Vec<Latest>,
    /// How often each core has left ring 0.
    pub(super) passes: Vec<Cell<u64>>,
    /// Tables of user memory of views, by domain and core: each, and the entry that refers to it.
    made: RefCell<BTreeMap<(usize, usize), Vec<Made>>>,
}

/// A table, and the entry that refers to it.
type Made = (PhysAddr, (PhysAddr, usize));

/// What a core does.
pub type Program = Rc<dyn Fn(&Core<'_>)>;

/// Steps after which an execution is endless.
const LONGEST: u32 = 1_000_000;
/// Words of a core's stack.
const STACK: usize = 0x8000;

impl World {
    /// A machine with domains, each with a view for each core.
    pub fn new(mut machine: Machine, domains: usize) -> Self {
        let cores = machine.processors.len();
        let masters = (0..domains).map(|_| machine.table()).collect();
        let mut views = Vec::new();
        for domain in 0..domains {
            views.push((0..cores).map(|_| machine.table()).collect::<Vec<_>>());
            machine.owners.extend(views[domain].iter().map(|view| (view.page(), domain)));
        }
        Self {
            machine: RefCell::new(machine),
            running: Cell::new(0),
            left: RefCell::new((0..cores).collect()),
            busy: Cell::new(cores),
            wrong: RefCell::default(),
            shown: (0..cores).map(|_| shootdown::Core::default()).collect(),
            shadow: RefCell::new(Box::new(Shadow::new())),
            tags: (0..cores).map(|_| Tags::default()).collect(),
            quiet: Cell::new(false),
            lock: Cell::new(false),
            flights: AtomicU64::new(0),
            latest: (0..domains).map(|_| Latest::default()).collect(),
            passes: (0..cores).map(|_| Cell::new(0)).collect(),
            masters,
            views,
            made: RefCell::default(),
        }
    }

    /// Runs `program` on each core, and when all have come to its end `last`. Gives back how it was chosen, and what went
    /// wrong.
    pub fn run(self, program: &Program, last: &Program) -> (Choices, Option<String>) {
        let world = Rc::new(self);
        let core = |id| -> LocalGenerator<'static, (), ()> {
            let (world, program, last) = (Rc::clone(&world), Rc::clone(program), Rc::clone(last));
            Gn::<()>::new_scoped_opt_local(STACK, move |mut scope| {
                let mut pause = || scope.yield_with(());
                let core = Core { world, id, pause: RefCell::new(&mut pause) };
                program(&core);
                core.rest();
                last(&core);
                core.end();
            })
        };
        let mut cores: Vec<_> = (0..world.shown.len()).map(core).collect();
        while !world.left.borrow().is_empty() && world.wrong.borrow().is_none() {
            cores[world.running.get()].resume();
        }
        let wrong = world.wrong.take();
        if wrong.is_some() {
            // They are in the middle of something.
            std::mem::forget(cores);
        }
        let choices = std::mem::replace(&mut world.machine.borrow_mut().choices, Choices::Path(Vec::new(), 0, 0));
        (choices, wrong)
    }
}

/// A core.
pub struct Core<'c> {
    pub(super) world: Rc<World>,
    /// Its number.
    pub id: usize,
    /// Lets the core go on whose turn it is, until it is this one's.
    pause: RefCell<&'c mut dyn FnMut()>,
}

impl Core<'_> {
    pub(super) fn machine(&self) -> RefMut<'_, Machine> {
        self.world.machine.borrow_mut()
    }

    /// Notes what went wrong, which ends the execution.
    pub fn fails(&self, why: String) {
        self.world.wrong.borrow_mut().get_or_insert(why);
        (self.pause.borrow_mut())();
    }

    /// Tells the shadow of something; what it finds wrong ends the execution.
    fn tell(&self, act: impl FnOnce(&mut Shadow<3, 16>, u32) -> Checked) {
        let checked = act(&mut self.world.shadow.borrow_mut(), self.id as u32);
        if let Err(wrong) = checked {
            self.fails(format!("shadow: {wrong}"));
        }
    }

    /// Does something while nobody else does anything.
    pub fn alone(&self, act: impl Fn(&Self)) {
        self.world.quiet.set(true);
        act(self);
        self.world.quiet.set(false);
    }

    /// Another core may go on, and has to if this one waits.
    pub(super) fn step(&self, waits: bool) {
        if self.world.quiet.get() {
            return;
        }
        let mut machine = self.machine();
        machine.speculate();
        machine.steps += 1;
        let endless = (machine.steps == LONGEST).then(|| format!("core {} does not come to an end", self.id));
        let wrong = machine.wrong().or(endless);
        let others: Vec<_> = self.world.left.borrow().iter().copied().filter(|&id| id != self.id).collect();
        let next = machine.choices.next(self.id, waits, &others);
        drop(machine);
        if let Some(wrong) = wrong {
            return self.fails(wrong);
        }
        if next != self.id {
            self.world.running.set(next);
            (self.pause.borrow_mut())();
        }
    }

    /// Enters or leaves ring 0.
    pub(super) fn kernel(&self, inside: bool) {
        self.world.passes[self.id].update(|passes| passes + u64::from(!inside));
        let mut machine = self.machine();
        machine.processors[self.id].kernel = inside;
        machine.changed = true;
    }

    /// Takes interrupts until all cores have come to the end.
    fn rest(&self) {
        self.world.busy.update(|busy| busy - 1);
        while self.world.busy.get() > 0 {
            self.breathe();
            self.step(true);
        }
    }

    fn end(&self) {
        let mut left = self.world.left.borrow_mut();
        left.retain(|&id| id != self.id);
        self.world.running.set(self.machine().choices.next(self.id, true, &left));
    }

    fn view(&self, domain: usize) -> PhysAddr {
        self.world.views[domain][self.id]
    }

    fn table(&self) -> impl FnMut(PhysAddr, usize) -> Result<PhysAddr, OutOfMemory> {
        |_, _| Ok(self.machine().table())
    }

    /// Switches to a domain. The processor keeps what it remembers of others.
    pub fn enter(&self, domain: usize) {
        self.kernel(true);
        let root = self.view(domain);
        let shown = &self.world.shown[self.id];
        let mut loads = self.read(root, LOADS);
        self.tell(|shadow, own| {
            shadow.departs(own);
            Ok(())
        });
        // The short way first, as the kernel does.
        if loads == 0 || !shown.enter_if_right(loads, || self.read(root, NOTE)) {
            loads = self.world.tags[self.id].enter(shown, self, root, true).0;
        }
        self.tell(|shadow, own| shadow.loads(own, loads, loads & KEEP != 0));
        self.machine().load(self.id, loads);
        self.kernel(false);
        self.step(false);
    }

    /// Takes an interrupt, if one waits.
    pub fn breathe(&self) {
        let waits = std::mem::take(&mut self.machine().processors[self.id].interrupted);
        if waits {
            self.kernel(true);
            self.world.shown[self.id].serve(self);
            self.kernel(false);
        }
        self.step(false);
    }

    /// An access of the domain that runs to `page`: all that it may find. A fault is resolved as the kernel does.
    pub fn access(&self, page: u64) -> Vec<Found> {
        self.breathe();
        for _ in 0..8 {
            let found = self.machine().known(self.id, page);
            if !found.is_empty() {
                return found;
            }
            let root = self.machine().processors[self.id].loaded;
            let domain = self.machine().owners[&root];
            self.machine().walk(self.id, page);
            self.step(false);
            if !self.machine().known(self.id, page).is_empty() {
                continue;
            }
            self.kernel(true);
            let resolved = self.fault(domain, VirtAddr::new(page << 12));
            self.kernel(false);
            if !resolved {
                return Vec::new();
            }
            self.breathe();
        }
        Vec::new()
    }

    /// Resolves a fault, if the domain has something there.
    fn fault(&self, domain: usize, virt: VirtAddr) -> bool {
        let master = Table::new(self.world.masters[domain]);
        if !space::allows(self, &master, virt, Attributes::READ) {
            return false;
        }
        let view = (&Table::new(self.view(domain)), self.id as u32);
        let mut table = |above, index| {
            let table = self.machine().table();
            self.world.made.borrow_mut().entry((domain, self.id)).or_default().push((table, (above, index)));
            Ok(table)
        };
        if let Ok(Filled::Changed) = space::sync(self, &master, view, virt, &mut table) {
            shootdown::Machine::flush(self, Pages::ALL);
        }
        true
    }

    /// Takes the last `most` tables of user memory back that this core has for a domain.
    pub fn reclaim(&self, domain: usize, most: usize) {
        self.kernel(true);
        self.lock();
        let (root, mut shootdown, mut taken) = (self.view(domain), Shootdown::new(false), Vec::new());
        let tables = std::iter::from_fn(|| {
            let last = || self.world.made.borrow_mut().get_mut(&(domain, self.id))?.pop();
            let (table, (above, index)) = if taken.len() < most { last()? } else { return None };
            self.write(above, index, 0);
            taken.push(table);
            // All pages are in the first GiB.
            Some((table, (above != root).then_some(VirtAddr::new(0))))
        });
        cache::take_back((self, self), &Table::new(self.world.masters[domain]), root, tables, &mut shootdown);
        self.unlock();
        shootdown.finish(self);
        if !taken.into_iter().all(|table| self.machine().reuse(table)) {
            self.fails(String::from("a table that is given back is not empty"));
        }
        self.kernel(false);
        self.step(false);
    }

    /// Who has it may be waiting for this core to forget something.
    pub(super) fn lock(&self) {
        while self.world.lock.replace(true) {
            self.world.shown[self.id].serve(self);
            self.step(true);
        }
    }

    pub(super) fn unlock(&self) {
        self.world.lock.set(false);
    }

    /// Maps fresh memory of `count` pages at `page` of a domain, if nothing is there.
    pub fn map(&self, domain: usize, page: u64, count: u64, attributes: Attributes) {
        self.kernel(true);
        self.lock();
        let frame = self.machine().fresh();
        for at in PAGES.into_iter().filter(|at| (page..page + count).contains(at)) {
            let found = (frame + at - page, attributes);
            self.machine().allowed.entry((domain, at)).or_default().push(found);
        }
        let (virt, phys) = (VirtAddr::new(page << 12), PhysAddr::truncate(frame << 12));
        let mapping = Mapping { virt, phys, size: count << 12, attributes };
        let _ = Table::<Host>::new(self.world.masters[domain]).map(self, mapping, &mut self.table());
        self.unlock();
        self.kernel(false);
        self.step(false);
    }

    /// Takes all but `left` of `count` pages at `page` from all of `domains`, in one operation.
    pub fn revoke(&self, domains: &[usize], range: (u64, u64), left: Attributes) {
        self.take(domains, range, left, false);
    }

    /// As [`Self::revoke`], and goes on before others have forgotten; it is over when it has waited for them later.
    pub fn revoke_later(&self, domains: &[usize], range: (u64, u64), meanwhile: impl Fn(&Self)) {
        let taken = self.take(domains, range, Attributes::empty(), true);
        meanwhile(self);
        while Acknowledged::of_landed(self).is_none() {
            self.breathe();
            self.step(true);
        }
        self.over(&taken, Attributes::empty());
    }

    /// Nobody may use more than `left` of what was taken.
    fn over(&self, taken: &[((usize, u64), u64)], left: Attributes) {
        let mut machine = self.machine();
        for (place, frame) in taken {
            if let Some(found) = machine.allowed.get_mut(place) {
                found.iter_mut().filter(|(of, _)| of == frame).for_each(|(_, rights)| *rights &= left);
                found.retain(|(_, rights)| !rights.is_empty());
            }
        }
        machine.changed = true;
    }

    fn take(
        &self,
        domains: &[usize],
        (page, count): (u64, u64),
        left: Attributes,
        later: bool,
    ) -> Vec<((usize, u64), u64)> {
        let mut shootdown = Shootdown::new(false);
        self.kernel(true);
        self.lock();
        // What it takes is what is there now, also if somebody else is about to take it.
        let taken: Vec<_> = domains
            .iter()
            .flat_map(|&domain| PAGES.map(|at| (domain, at)))
            .filter(|(_, at)| (page..page + count).contains(at))
            .flat_map(|place| {
                let found = self.machine().allowed.get(&place).cloned().unwrap_or_default();
                found.into_iter().map(move |(frame, _)| (place, frame))
            })
            .collect();
        for &domain in domains {
            let view = |id: u32| self.world.views[domain].get(id as usize).copied();
            let space = Space { master: &Table::new(self.world.masters[domain]), view: &view };
            let range = (VirtAddr::new(page << 12), count << 12);
            // As the kernel: whole large leaves go a short way.
            let master = Table::new(self.world.masters[domain]);
            let directory = self.world.latest[domain].table_at(self, master, range.0, 2);
            let short = left.is_empty() && page % 512 == 0 && count % 512 == 0;
            if directory
                .filter(|_| short)
                .is_some_and(|directory| space.take_large((self, self), directory.root(), range, &mut shootdown))
            {
                continue;
            }
            let done = space.restrict((self, self), range, left, &mut self.table(), &mut shootdown);
            assert_eq!(done, Ok(()));
        }
        self.unlock();
        if later {
            let _ = shootdown.finish_later(self);
        } else {
            shootdown.finish(self);
            self.over(&taken, left);
        }
        self.kernel(false);
        self.step(false);
        taken
    }

    /// What the master of a domain says of `page`.
    pub fn truth(&self, domain: usize, page: u64) -> Option<Found> {
        let master = Table::<Host>::new(self.world.masters[domain]);
        master.lookup(self, VirtAddr::new(page << 12)).map(|(phys, rights, _)| (phys.page(), rights))
    }
}

impl Core<'_> {
    /// Another core may go on after an access to this entry, if anybody ever looks at it.
    fn touched<T>(&self, index: usize, value: T) -> T {
        if index < 4 || index == 511 || index == NOTE {
            self.step(false);
        }
        value
    }
}

impl Mmu for Core<'_> {
    fn read(&self, table: PhysAddr, index: usize) -> u64 {
        let entry = *self.machine().word(table.page(), index);
        self.touched(index, entry)
    }
    fn write(&self, table: PhysAddr, index: usize, entry: u64) {
        *self.machine().word(table.page(), index) = entry;
        self.touched(index, ());
    }
    fn exchange(&self, table: PhysAddr, index: usize, entry: u64) -> u64 {
        let old = std::mem::replace(self.machine().word(table.page(), index), entry);
        self.touched(index, old)
    }
    fn sharers(&self, table: PhysAddr) -> u64 {
        let sharers = self.machine().sharers[table.page() as usize];
        self.touched(0, sharers)
    }
    fn share(&self, table: PhysAddr, cores: u64) {
        self.machine().sharers[table.page() as usize] |= cores;
        self.touched(0, ());
    }
}

impl shootdown::Machine for Core<'_> {
    fn cores(&self) -> u32 {
        self.world.shown.len() as u32
    }
    fn own(&self) -> u32 {
        self.id as u32
    }
    fn core(&self, id: u32) -> &shootdown::Core {
        // Who waits for others looks at himself, again and again.
        self.step(id as usize == self.id);
        &self.world.shown[id as usize]
    }
    fn interrupt(&self, ids: impl Iterator<Item = u32>, _: u32) {
        for id in ids {
            self.machine().processors[id as usize].interrupted = true;
            self.step(false);
        }
    }
    fn landed(&self, _: u32) {
        self.step(false);
    }
    fn flights(&self) -> &AtomicU64 {
        self.step(false);
        &self.world.flights
    }
    fn is_watched(&self) -> bool {
        true
    }
    fn lost(&self, id: u32, root: PhysAddr, pages: Pages, led: impl FnOnce() -> bool) {
        let quiet = self.world.quiet.replace(true);
        if led() {
            self.tell(|shadow, own| shadow.lost(own, id, root.get(), pages));
        }
        self.world.quiet.set(quiet);
    }
    fn returns(&self) {
        self.tell(Shadow::returns);
    }
    fn flush(&self, pages: Pages) {
        self.tell(|shadow, own| {
            shadow.forgets(own, pages);
            Ok(())
        });
        self.machine().flush(self.id, pages);
        self.step(false);
    }
}
