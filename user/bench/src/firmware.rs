//! QEMU's firmware configuration device, by which the tool tells the program what to do.
//!
//! A root program cannot see its own command line before it owns memory; this device needs ports only.
//! Invariants: any answers of the device end in a line or in nothing; sizes are clamped.
//! Concurrency: one user.
//! Source: QEMU's documentation, "QEMU Firmware Configuration (fw_cfg) Device".

use crate::request::MAX_LENGTH;

/// The item that holds the line.
pub const NAME: &str = "opt/vela/bench";

const SIGNATURE: u16 = 0;
const DIRECTORY: u16 = 0x19;
/// Most entries of the directory that are looked at.
const MAX_ENTRIES: u32 = 1024;
const NAME_LENGTH: usize = 56;

/// The device: an item is selected and then read byte by byte.
pub trait Device {
    /// Selects an item; reading starts at its beginning.
    fn select(&mut self, item: u16);
    /// The next byte.
    fn read(&mut self) -> u8;
}

/// Reads the line into `line`; the part that was filled. Nothing where there is no such device or item.
pub fn read<'a>(device: &mut impl Device, line: &'a mut [u8; MAX_LENGTH]) -> &'a [u8] {
    let Some((item, size)) = find(device) else { return &[] };
    let size = size.min(MAX_LENGTH);
    device.select(item);
    line[..size].fill_with(|| device.read());
    &line[..size]
}

/// Item and size of the entry called [`NAME`].
fn find(device: &mut impl Device) -> Option<(u16, usize)> {
    device.select(SIGNATURE);
    if bytes::<4>(device) != *b"QEMU" {
        return None;
    }
    device.select(DIRECTORY);
    let entries = u32::from_be_bytes(bytes(device)).min(MAX_ENTRIES);
    for _ in 0..entries {
        let size = u32::from_be_bytes(bytes(device));
        let item = u16::from_be_bytes(bytes(device));
        let _reserved = bytes::<2>(device);
        let name = bytes::<NAME_LENGTH>(device);
        let length = name.iter().position(|&byte| byte == 0).unwrap_or(NAME_LENGTH);
        if name[..length] == *NAME.as_bytes() {
            return Some((item, size as usize));
        }
    }
    None
}

fn bytes<const N: usize>(device: &mut impl Device) -> [u8; N] {
    core::array::from_fn(|_| device.read())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Items by number; beyond the end of one there are zeros.
    struct Made(Vec<(u16, Vec<u8>)>, u16, usize);

    impl Device for Made {
        fn select(&mut self, item: u16) {
            (self.1, self.2) = (item, 0);
        }
        fn read(&mut self) -> u8 {
            self.2 += 1;
            let found = self.0.iter().find(|(item, _)| *item == self.1);
            found.and_then(|(_, data)| data.get(self.2 - 1)).copied().unwrap_or(0)
        }
    }

    fn entry(name: &str, item: u16, size: u32) -> Vec<u8> {
        let mut entry = [&size.to_be_bytes()[..], &item.to_be_bytes(), &[0; 2], name.as_bytes()].concat();
        entry.resize(64, 0);
        entry
    }

    fn text(signature: &[u8], name: &str, line: &[u8]) -> Vec<u8> {
        let other = entry("etc/other", 0x20, 4);
        let directory = [&2_u32.to_be_bytes()[..], &other, &entry(name, 0x21, line.len() as u32)].concat();
        let items = vec![(0, signature.to_vec()), (0x19, directory), (0x20, vec![9; 4]), (0x21, line.to_vec())];
        read(&mut Made(items, 0, 0), &mut [0; MAX_LENGTH]).to_vec()
    }

    #[test]
    fn the_line_is_found_by_name() {
        assert_eq!(text(b"QEMU", NAME, b"trace=3"), b"trace=3");
    }

    #[test]
    fn without_the_device_or_the_item_there_is_nothing() {
        assert_eq!(text(b"\xff\xff\xff\xff", NAME, b"trace=3"), b"");
        assert_eq!(text(b"QEMU", "opt/vela/other", b"trace=3"), b"");
    }

    #[test]
    fn a_long_line_is_cut_off() {
        assert_eq!(text(b"QEMU", NAME, &[b'x'; 1000]), [b'x'; MAX_LENGTH]);
    }

    proptest! {
        #[test]
        fn any_directory_is_read_to_an_end(directory: Vec<u8>, data: Vec<u8>) {
            let items = vec![(0, b"QEMU".to_vec()), (0x19, directory), (0x21, data)];
            prop_assert!(read(&mut Made(items, 0, 0), &mut [0; MAX_LENGTH]).len() <= MAX_LENGTH);
        }
    }
}
