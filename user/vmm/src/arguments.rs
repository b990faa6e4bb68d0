//! The monitor's arguments: what to run, then, behind `--`, the guest's command line.
//!
//! Invariants: any text is understood or refused with the word that is wrong.
//! Concurrency: plain values.

use alloc::vec::Vec;

/// What to run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arguments<'a> {
    /// `kernel=NAME`: the module with Linux.
    pub kernel: Option<&'a str>,
    /// `multiboot=NAME`: the module with a Multiboot guest.
    pub multiboot: Option<&'a str>,
    /// `initrd=NAME`: the module with Linux's initial file system.
    pub initial: Option<&'a str>,
    /// `module=NAME`: further modules for a Multiboot guest.
    pub modules: Vec<&'a str>,
    /// `cpus=N`: virtual CPUs, 1 to 4.
    pub cpus: u32,
    /// The guest's command line.
    pub command_line: &'a str,
}

impl<'a> Arguments<'a> {
    /// Reads the text.
    ///
    /// # Errors
    /// The word that is not understood.
    pub fn parse(text: &'a str) -> Result<Self, &'a str> {
        let (ours, command_line) = text.split_once("--").map_or((text, ""), |(ours, rest)| (ours, rest.trim()));
        let mut arguments =
            Self { kernel: None, multiboot: None, initial: None, modules: Vec::new(), cpus: 1, command_line };
        for word in ours.split_whitespace() {
            match word.split_once('=') {
                Some(("kernel", name)) => arguments.kernel = Some(name),
                Some(("multiboot", name)) => arguments.multiboot = Some(name),
                Some(("initrd", name)) => arguments.initial = Some(name),
                Some(("module", name)) => arguments.modules.push(name),
                Some(("cpus", count)) => {
                    arguments.cpus = count.parse().ok().filter(|count| (1..=4).contains(count)).ok_or(word)?;
                }
                _ => return Err(word),
            }
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_before_the_dashes_are_the_monitors() {
        let arguments = Arguments::parse("kernel=linux initrd=files cpus=2 -- console=ttyS0 quiet");
        let Ok(arguments) = arguments else { unreachable!("it is understood") };
        assert_eq!((arguments.kernel, arguments.initial, arguments.cpus), (Some("linux"), Some("files"), 2));
        assert_eq!(arguments.command_line, "console=ttyS0 quiet");
        assert_eq!(Arguments::parse("cpus=9"), Err("cpus=9"));
        assert_eq!(Arguments::parse("kernel"), Err("kernel"));
    }
}
