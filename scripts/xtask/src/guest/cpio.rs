//! Archives of the format "newc", which Linux unpacks as its initial file system.
//!
//! Invariants: names and contents are aligned to 4 bytes; the archive is complete.
//! Concurrency: plain value.
//! Source: Linux, Documentation/driver-api/early-userspace/buffer-format.

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const DEVICE: u32 = 0o020_600;

/// An archive that grows.
#[derive(Default, Debug)]
pub struct Archive {
    bytes: Vec<u8>,
    count: u32,
}

impl Archive {
    /// Adds a directory.
    pub fn directory(&mut self, name: &str) {
        self.add(name, DIRECTORY, &[], (0, 0));
    }

    /// Adds a file that can be executed.
    pub fn file(&mut self, name: &str, contents: &[u8]) {
        self.add(name, PROGRAM, contents, (0, 0));
    }

    /// Adds a character device.
    pub fn device(&mut self, name: &str, major: u32, minor: u32) {
        self.add(name, DEVICE, &[], (major, minor));
    }

    /// The finished archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn add(&mut self, name: &str, mode: u32, contents: &[u8], (major, minor): (u32, u32)) {
        self.count += 1;
        let length = name.len() as u32 + 1;
        let size = contents.len() as u32;
        let fields = [self.count, mode, 0, 0, 1, 0, size, 0, 0, major, minor, length, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(contents);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_a_name_and_contents_each_aligned() {
        let mut archive = Archive::default();
        archive.file("init", b"hello");
        let bytes = archive.finish();
        assert!(bytes.starts_with(b"07070100000001000081ED"));
        assert_eq!(&bytes[110..115], b"init\0");
        assert_eq!(&bytes[116..124], b"hello\0\0\0");
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.windows(10).any(|window| window == b"TRAILER!!!"));
    }
}
