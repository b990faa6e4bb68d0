//! The benchmark program reports every operation that it has, in instructions.

use anyhow::{Result, bail};
use xtask::bench::count::Count;
use xtask::bench::output::Output;
use xtask::bench::table;
use xtask::machine::Machine;
use xtask::run;

use crate::case::Case;
use crate::context::{Context, expect_line};

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![Case::new("bench-smoke", smoke), Case::new("bench-sweep", sweep), Case::new("bench-sweep-naive", naive_sweep)]
}

/// Few repetitions, on one core that counts instructions.
fn smoke(context: &Context, name: &str) -> Result<()> {
    let machine = Machine { smp: 1, counting: true, ..context.scenario(name, "bench")? };
    let request = "name=opt/vela/bench,string=repetitions=10 batches=2";
    let machine = Machine { qemu_args: vec!["-fw_cfg".into(), request.into()], ..machine };
    let outcome = run::to_the_end(&machine)?.success()?;
    let output = Output::parse(&outcome.log)?;
    complete(&output)?;
    let count = output.operations.len();
    expect_line(&outcome, &[&format!("bench: done, {count} of ")])
}

/// Two cores, few repetitions: the program itself refuses if interrupts are sent that need not be.
fn sweep(context: &Context, name: &str) -> Result<()> {
    let output = swept(context, name, "", &[])?;
    expect_interrupts(&output, &[("private_churn_2", 0), ("revoke_sharers_2", 1), ("revoke_pages_16_none", 0)])
}

/// The protocol to compare with interrupts the other core whether it must or not.
fn naive_sweep(context: &Context, name: &str) -> Result<()> {
    let output = swept(context, name, " interrupts=any", &["shootdown=naive"])?;
    expect_interrupts(&output, &[("private_churn_2", 1), ("revoke_sharers_2", 1), ("revoke_pages_16_none", 1)])
}

fn swept(context: &Context, name: &str, more: &str, kernel_args: &[&str]) -> Result<Output> {
    let machine = context.machine(name, context.kernel(), vec![context.program("bench")?], kernel_args)?;
    let only = "private_churn_*,,revoke_sharers_*,,revoke_pages_16_*";
    let request = format!("name=opt/vela/bench,string=repetitions=4 batches=2 only={only}{more}");
    let qemu_args = vec!["-fw_cfg".into(), request];
    let machine = Machine { smp: 2, counting: true, qemu_args, ..machine };
    Output::parse(&run::to_the_end(&machine)?.success()?.log)
}

/// These operations have figures, and so many interrupts each.
fn expect_interrupts(output: &Output, expected: &[(&str, u64)]) -> Result<()> {
    for (name, interrupts) in expected {
        let Some(each) = output.operations.iter().find(|each| each.name == *name) else { bail!("{name} did not run") };
        let sent = each.counters().get("ipis_sent").copied();
        if each.value.is_none() || sent != Some(Count::from(*interrupts)) {
            bail!("{name}: figure {:?}, {sent:?} interrupts, {:?}", each.value, each.error);
        }
    }
    Ok(())
}

/// The clock counts instructions, and every operation has a place in the table and, if one core is enough, a figure.
fn complete(output: &Output) -> Result<()> {
    match output.calibration {
        Some(calibration) if calibration.counts_instructions() => {}
        other => bail!("a tick is not an instruction: {other:?}"),
    }
    for name in ["null_hypercall", "ipc_same_pd_1w", "create_pt"] {
        if !output.operations.iter().any(|each| each.name == name) {
            bail!("there is no result for {name}");
        }
    }
    for each in &output.operations {
        match (table::find(&each.name), each.value) {
            (None, _) => bail!("{} is not in the table", each.name),
            (Some(entry), _) if entry.group.name() != each.group => bail!("{} is in another group", each.name),
            (_, None | Some(0)) => bail!("{} has no figure: {:?}", each.name, each.error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(calibration: &str, operations: &[&str]) -> Result<()> {
        let calibration = format!(
            "bench: {{\"calibration\":{{\"instructions\":2000001,\"ticks\":1,\"ticks_per_instruction\":{calibration},\"empty\":3}}}}"
        );
        let lines = operations.iter().map(|rest| format!("bench: {{\"name\":{rest}}}"));
        complete(&Output::parse(&std::iter::once(calibration).chain(lines).collect::<Vec<_>>())?)
    }

    #[test]
    fn a_missing_a_refused_and_an_unknown_operation_are_failures() {
        let good = [
            r#""null_hypercall","group":"ipc","value":50"#,
            r#""ipc_same_pd_1w","group":"ipc","value":50"#,
            r#""create_pt","group":"objects","value":50"#,
        ];
        assert!(judge("1.000", &good).is_ok());
        assert!(judge("1.250", &good).is_err());
        assert!(judge("1.000", &good[..2]).is_err());
        for bad in [
            r#""sm_up","group":"ipc","error":"x""#,
            r#""odd","group":"ipc","value":1"#,
            r#""sm_up","group":"vm","value":1"#,
        ] {
            assert!(judge("1.000", &[&good[..], &[bad]].concat()).is_err(), "{bad}");
        }
    }
}
