//! What cores do while others revoke.
//!
//! Purpose: one test per situation that two or three cores show, under loom and under shuttle.
//! Invariants: what cores have done before runs before the threads start.
//! Concurrency: see the module above.
//! Source: as there.
use super::machine::{Cpu, World};
use memory::format::Attributes;
use std::sync::Arc;

#[cfg(loom)]
use loom::thread;
#[cfg(shuttle)]
use shuttle::thread;

const NOTHING: Attributes = Attributes::empty();
const READ: Attributes = Attributes::READ;

/// What a core does.
type Step = fn(&Cpu);

/// All executions of one thread per core, each with what it has done before, and what it does.
fn explore<const CORES: usize>(large: bool, cores: [(Step, Step); CORES]) {
    let model = move || {
        let world = Arc::new(World::new(CORES as u32, large));
        let mut threads = Vec::new();
        let cpus: Vec<_> = (0..CORES).map(|id| Cpu::new(&world, id as u32)).collect();
        cpus.iter().zip(cores).for_each(|(cpu, (before, _))| before(cpu));
        for (cpu, (_, act)) in cpus.into_iter().zip(cores) {
            threads.push(thread::spawn(move || act(&cpu)));
        }
        for thread in threads {
            assert!(thread.join().is_ok());
        }
    };
    #[cfg(loom)]
    {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(model);
    }
    #[cfg(shuttle)]
    {
        shuttle::check_random(model, 20_000);
        shuttle::check_pct(model, 3000, 3);
    }
}

fn nothing(_: &Cpu) {}

/// Has used page 0 and runs the domain.
fn runs(cpu: &Cpu) {
    cpu.arrive();
    assert!(cpu.access(0).is_some());
}

/// Has used page 0 and runs another domain.
fn left(cpu: &Cpu) {
    runs(cpu);
    cpu.depart();
}

/// Runs the domain, and has used nothing.
fn fresh(cpu: &Cpu) {
    cpu.arrive();
}

fn revokes(cpu: &Cpu) {
    cpu.revoke(Some(0), NOTHING, false);
}

fn revokes_all(cpu: &Cpu) {
    cpu.revoke(None, NOTHING, false);
}

/// Uses page 0 while it is taken, and after.
fn uses(cpu: &Cpu) {
    cpu.check(0, NOTHING);
    cpu.breathe();
    cpu.outlast(0, NOTHING);
}

#[test]
fn a_core_that_runs_the_domain_forgets() {
    explore(false, [(nothing, revokes), (runs, uses)]);
}

#[test]
fn nobody_remembers_what_is_reused() {
    let reuses = |cpu: &Cpu| {
        revokes(cpu);
        cpu.reuse();
    };
    explore(false, [(nothing, reuses), (runs, uses)]);
}

#[test]
fn a_core_that_comes_back_finds_the_note() {
    let comes = |cpu: &Cpu| {
        cpu.arrive();
        cpu.check(0, NOTHING);
        cpu.outlast(0, NOTHING);
    };
    explore(false, [(nothing, revokes), (left, comes)]);
}

#[test]
fn a_core_that_goes_and_comes_back_forgets() {
    let travels = |cpu: &Cpu| {
        cpu.depart();
        cpu.breathe();
        cpu.arrive();
        cpu.check(0, NOTHING);
        cpu.outlast(0, NOTHING);
    };
    explore(false, [(nothing, revokes), (runs, travels)]);
}

#[test]
fn a_core_that_comes_back_after_its_tag_is_gone_forgets() {
    let travels = |cpu: &Cpu| {
        cpu.depart_far();
        cpu.arrive();
        cpu.check(0, NOTHING);
        cpu.outlast(0, NOTHING);
    };
    explore(false, [(nothing, revokes), (left, travels)]);
}

#[test]
fn a_core_that_faults_is_seen_or_sees() {
    explore(false, [(nothing, revokes), (fresh, uses)]);
}

#[test]
fn a_core_that_faults_on_a_page_that_was_used_is_seen_or_sees() {
    explore(false, [(runs, revokes), (fresh, uses)]);
}

#[test]
fn a_core_that_faults_on_a_large_page_is_seen_or_sees() {
    explore(true, [(nothing, revokes_all), (fresh, uses)]);
}

#[test]
fn a_copy_of_a_large_page_goes_from_the_view_of_a_core_that_is_away() {
    let comes = |cpu: &Cpu| {
        cpu.arrive();
        cpu.check(0, NOTHING);
        cpu.outlast(0, NOTHING);
    };
    explore(true, [(nothing, revokes_all), (left, comes)]);
}

#[test]
fn a_core_that_runs_forgets_a_large_page() {
    explore(true, [(nothing, revokes_all), (runs, uses)]);
}

#[test]
fn rights_that_are_taken_go_and_others_stay() {
    let writes = |cpu: &Cpu| {
        cpu.check(0, READ);
        cpu.outlast(0, READ);
        assert!(cpu.access(0).is_some_and(|rights| rights.contains(READ)));
    };
    explore(false, [(nothing, |cpu| cpu.revoke(Some(0), READ | Attributes::USER, false)), (runs, writes)]);
}

#[test]
fn who_revokes_from_its_own_domain_forgets_too() {
    let revokes = |cpu: &Cpu| {
        revokes(cpu);
        cpu.check(0, NOTHING);
    };
    explore(false, [(runs, revokes), (runs, uses)]);
}

/// Has used both pages and runs the domain.
fn runs_both(cpu: &Cpu) {
    runs(cpu);
    assert!(cpu.access(1).is_some());
}

#[test]
fn two_that_revoke_at_once_wait_for_each_other() {
    let first = |cpu: &Cpu| {
        cpu.revoke(Some(0), NOTHING, false);
        cpu.outlast(1, NOTHING);
        cpu.check(0, NOTHING);
    };
    let second = |cpu: &Cpu| {
        cpu.revoke(Some(1), NOTHING, false);
        cpu.outlast(0, NOTHING);
        cpu.check(1, NOTHING);
    };
    explore(false, [(runs_both, first), (runs_both, second)]);
}

/// Serves requests for both pages until both are over.
#[cfg(shuttle)]
fn serves_both(cpu: &Cpu) {
    while !(cpu.is_over(0) && cpu.is_over(1)) {
        for page in 0..2 {
            assert!(!cpu.is_over(page) || !cpu.remembers(page), "page {page} is still remembered");
        }
        cpu.breathe();
        sync::relax();
    }
    assert!(!cpu.remembers(0) && !cpu.remembers(1));
}

/// Too long for all executions.
#[cfg(shuttle)]
#[test]
fn requests_that_come_together_are_all_done() {
    explore(false, [(nothing, |cpu| cpu.ask(0, false)), (nothing, |cpu| cpu.ask(1, false)), (runs_both, serves_both)]);
}

/// Too long for all executions.
#[cfg(shuttle)]
#[test]
fn requests_of_who_waits_and_who_does_not_are_told_apart() {
    explore(false, [(nothing, |cpu| cpu.ask(0, false)), (nothing, |cpu| cpu.ask(1, true)), (runs_both, serves_both)]);
}

/// Too long for all executions.
#[cfg(shuttle)]
#[test]
fn a_core_that_two_ask_at_once_forgets_for_both() {
    let first = |cpu: &Cpu| cpu.revoke(Some(0), NOTHING, false);
    let second = |cpu: &Cpu| cpu.revoke(Some(1), NOTHING, false);
    let both = |cpu: &Cpu| {
        cpu.outlast(0, NOTHING);
        cpu.outlast(1, NOTHING);
    };
    explore(false, [(nothing, first), (nothing, second), (runs_both, both)]);
}

/// Uses page 0 while what is noted of it is cleared, and after.
fn is_noted(cpu: &Cpu) {
    cpu.leaves_evidence(0);
    cpu.breathe();
    cpu.outlast_clearing(0);
}

#[test]
fn an_access_after_the_bits_are_cleared_is_noted_again() {
    explore(false, [(nothing, |cpu| cpu.clear(0)), (runs, is_noted)]);
}

#[test]
fn an_access_to_a_large_page_after_the_bits_are_cleared_is_noted_again() {
    explore(true, [(nothing, |cpu| cpu.clear(0)), (runs, is_noted)]);
}

#[test]
fn who_does_not_wait_is_told_when_all_have_forgotten() {
    let takes = |cpu: &Cpu| {
        cpu.revoke_later(0, |_| {});
        cpu.reuse();
    };
    explore(false, [(nothing, takes), (runs, uses)]);
}

#[test]
fn who_takes_the_same_again_waits() {
    let takes = |cpu: &Cpu| cpu.revoke_later(0, revokes_all);
    explore(false, [(nothing, takes), (runs, uses)]);
}

/// Too long for all executions.
#[cfg(shuttle)]
#[test]
fn one_who_waits_and_one_who_does_not_are_told_what_is_theirs() {
    let first = |cpu: &Cpu| cpu.revoke_later(0, |_| {});
    let second = |cpu: &Cpu| cpu.revoke(Some(1), NOTHING, false);
    let both = |cpu: &Cpu| {
        cpu.outlast(0, NOTHING);
        cpu.outlast(1, NOTHING);
    };
    explore(false, [(nothing, first), (nothing, second), (runs_both, both)]);
}

/// Too long for all executions.
#[cfg(shuttle)]
#[test]
fn who_does_not_wait_for_two_is_told_when_both_have_forgotten() {
    let takes = |cpu: &Cpu| cpu.revoke_later(0, |_| {});
    let outlasts = |cpu: &Cpu| cpu.outlast(0, NOTHING);
    explore(false, [(nothing, takes), (runs, outlasts), (runs, outlasts)]);
}

#[test]
fn a_core_that_fills_its_view_does_not_find_a_table_that_was_taken_out() {
    explore(false, [(nothing, Cpu::revoke_and_empty), (fresh, uses)]);
}

#[test]
fn a_core_that_comes_back_does_not_find_a_table_that_was_taken_out() {
    let comes = |cpu: &Cpu| {
        cpu.arrive();
        cpu.check(0, NOTHING);
        cpu.outlast(0, NOTHING);
    };
    explore(false, [(nothing, Cpu::revoke_and_empty), (left, comes)]);
}

#[test]
fn the_naive_protocol_holds_too() {
    explore(false, [(nothing, |cpu| cpu.revoke(Some(0), NOTHING, true)), (runs, uses)]);
}
