//! Vector registers: processors of other makers and ages than the usual one, and the kernel's own code.

use std::process::Command;

use anyhow::{Result, ensure};
use xtask::machine::Machine;
use xtask::{process, run};

use crate::case::Case;
use crate::context::{Context, expect_line};

/// Name of the case, QEMU's processor, and what the kernel says of its vector registers.
const PROCESSORS: [(&str, &str, &str); 2] = [
    ("vectors-without-xsave", "qemu64", "vector registers: 512 bytes, XCR0=0x0, kept when others run"),
    ("vectors-cleared", "Haswell", "vector registers: 832 bytes, XCR0=0x7, cleared when others run"),
];
/// The line that the program prints on all of them.
const LINE: &str = "vectors: 71 of 71 checks hold";
/// The functions that may touch vector registers have this in their names.
const PRIMITIVES: &str = "arch12vector_state";

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    let case = |&(name, processor, said): &(&'static str, &'static str, &'static str)| {
        Case::new(name, move |context, name| holds(context, name, processor, said))
    };
    let code = Case::new("vectors-kernel-code", |context, _| only_primitives(context));
    PROCESSORS.iter().map(case).chain([code]).collect()
}

fn holds(context: &Context, name: &str, processor: &str, said: &str) -> Result<()> {
    // Of two processors on its command line QEMU takes the second.
    let qemu_args = ["-cpu", processor].map(String::from).to_vec();
    let machine = Machine { smp: 2, qemu_args, ..context.scenario(name, "vectors")? };
    let outcome = run::to_the_end(&machine)?.success()?;
    expect_line(&outcome, &[said])?;
    expect_line(&outcome, &[LINE])
}

/// Looks through all instructions of the kernel but those of boot, which are 32-bit code with data in between.
fn only_primitives(context: &Context) -> Result<()> {
    let mut command = Command::new("objdump");
    command.args(["-d", "-j", ".text", "--no-show-raw-insn", "-M", "intel"]).arg(context.kernel());
    let listing = process::output(&mut command)?;
    let found = vector_instructions(&listing);
    let (inside, outside): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(function, _)| function.contains(PRIMITIVES));
    ensure!(!inside.is_empty(), "the primitives have no vector instructions: the disassembly is not understood");
    ensure!(outside.is_empty(), "vector instructions outside of `vector_state`: {outside:?}");
    Ok(())
}

/// Function and text of each instruction in a listing that touches vector registers, x87 and masks included.
fn vector_instructions(listing: &str) -> Vec<(&str, &str)> {
    let mut function = "";
    let mut found = Vec::new();
    for line in listing.lines() {
        if let Some((_, name)) = line.strip_suffix(">:").and_then(|line| line.split_once('<')) {
            function = name;
        } else if let Some((_, text)) = line.split_once(":\t")
            && is_vector(text.split(['#', '<']).next().unwrap_or(text))
        {
            found.push((function, text));
        }
    }
    found
}

fn is_vector(text: &str) -> bool {
    const WORDS: [&str; 5] = ["emms", "femms", "ldmxcsr", "stmxcsr", "wait"];
    let mnemonic = text.split_whitespace().next().unwrap_or(text);
    // All of x87 begins with this letter; the name of a segment that stands as a prefix does as well.
    let x87 = mnemonic.starts_with('f') && mnemonic != "fs";
    let area = ["xsave", "xrstor", "vzero"].iter().any(|start| mnemonic.starts_with(start));
    let numbered = |word: &str, bank: &str| word.strip_prefix(bank).is_some_and(|number| number.parse::<u8>().is_ok());
    let register =
        |word: &str| word == "st" || ["xmm", "ymm", "zmm", "mm", "k"].iter().any(|bank| numbered(word, bank));
    let mut words = text.split(|character: char| !character.is_ascii_alphanumeric());
    x87 || area || WORDS.contains(&mnemonic) || words.any(register)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_instructions_are_told_from_others() {
        let vector = [
            "movups xmm0,XMMWORD PTR [rdi]",
            "vaddpd zmm31,zmm1,zmm2",
            "fld1",
            "fsave  [rdi]",
            "kmovw  k1,eax",
            "xsaveopt64 [rcx]",
            "paddb  mm0,mm7",
            "fld    st(1)",
        ];
        assert_eq!(vector.map(is_vector), [true; 8]);
        let other = [
            "mov    rax,QWORD PTR fs:[rbx]",
            "fs nop",
            "call   81000000 ",
            "rep stos QWORD PTR es:[rdi],rax",
            "xchg   ax,ax",
        ];
        assert_eq!(other.map(is_vector), [false; 5]);
    }

    #[test]
    fn an_instruction_belongs_to_the_function_before_it() {
        let listing = "ffffffff81000000 <first>:\nffffffff81000000:\tret\n\nffffffff81000010 <second>:\n\
                       ffffffff81000010:\tcall   ffffffff81000000 <xmm0>\nffffffff81000012:\temms\n";
        assert_eq!(vector_instructions(listing), [("second", "emms")]);
    }
}
