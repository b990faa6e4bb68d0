//! QEMU's human monitor over a Unix socket.
//!
//! Invariants: it echoes what is typed and ends every answer with its prompt;
//! an answer that does not come in time is an error. Concurrency: one question
//! at a time. Source: QEMU's documentation, "QEMU Monitor".

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const PROMPT: &[u8] = b"(qemu) ";
/// How long QEMU may take for one answer; `info tlb` can be long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the monitor of one machine.
pub struct Monitor {
    stream: UnixStream,
}

impl Monitor {
    /// Connects to the socket; waits for QEMU to create it.
    pub fn connect(socket: &Path) -> Result<Self> {
        let until = Instant::now() + Duration::from_secs(10);
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(error).context("QEMU's monitor does not take a connection"),
            }
        };
        stream.set_read_timeout(Some(PATIENCE)).context("no time limit for the monitor")?;
        let mut monitor = Self { stream };
        monitor.answer()?;
        Ok(monitor)
    }

    /// Sends one command and returns its answer.
    pub fn command(&mut self, command: &str) -> Result<String> {
        writeln!(self.stream, "{command}").context("QEMU's monitor is gone")?;
        self.answer()
    }

    /// Reads up to the prompt and drops the echo of the command.
    fn answer(&mut self) -> Result<String> {
        let mut read = Vec::new();
        let mut buffer = [0; 65536];
        while !read.ends_with(PROMPT) {
            match self.stream.read(&mut buffer).context("QEMU's monitor does not answer")? {
                0 => bail!("QEMU ended while its monitor was asked"),
                count => read.extend_from_slice(&buffer[..count]),
            }
        }
        read.truncate(read.len() - PROMPT.len());
        let text = String::from_utf8_lossy(&read).replace('\r', "");
        Ok(text.split_once('\n').map(|(_, answer)| answer.to_owned()).unwrap_or_default())
    }
}
