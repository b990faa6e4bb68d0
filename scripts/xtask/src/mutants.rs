//! Mutants: the shipping code with one step less, or in another order, which the models must not let pass.
//!
//! The sources that the models need are copied to `target/mutants`, changed there one mutant at a time, and the models of
//! the shootdown run on them: under loom, under shuttle if loom finds nothing, and on a processor in software; with that the page
//! tables' own tests on those of them. A mutant is caught if one fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::test::{Checker, Counts};
use crate::workspace;

/// A change to one file.
struct Mutant {
    name: &'static str,
    file: &'static str,
    /// What stands there once.
    from: &'static str,
    to: &'static str,
}

const SHOOTDOWN: &str = "hypervisor/memory/src/shootdown.rs";
const LATER: &str = "hypervisor/memory/src/shootdown/later.rs";
const SPACE: &str = "hypervisor/memory/src/space.rs";
const TAGS: &str = "hypervisor/memory/src/tags.rs";
const GATE: &str = "hypervisor/sync/src/gate.rs";
const TABLE: &str = "hypervisor/memory/src/table.rs";
const REVOKE: &str = "hypervisor/capability/src/tree/revoke.rs";
const ROWS: &str = "hypervisor/capability/src/tree/row.rs";
const SPLIT: &str = "hypervisor/capability/src/tree/split.rs";
const TRANSFER: &str = "hypervisor/capability/src/tree/transfer.rs";
const EVIDENCE: &str = "hypervisor/memory/src/space/evidence.rs";
const CACHE: &str = "hypervisor/memory/src/space/cache.rs";
const MMU: &str = "hypervisor/memory/src/mmu.rs";
const EMPTY: &str = "hypervisor/memory/src/space/empty.rs";

/// The whole of a request.
const ASK: &str = "let mut known = self.pages.load(Relaxed);
        while let Err(newer) = self.pages.compare_exchange(known, Pages(known).and(pages).0, AcqRel, Relaxed) {
            known = newer;
        }
        if tell != 0 {
            self.tell.fetch_or(tell, AcqRel);
        }
        self.asked.fetch_add(1, AcqRel);
";

const fn mutant(name: &'static str, file: &'static str, from: &'static str, to: &'static str) -> Mutant {
    Mutant { name, file, from, to }
}

const MUTANTS: &[Mutant] = &[
    mutant(
        "no fence between a mark and the look at the gate",
        GATE,
        "let inside = Inside(mark);\n        fence(SeqCst);\n",
        "let inside = Inside(mark);\n",
    ),
    mutant(
        "no fence between closing a gate and the look for marks",
        GATE,
        "self.closed.store(1, Relaxed);\n        fence(SeqCst);\n",
        "self.closed.store(1, Relaxed);\n",
    ),
    mutant("who is inside is not waited for", GATE, "while mark.is_set()", "while false && mark.is_set()"),
    mutant(
        "no fence between publishing a root and looking for its note",
        SHOOTDOWN,
        "self.current.store(loads, Relaxed);\n        fence(SeqCst);\n",
        "self.current.store(loads, Relaxed);\n",
    ),
    mutant(
        "the note is looked for before the root is published",
        SHOOTDOWN,
        "self.current.store(loads, Relaxed);\n        fence(SeqCst);\n        note() == 0\n",
        "let right = note() == 0;\n        self.current.store(loads, Relaxed);\n        fence(SeqCst);\n        right\n",
    ),
    mutant("a note is cleared and ignored", SHOOTDOWN, "        right\n    }\n", "        true\n    }\n"),
    mutant("no fence between tables and sharers", SHOOTDOWN, "fence(SeqCst);\n        if self.naive", "if self.naive"),
    mutant(
        "no fence between notes and what is loaded",
        SHOOTDOWN,
        "fence(SeqCst);\n        for id in members",
        "for id in members",
    ),
    mutant("no notes", SHOOTDOWN, "mmu.write(root, NOTE, STALE)", "_ = mmu.read(root, NOTE)"),
    mutant(
        "who loses its tag finds no note",
        TAGS,
        "mmu.write(PhysAddr::truncate(before), NOTE, STALE);",
        "let _ = (NOTE, STALE);",
    ),
    mutant("what had the tag before is remembered", TAGS, "(loads & !KEEP, !right)", "(loads, !right)"),
    mutant("who finds a note forgets nothing", TAGS, "if right && known != 0 {", "if known != 0 {"),
    mutant("all have the same tag", TAGS, "2 * (place as u64 + 1)", "let _ = place;\n        2"),
    mutant(
        "a domain takes back a tag that another has got",
        TAGS,
        ".filter(|&place| owners.of.get(place) == Some(&root.get()))",
        ".filter(|&place| place < owners.of.len())",
    ),
    mutant("nobody is a target", SHOOTDOWN, "self.targets |= targets;", ""),
    mutant(
        "a request is done before the flush",
        SHOOTDOWN,
        "machine.flush(Pages(self.pages.swap(0, AcqRel)));\n        self.done.store(asked, Release);\n",
        "self.done.store(asked, Release);\n        machine.flush(Pages(self.pages.swap(0, AcqRel)));\n",
    ),
    mutant(
        "pages are taken before requests are counted",
        SHOOTDOWN,
        "let asked = self.asked.load(Acquire);\n        if asked == self.done.load(Relaxed) {\n            return false;\n        }\n        let told = self.told();\n        machine.flush(Pages(self.pages.swap(0, AcqRel)));\n",
        "let told = self.told();\n        machine.flush(Pages(self.pages.swap(0, AcqRel)));\n        let asked = self.asked.load(Acquire);\n",
    ),
    mutant(
        "a request is counted before its pages are there",
        SHOOTDOWN,
        ASK,
        "self.asked.fetch_add(1, AcqRel);\n        if tell != 0 {\n            self.tell.fetch_or(tell, AcqRel);\n        }\n        let mut known = self.pages.load(Relaxed);\n        while let Err(newer) = self.pages.compare_exchange(known, Pages(known).and(pages).0, AcqRel, Relaxed) {\n            known = newer;\n        }\n",
    ),
    mutant("the interrupt is forgotten", SHOOTDOWN, "machine.interrupt(others(), count as u32);\n", "let _ = count;\n"),
    mutant("a request replaces another", SHOOTDOWN, "Pages(known).and(pages).0", "pages.0"),
    mutant("nobody waits", SHOOTDOWN, "others().for_each(wait);\n", ""),
    mutant(
        "the own core does not forget",
        SHOOTDOWN,
        "machine.flush(pages);\n        }\n        others()",
        "}\n        others()",
    ),
    mutant(
        "who waits serves nobody",
        SHOOTDOWN,
        "< asked {\n                machine.core(own).serve(machine);\n",
        "< asked {\n",
    ),
    mutant(
        "who finds it taken does not wait for who took it",
        SHOOTDOWN,
        "machine.flights().load(Acquire) != 0",
        "machine.flights().load(Acquire) == u64::MAX",
    ),
    mutant("who has taken something is not seen", SHOOTDOWN, "flight % 2 == 1 && core", "flight % 2 == 2 && core"),
    mutant(
        "who is to be told is looked for after the flush",
        SHOOTDOWN,
        "let told = self.told();\n        machine.flush(Pages(self.pages.swap(0, AcqRel)));\n",
        "machine.flush(Pages(self.pages.swap(0, AcqRel)));\n        let told = self.told();\n",
    ),
    mutant(
        "who does not wait is told before the flush",
        SHOOTDOWN,
        "let told = self.told();\n        machine.flush(",
        "let told = self.told();\n        if told != 0 {\n            later::tell(machine, told);\n        }\n        let told = 0;\n        machine.flush(",
    ),
    mutant("the first that is done tells who does not wait", LATER, "& LEFT == 1 {", "& LEFT >= 1 {"),
    mutant(
        "what is not waited for is in nobody's way",
        LATER,
        "now & LEFT != 0 && now & !LEFT == round",
        "now == 1 && round == 1",
    ),
    mutant("a core that has asked waits for its own no more", SHOOTDOWN, "later::land(machine, machine.own());", ""),
    mutant(
        "tables come back while a core has them loaded",
        SHOOTDOWN,
        "(!(0..machine.cores()).any(has)).then(|| Self::of_earlier(machine))",
        "let _ = has;\n        Some(Self::of_earlier(machine))",
    ),
    mutant(
        "who has left tables may still walk there",
        SHOOTDOWN,
        "self.current.store(0, Release);",
        "self.current.store(0, Relaxed);",
    ),
    mutant(
        "who gives tables back does not see the last walk",
        SHOOTDOWN,
        "is_root(machine.core(id).current.load(Acquire), root)",
        "is_root(machine.core(id).current.load(Relaxed), root)",
    ),
    mutant("a core that fills is no sharer", SPACE, "mmu.share(shared, bit(id));\n", "let _ = bit(id);\n"),
    mutant(
        "a core becomes a sharer after it has filled",
        SPACE,
        "mmu.share(shared, bit(id));\n",
        "local.put(mmu, virt, DIRECTORY, entry, &mut *frame)?;\n    mmu.share(shared, bit(id));\n",
    ),
    mutant("no fence between sharing and walking", SPACE, "fence(SeqCst);\n    if !local", "if !local"),
    mutant("no fence before the second look", SPACE, "fence(SeqCst);\n    if (mmu", "if (mmu"),
    mutant(
        "no second look",
        SPACE,
        "if (mmu.read(directory, virt.index(DIRECTORY)) ^ entry) & !Host::EVIDENCE == 0 {",
        "if entry != 0 {",
    ),
    mutant("what changed meanwhile is left in the view", SPACE, "forget(mmu, local, virt);\n    Ok(", "Ok("),
    mutant(
        "copies of large pages are left in the views",
        SPACE,
        "view.map_or(0, |view| forget_all(mmu, &view, change.virt, entries))",
        "view.map_or(0, |_: Table<Host>| if entries == 0 { 0 } else { Host::ACCESSED })",
    ),
    mutant(
        "copies of large pages go, but what is remembered of them stays",
        SPACE,
        "found & Host::ACCESSED != 0",
        "found & Host::EVIDENCE == Host::EVIDENCE",
    ),
    mutant(
        "of several large pages only the first goes from the views",
        SPACE,
        "virt.index(DIRECTORY) + count;",
        "virt.index(DIRECTORY) + count.min(1);",
    ),
    mutant(
        "of several large pages only what is remembered of the last is forgotten",
        SPACE,
        "fold(0, |noted, index| noted | mmu",
        "fold(0, |_, index| mmu",
    ),
    mutant(
        "a table among large pages goes like one of them",
        TABLE,
        "whole & is_leaf(index)",
        "whole | is_leaf(index)",
    ),
    mutant(
        "nobody is told of large pages that go at once",
        SPACE,
        "self.note((mmu, machine), Change { table: directory, level: DIRECTORY, virt, size }, shootdown);\n        }\n        taken",
        "let _ = (machine, shootdown);\n        }\n        taken",
    ),
    mutant(
        "what is noted is cleared, but remembered",
        EVIDENCE,
        "shootdown.add((mmu, machine), sharers, self.view, Pages::new(virt.get(), PAGE_SIZE));",
        "let _ = (sharers, PAGE_SIZE, Pages::NONE);",
    ),
    mutant(
        "what is noted of a large page is cleared, but remembered",
        EVIDENCE,
        "shootdown.add((mmu, machine), users, self.view, Pages::ALL);",
        "let _ = Pages::ALL;",
    ),
    mutant(
        "an empty table is reused without a grace period",
        EMPTY,
        "            grace();\n",
        "            let _ = grace;\n",
    ),
    mutant("views keep what they copied of an empty table", EMPTY, "        forget();\n", "        let _ = forget;\n"),
    mutant("an empty directory stays the latest", EMPTY, "        latest.forget();\n", "        let _ = latest;\n"),
    mutant(
        "who may have walked an empty table is not asked",
        EMPTY,
        "shootdown.add((mmu, machine), all, self.view, Pages::ALL);",
        "let _ = (machine, all, shootdown, Pages::ALL);",
    ),
    mutant(
        "the lock is given away before an empty table is forgotten",
        SHOOTDOWN,
        "    pub fn reach(self, machine: &impl Machine) {\n        if self.targets != 0 {",
        "    pub fn reach(self, machine: &impl Machine) {\n        if self.targets != 0 && self.naive {",
    ),
    mutant(
        "what was accessed meanwhile is lost",
        MMU,
        "self.exchange(table, index + at, 0) & bits != 0",
        "{\n            let old = self.read(table, index + at);\n            self.write(table, index + at, 0);\n            old & bits != 0\n        }",
    ),
    mutant(
        "whoever has a node is not reached before it is taken",
        REVOKE,
        "            steps.reach(node.space().owner)?;\n            if node",
        "            if node",
    ),
    mutant(
        "whoever has a row is not reached before it is taken",
        ROWS,
        "            steps.reach(it.space().owner)?;\n",
        "",
    ),
    mutant("what leaves a ring does not reach whose it is", REVOKE, "            self.reach_ring(id, steps)?;\n", ""),
    mutant(
        "who may join does not reach whose ring that is",
        REVOKE,
        "            self.at(id).parent().map_or(Ok(false), |parent| self.reach_joint(parent, steps))?;\n",
        "",
    ),
    mutant(
        "parts of a division do not join others",
        SPLIT,
        "if top_cut == Some(cut) {",
        "if false && top_cut == Some(cut) {",
    ),
    mutant(
        "parts of a division both have its limit",
        SPLIT,
        "node.set_limit(limit - limit / 2);",
        "node.set_limit(limit);",
    ),
    mutant(
        "a grant does not wait for what is being taken",
        TRANSFER,
        "(form == Form::Same || !self.is_settled(id))",
        "!self.is_settled(id)",
    ),
    mutant("what was taken before a restart is taken again", REVOKE, "if !lost.contains(rights) {", "if true {"),
    mutant(
        "what was given does not count",
        TRANSFER,
        "left.checked_sub(limit_of(child))",
        "left.checked_sub(limit_of(child) * 0)",
    ),
    mutant(
        "what is not the tree's keeps out all behind it",
        TRANSFER,
        "0 => steps.pass(1)?,",
        "0 => steps.pass(count)?,",
    ),
    mutant(
        "a repetition does not get past what is not the tree's",
        TRANSFER,
        "covering.is_none() && effects.free(&first) == 0",
        "covering.is_none() && effects.free(&first) == u64::MAX",
    ),
    mutant(
        "what says that something is to be taken counts as a mapping",
        TRANSFER,
        "children.filter(|&child| self.at(child).order().is_none())",
        "children.filter(|_| true)",
    ),
    mutant(
        "a grant does not look whether something is there that is not the tree's",
        TRANSFER,
        "let count = steps.effects.free(&piece);",
        "let count = piece.span.count;",
    ),
    mutant(
        "a core remembers tables that it has taken back",
        CACHE,
        "    shootdown.add((mmu, machine), bit(own), &|id| (id == own).then_some(root), Pages::ALL);\n",
        "    let _ = (bit(own), root, shootdown, Pages::ALL);\n",
    ),
    mutant(
        "a directory that is taken back keeps its entries",
        CACHE,
        "mmu.exchange(directory, index, 0) & Host::EVIDENCE",
        "mmu.read(directory, index) & Host::EVIDENCE",
    ),
    mutant(
        "what was noted in a copy goes with it",
        CACHE,
        "mmu.write(of_master, index, mmu.read(of_master, index) | noted);",
        "mmu.write(of_master, index, mmu.read(of_master, index));",
    ),
    mutant(
        "a view of a domain that ends stays in the ring of its core",
        CACHE,
        "        link(mmu, before, next);\n        if *first",
        "        if *first",
    ),
    mutant(
        "the view that was just used gives first",
        CACHE,
        "asked < CHANCES && was_used",
        "asked > CHANCES && was_used",
    ),
    mutant(
        "what replaces is left out where something beside it stays",
        TRANSFER,
        "None if steps.effects.goes_round() =>",
        "None if false && steps.effects.goes_round() =>",
    ),
    mutant("a large leaf sets nothing aside", TABLE, "frame.reserve(spare(level))?;", ""),
    mutant(
        "what was set aside for a leaf is not given back",
        TABLE,
        "frame.release(spare(level) - u32::from(!whole));",
        "frame.release(0);",
    ),
    mutant("a division is paid for anew", TABLE, "frame.reserved(self.root, index)", "frame.table(self.root, index)"),
    mutant(
        "a leaf of 1 GiB sets aside what one division needs",
        TABLE,
        "(512u32.pow(level - 1) - 1) / 511",
        "512u32.pow(level - 1) / 512u32.pow(level - 1)",
    ),
];

/// What runs on a mutant until it is caught.
const CHECKERS: [Checker; 3] = [Checker::Loom, Checker::Shuttle, Checker::Software];
/// Where the mapping tree is: its own tests run on a mutant there.
const TREE: &str = "hypervisor/capability";

/// What the models are built from.
const SOURCES: &[&str] = &["include", "hypervisor/memory", "hypervisor/sync", "hypervisor/time", "tests/models", TREE];

/// Runs the models on each mutant.
///
/// # Errors
/// The code as it is does not pass, or a mutant does not fit the code.
pub fn run() -> Result<Counts> {
    let place = workspace::target().join("mutants/source");
    copy_sources(&place)?;
    for mutant in MUTANTS {
        let stands = source(&place, mutant)?.matches(mutant.from).count() == 1;
        ensure!(stands, "{}: what is to be changed does not stand there once", mutant.name);
    }
    for (file, checker) in CHECKERS.map(|checker| (GATE, checker)).into_iter().chain([(REVOKE, Checker::Software)]) {
        ensure!(passes(&place, file, checker)?, "the models fail on the code as it is");
    }
    let mut counts = Counts::default();
    for mutant in MUTANTS {
        let (path, source) = (place.join(mutant.file), source(&place, mutant)?);
        fs::write(&path, source.replace(mutant.from, mutant.to))?;
        let by = CHECKERS.into_iter().find_map(|checker| match passes(&place, mutant.file, checker) {
            Ok(true) => None,
            Ok(false) => Some(Ok(checker)),
            Err(error) => Some(Err(error)),
        });
        fs::write(&path, source)?;
        match by.transpose().with_context(|| mutant.name)? {
            Some(checker) => {
                counts.passed += 1;
                println!("  caught by {checker:?}: {}", mutant.name);
            }
            None => {
                counts.failed += 1;
                println!("  NOT caught: {}", mutant.name);
            }
        }
    }
    Ok(counts)
}

/// The file that a mutant changes, as it is.
fn source(place: &Path, mutant: &Mutant) -> Result<String> {
    let path = place.join(mutant.file);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Whether all models of what `file` belongs to pass.
fn passes(place: &Path, file: &str, checker: Checker) -> Result<bool> {
    let (packages, filters): (&[_], &[_]) = match file {
        // They do nothing at the same time as others: there are no executions to check.
        _ if (file == CACHE || file.starts_with(TREE)) && checker != Checker::Software => return Ok(true),
        CACHE => (&["models", "memory"], &["mmu::", "cache::"]),
        _ if file.starts_with(TREE) => (&["capability"], &["tree::"]),
        TABLE if checker == Checker::Software => {
            (&["models", "sync", "memory"], &["shootdown::", "mmu::", "gate::", "table::"])
        }
        _ => (&["models", "sync"], &["shootdown::", "mmu::", "gate::"]),
    };
    let mut command = checker.command(packages, filters);
    command.env("RUST_BACKTRACE", "0").current_dir(place);
    let output = command.output().context("cannot start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(text.contains("running "), "the models do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.status.success())
}

/// A workspace with nothing but the models and what they need.
fn copy_sources(place: &Path) -> Result<()> {
    let root = workspace::root();
    for source in SOURCES {
        let from = root.join(source);
        let to = place.join(source);
        fs::create_dir_all(to.parent().unwrap_or(place))?;
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        let status = Command::new("cp").arg("-r").args([&from, &to]).status().context("cannot start cp")?;
        ensure!(status.success(), "cannot copy {}", from.display());
    }
    fs::copy(root.join("Cargo.lock"), place.join("Cargo.lock"))?;
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let without = |text: &str, list: &str, members: &str| -> Result<String> {
        let start = text.find(&format!("\n{list} = [")).with_context(|| format!("Cargo.toml has no {list}"))? + 1;
        let end = start + text[start..].find("]\n").with_context(|| format!("{list} has no end"))? + 2;
        Ok(format!("{}{list} = [{members}]\n{}", &text[..start], &text[end..]))
    };
    let manifest = without(&manifest, "members", &format!("\"tests/models\", \"{TREE}\""))?;
    let manifest = without(&manifest, "default-members", "\"tests/models\"")?;
    let path: PathBuf = place.join("Cargo.toml");
    fs::write(&path, manifest).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_mutant_changes_stands_there_once() {
        for mutant in MUTANTS {
            let text = source(workspace::root(), mutant).expect("the file is there");
            assert_eq!(text.matches(mutant.from).count(), 1, "{}", mutant.name);
        }
    }
}
