//! QEMU's debugger interface, as far as breakpoints need it: the machine stops exactly at an instruction.
//!
//! Invariants: an answer that does not come in time is an error; a machine that ends is none.
//! Concurrency: one question at a time.
//! Source: GDB's manual, "Remote Serial Protocol".

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long nothing comes after a connection until nothing will.
const QUIET: Duration = Duration::from_secs(1);

/// A connection; the machine stands when it is made.
pub struct Debugger {
    stream: UnixStream,
    read: Vec<u8>,
}

impl Debugger {
    /// Connects to the socket of a machine, which stops; waits at most `patience` for each answer.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn connect(socket: &Path, patience: Duration) -> Result<Self> {
        let until = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(error).context("QEMU's debugger interface does not take a connection"),
            }
        };
        let mut debugger = Self { stream, read: Vec::new() };
        debugger.limit(QUIET)?;
        // That the machine stands still may be said more than once: only what comes later is an answer.
        debugger.stream.write_all(packet("?").as_bytes()).context("QEMU's debugger interface is gone")?;
        while debugger.answer().is_ok_and(|answer| answer.is_some()) {}
        debugger.limit(patience)?;
        Ok(debugger)
    }

    fn limit(&self, patience: Duration) -> Result<()> {
        self.stream.set_read_timeout(Some(patience)).context("no time limit for the debugger interface")
    }

    /// Stops the machine at `address` from now on, or does not any more.
    ///
    /// # Errors
    /// QEMU does not answer, or refuses.
    pub fn set_breakpoint(&mut self, address: u64, there: bool) -> Result<()> {
        let answer = self.ask(&format!("{}0,{address:x},1", if there { 'Z' } else { 'z' }))?;
        if answer.as_deref() != Some("OK") {
            bail!("QEMU refuses a breakpoint: {answer:?}");
        }
        Ok(())
    }

    /// Lets the machine run until it stops (true) or ends (false).
    ///
    /// # Errors
    /// Neither happens in time.
    pub fn run(&mut self) -> Result<bool> {
        let answer = self.ask("c")?;
        Ok(answer.is_some_and(|answer| answer.starts_with(['T', 'S'])))
    }

    /// Sends a packet and waits for one; `None` when the machine has ended.
    fn ask(&mut self, text: &str) -> Result<Option<String>> {
        if self.stream.write_all(packet(text).as_bytes()).is_err() {
            return Ok(None);
        }
        self.answer()
    }

    /// The next packet.
    fn answer(&mut self) -> Result<Option<String>> {
        loop {
            if let Some((answer, length)) = answer(&self.read) {
                self.read.drain(..length);
                // It may be gone already.
                let _ = self.stream.write_all(b"+");
                return Ok(Some(answer));
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => self.read.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(error).context("the machine neither stops nor ends"),
            }
        }
    }
}

/// A packet with its sum.
fn packet(text: &str) -> String {
    let sum = text.bytes().fold(0_u8, u8::wrapping_add);
    format!("${text}#{sum:02x}")
}

/// The first packet in `read`, and where it ends.
fn answer(read: &[u8]) -> Option<(String, usize)> {
    let start = read.iter().position(|byte| *byte == b'$')?;
    let length = read[start..].iter().position(|byte| *byte == b'#')?;
    let end = start + length + 3;
    (end <= read.len()).then(|| (String::from_utf8_lossy(&read[start + 1..start + length]).into_owned(), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_ends_with_the_sum_of_its_bytes() {
        assert_eq!(packet("OK"), "$OK#9a");
        assert_eq!(packet("c"), "$c#63");
    }

    #[test]
    fn an_answer_is_what_lies_between_the_marks() {
        assert_eq!(answer(b"+$T05thread:01;#07"), Some(("T05thread:01;".into(), 18)));
        assert_eq!((answer(b"+$T05"), answer(b"$OK#9"), answer(b"+")), (None, None, None));
    }
}
