//! An image that can be written: what changes is kept in memory, the image stays as it is.
//!
//! Invariants: memory is taken once, at the start; when it is used up, what is written to further blocks fails.
//! Concurrency: plain value.

use alloc::boxed::Box;
use alloc::vec;

/// Bytes of a block, which changes as a whole.
const BLOCK: usize = 4096;
/// The block is as in the image.
const SAME: u32 = u32::MAX;

/// The image and its changes.
#[derive(Debug)]
pub struct Overlay {
    image: &'static [u8],
    /// For each block of the image where its changed contents are.
    places: Box<[u32]>,
    changed: Box<[u8]>,
    used: usize,
}

impl Overlay {
    /// None changed so far; changes may take `room` bytes.
    #[must_use]
    pub fn new(image: &'static [u8], room: usize) -> Self {
        let places = vec![SAME; image.len().div_ceil(BLOCK)].into_boxed_slice();
        Self { image, places, changed: vec![0; room / BLOCK * BLOCK].into_boxed_slice(), used: 0 }
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.image.len()
    }

    /// The bytes from `at` on, as many as lie together and at most `most`; none beyond the end.
    #[must_use]
    pub fn read(&self, at: usize, most: usize) -> &[u8] {
        let (block, inside) = (at / BLOCK, at % BLOCK);
        let most = most.min(BLOCK - inside).min(self.size().saturating_sub(at));
        let found = match self.place(block) {
            Some(place) => self.changed.get(place + inside..place + inside + most),
            None => self.image.get(at..at + most),
        };
        found.unwrap_or_default()
    }

    /// The same, to be written; `None` beyond the end, or if there is no memory for a further change.
    pub fn write(&mut self, at: usize, most: usize) -> Option<&mut [u8]> {
        let (block, inside) = (at / BLOCK, at % BLOCK);
        let most = most.min(BLOCK - inside).min(self.size().checked_sub(at)?);
        let place = match self.place(block) {
            Some(place) => place,
            None => self.change(block)?,
        };
        self.changed.get_mut(place + inside..place + inside + most)
    }

    /// Where the changed contents of a block are.
    fn place(&self, block: usize) -> Option<usize> {
        self.places.get(block).filter(|place| **place != SAME).map(|place| *place as usize * BLOCK)
    }

    /// Copies a block, so that it can change.
    fn change(&mut self, block: usize) -> Option<usize> {
        let start = self.used;
        let to = self.changed.get_mut(start..start + BLOCK)?;
        let from = self.image.get(block * BLOCK..)?;
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        *self.places.get_mut(block)? = u32::try_from(start / BLOCK).ok()?;
        self.used += BLOCK;
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_rest_is_the_image() {
        static IMAGE: [u8; 10_000] = [7; 10_000];
        let mut overlay = Overlay::new(&IMAGE, BLOCK);
        assert_eq!(overlay.read(4000, 1000).len(), 96);
        overlay.write(4000, 10).unwrap().fill(1);
        assert_eq!((overlay.read(3999, 3), overlay.read(4010, 1)), (&[7, 1, 1][..], &[7][..]));
        assert_eq!(overlay.write(4096, 1), None, "no room for another block");
        assert!(overlay.write(0, 1).is_some());
        assert_eq!((overlay.read(9_999, 100).len(), overlay.read(10_000, 1).len()), (1, 0));
        assert_eq!(overlay.write(10_001, 1), None);
    }
}
