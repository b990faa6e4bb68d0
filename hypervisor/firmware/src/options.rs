//! The kernel's command line.
//!
//! Purpose: `name=value` and `name` tokens, separated by spaces, into one structure.
//! Invariants: an unknown or malformed token changes nothing and is listed for a warning; the last of two wins.
//! Concurrency: a plain value.
//! Source: design plan §5; the list with explanations is in `docs/src/command-line.md`.

/// What the command line says; `None` and `false` where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// `log=`: name of the highest level to show.
    pub log: Option<&'a str>,
    /// `console=`: list of outputs, `serial` and `e9`, or `none`.
    pub console: Option<&'a str>,
    /// `serial=`: base port of the serial line.
    pub serial: Option<u16>,
    /// `exit=`: port of an emulator's exit device.
    pub exit: Option<u16>,
    /// `kernel-memory=`: size of the kernel's pool in bytes.
    pub kernel_memory: Option<u64>,
    /// `cores=`: use at most so many cores.
    pub cores: Option<u32>,
    /// `poison`: overwrite freed frames.
    pub poison: bool,
    /// `xapic`: do not use the MSR interface of the local interrupt controller.
    pub xapic: bool,
    /// `shootdown=naive`: make cores forget translations one after the other, all that run the domain.
    pub naive_shootdown: bool,
    /// `flush-threshold=`: so many pages, at least 1 and at most 64, are forgotten one by one.
    pub flush_threshold: Option<u64>,
    /// `pcid=off`: what cores remember of tables has no tags, whatever the processor can do.
    pub no_tags: bool,
    /// `provoke=`: fail on purpose (only kernels built for self-tests do).
    pub provoke: Option<&'a str>,
}

impl<'a> Options<'a> {
    /// Understands `line`; `unknown` gets every token that means nothing.
    pub fn parse(line: &'a str, mut unknown: impl FnMut(&'a str)) -> Self {
        let mut options = Self::default();
        for token in line.split_ascii_whitespace() {
            if options.token(token).is_none() {
                unknown(token);
            }
        }
        options
    }

    fn token(&mut self, token: &'a str) -> Option<()> {
        let (name, value) = token.split_once('=').map_or((token, None), |(name, value)| (name, Some(value)));
        match (name, value) {
            ("log", Some(level)) => self.log = Some(level),
            ("console", Some(outputs)) => self.console = Some(outputs),
            ("serial", Some(port)) => self.serial = Some(number(port)?.try_into().ok()?),
            ("exit", Some(port)) => self.exit = Some(number(port)?.try_into().ok()?),
            ("kernel-memory", Some(size)) => self.kernel_memory = Some(bytes(size)?),
            ("cores", Some(count)) => self.cores = Some(number(count)?.try_into().ok().filter(|&count| count > 0)?),
            ("provoke", Some(name)) => self.provoke = Some(name),
            ("shootdown", Some(protocol)) => self.naive_shootdown = (protocol == "naive").then_some(true)?,
            ("flush-threshold", Some(pages)) => {
                self.flush_threshold = Some(number(pages).filter(|pages| matches!(pages, 1..=64))?);
            }
            ("pcid", Some("off")) => self.no_tags = true,
            ("poison", None) => self.poison = true,
            ("xapic", None) => self.xapic = true,
            _ => return None,
        }
        Some(())
    }
}

/// A decimal or, after `0x`, hexadecimal number.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    // `from_str_radix` would take a sign.
    let sign = digits.starts_with('+');
    u64::from_str_radix(digits, radix).ok().filter(|_| !sign)
}

/// A number of bytes with an optional suffix K, M or G.
fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    number(digits)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> (Options<'_>, Vec<&str>) {
        let mut unknown = Vec::new();
        let options = Options::parse(line, |token| unknown.push(token));
        (options, unknown)
    }

    #[test]
    fn every_option_is_understood() {
        let line = "log=debug console=serial,e9 serial=0x2f8 exit=244 kernel-memory=64M cores=2 poison xapic provoke=x shootdown=naive pcid=off flush-threshold=64";
        let expected = Options {
            log: Some("debug"),
            console: Some("serial,e9"),
            serial: Some(0x2F8),
            exit: Some(0xF4),
            kernel_memory: Some(64 << 20),
            cores: Some(2),
            poison: true,
            xapic: true,
            naive_shootdown: true,
            flush_threshold: Some(64),
            no_tags: true,
            provoke: Some("x"),
        };
        assert_eq!(parse(line), (expected, vec![]));
    }

    #[test]
    fn malformed_tokens_change_nothing_and_are_listed() {
        for token in [
            "serial=70000",
            "exit=",
            "kernel-memory=-1",
            "kernel-memory=0x",
            "kernel-memory=99999999999999G",
            "cores=0",
            "cores=+1",
            "poison=1",
            "shootdown=wild",
            "pcid=on",
            "flush-threshold=0",
            "flush-threshold=65",
            "log",
            "=",
            "kernel-memory=é",
        ] {
            assert_eq!(parse(token), (Options::default(), vec![token]), "{token}");
        }
    }
}
