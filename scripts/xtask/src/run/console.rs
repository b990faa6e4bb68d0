//! The console as lines: from a pipe, from a growing file, from bytes at hand.
//!
//! A reader thread sends complete lines; the rest before the end is a line
//! too. Carriage returns and terminal escapes (UEFI prints them) are removed.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// Lines of `source` until its end. With `growing` the end of the file is
/// final only once the flag is set.
pub fn follow(mut source: impl Read + Send + 'static, growing: Option<Arc<AtomicBool>>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut pending = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            // The flag is read before the file: what was written before it was set is seen.
            let last = growing.as_ref().is_none_or(|done| done.load(Ordering::Acquire));
            match source.read(&mut buffer) {
                Ok(count) if count > 0 => {
                    pending.extend_from_slice(&buffer[..count]);
                    if send(&mut pending, &sender).is_none() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ if last => break,
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
        if !pending.is_empty() {
            // The receiver may have gone; then nobody wants the rest.
            let _ = sender.send(clean(&pending));
        }
    });
    receiver
}

/// Opens a file that another process is about to fill.
pub fn growing(path: &std::path::Path, done: &Arc<AtomicBool>) -> std::io::Result<Receiver<String>> {
    File::create(path)?;
    Ok(follow(File::open(path)?, Some(done.clone())))
}

/// The lines of what was printed.
pub fn lines(printed: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = printed.split(|byte| *byte == b'\n').map(clean).collect();
    if lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// Sends the complete lines; `None` when nobody listens any more.
fn send(pending: &mut Vec<u8>, sender: &Sender<String>) -> Option<()> {
    while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = pending.drain(..=end).collect();
        sender.send(clean(&line[..end])).ok()?;
    }
    Some(())
}

/// Text without terminal escapes and control characters.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            if chars.next_if_eq(&'[').is_some() {
                // A control sequence ends with a character from @ to ~.
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            } else {
                chars.next();
            }
        } else if c == '\t' || !c.is_control() {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn lines_lose_returns_and_escapes_and_keep_the_rest() {
        let text = b"one\r\n\x1b[2J\x1b[01;01H\x1b=two\n\nrest";
        assert_eq!(lines(text), ["one", "two", "", "rest"]);
        assert_eq!(follow(Cursor::new(text.to_vec()), None).iter().collect::<Vec<_>>(), ["one", "two", "", "rest"]);
    }

    #[test]
    fn a_growing_file_is_read_to_what_was_written_before_its_end() {
        let path = std::env::temp_dir().join(format!("vela-console-{}", std::process::id()));
        let done = Arc::new(AtomicBool::new(false));
        let receiver = growing(&path, &done);
        let written = std::fs::write(&path, "a\nb\nc");
        done.store(true, Ordering::Release);
        let _ = std::fs::remove_file(&path);
        assert!(written.is_ok());
        assert!(receiver.is_ok_and(|lines| lines.iter().eq(["a", "b", "c"])));
    }
}
