//! The monitor's arguments: what to run, then, behind `--`, the guest's command line.
//!
//! Invariants: any text is understood or refused with the word that is wrong.
//! Concurrency: plain values.

use alloc::vec::Vec;

/// How often a machine starts again.
const RESTARTS: u32 = 20;

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
    /// `disk=NAME`: a module as a disk that is only read; `disk=NAME+4M`: one whose changes are kept, up to so many bytes;
    /// `disk=16M`: memory as a disk; again.
    pub disks: Vec<Disk<'a>>,
    /// `net=N`: a network device, whose address ends with this number.
    pub net: Option<u8>,
    /// `console=virtio`: what is typed goes to a virtio console, not to the serial port.
    pub console: bool,
    /// `rng`: a source of entropy.
    pub rng: bool,
    /// `exits`: at the end, say what kinds of exits there were.
    pub exits: bool,
    /// `restart`: the machine starts again after a fault that ends it too, not only after a reset that the guest asks for.
    pub restart: bool,
    /// `restarts=N`: how often it starts again; without it 20 times.
    pub restarts: u32,
    /// `watchdog=N`: a virtual CPU that does not leave the guest for so many milliseconds hangs, which is a fault.
    pub watchdog: u32,
    /// `cpus=N`: virtual CPUs, 1 to 4.
    pub cpus: u32,
    /// The guest's command line.
    pub command_line: &'a str,
}

/// What is on a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disk<'a> {
    /// A module.
    Module(&'a str),
    /// A module, and as many bytes of memory for its changes.
    Changing(&'a str, usize),
    /// As many bytes of memory.
    Memory(usize),
}

impl<'a> Arguments<'a> {
    /// Reads the text.
    ///
    /// # Errors
    /// The word that is not understood.
    pub fn parse(text: &'a str) -> Result<Self, &'a str> {
        let (ours, command_line) = text.split_once("--").map_or((text, ""), |(ours, rest)| (ours, rest.trim()));
        let mut arguments = Self {
            kernel: None,
            multiboot: None,
            initial: None,
            modules: Vec::new(),
            disks: Vec::new(),
            net: None,
            console: false,
            rng: false,
            exits: false,
            restart: false,
            restarts: RESTARTS,
            watchdog: 0,
            cpus: 1,
            command_line,
        };
        for word in ours.split_whitespace() {
            match word.split_once('=') {
                Some(("kernel", name)) => arguments.kernel = Some(name),
                Some(("multiboot", name)) => arguments.multiboot = Some(name),
                Some(("initrd", name)) => arguments.initial = Some(name),
                Some(("module", name)) => arguments.modules.push(name),
                Some(("disk", name)) => arguments.disks.push(disk(name)),
                Some(("net", number)) => arguments.net = Some(number.parse().map_err(|_| word)?),
                Some(("console", "virtio")) => arguments.console = true,
                None if word == "rng" => arguments.rng = true,
                None if word == "exits" => arguments.exits = true,
                None if word == "restart" => arguments.restart = true,
                Some(("restarts", count)) => arguments.restarts = count.parse().map_err(|_| word)?,
                Some(("watchdog", milliseconds)) => arguments.watchdog = milliseconds.parse().map_err(|_| word)?,
                Some(("cpus", count)) => {
                    arguments.cpus = count.parse().ok().filter(|count| (1..=4).contains(count)).ok_or(word)?;
                }
                _ => return Err(word),
            }
        }
        Ok(arguments)
    }
}

/// A number of mebibytes, or a name, or both.
fn disk(text: &str) -> Disk<'_> {
    let size = |text: &str| Some(usize::from(text.strip_suffix('M')?.parse::<u16>().ok()?) << 20);
    let both = text.rsplit_once('+').and_then(|(name, room)| Some(Disk::Changing(name, size(room)?)));
    both.or_else(|| size(text).map(Disk::Memory)).unwrap_or(Disk::Module(text))
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
        let disks = Arguments::parse("disk=16M disk=files disk=more+2M rng console=virtio")
            .map(|all| (all.disks, all.rng, all.console));
        assert_eq!(
            disks,
            Ok((
                alloc::vec![Disk::Memory(16 << 20), Disk::Module("files"), Disk::Changing("more", 2 << 20)],
                true,
                true
            ))
        );
        let again = Arguments::parse("restart watchdog=5").map(|all| (all.restart, all.restarts, all.watchdog));
        assert_eq!(again, Ok((true, RESTARTS, 5)));
        assert_eq!(Arguments::parse("restarts=often"), Err("restarts=often"));
        assert_eq!(Arguments::parse("cpus=9"), Err("cpus=9"));
        assert_eq!(Arguments::parse("kernel"), Err("kernel"));
    }
}
