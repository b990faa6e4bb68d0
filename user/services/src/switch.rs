//! The service `switch`: a network between virtual machines.
//!
//! A client is a port of the switch from its first request on; with [`Request::Attach`] comes a semaphore that is upped when
//! something waits for it.
//! Invariants: a frame has at most 1514 bytes.
//! Concurrency: plain values.

use rt::message::{Decode, Encode, Reader, Writer};
use rt::service::Service;

/// Longest frame in bytes.
pub const FRAME: usize = 1514;
const WORDS: usize = FRAME.div_ceil(8);

/// A frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    bytes: [u8; 8 * WORDS],
    length: usize,
}

impl Frame {
    /// The frame with these bytes; what is too long is cut.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut frame = Self { bytes: [0; 8 * WORDS], length: bytes.len().min(FRAME) };
        frame.bytes.iter_mut().zip(bytes.iter().take(FRAME)).for_each(|(slot, byte)| *slot = *byte);
        frame
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl Encode for Frame {
    fn encode(&self, to: &mut Writer<'_>) {
        to.word(self.length as u64);
        let (words, _) = self.bytes.as_chunks::<8>();
        words.iter().take(self.length.div_ceil(8)).for_each(|word| to.word(u64::from_le_bytes(*word)));
    }
}

impl Decode for Frame {
    fn decode(from: &mut Reader<'_>) -> Option<Self> {
        let length = usize::try_from(from.word()?).ok().filter(|length| *length <= FRAME)?;
        let mut frame = Self { bytes: [0; 8 * WORDS], length };
        let (words, _) = frame.bytes.as_chunks_mut::<8>();
        for word in words.iter_mut().take(length.div_ceil(8)) {
            *word = from.word()?.to_le_bytes();
        }
        Some(frame)
    }
}

rt::message! {
    /// What a client asks.
    pub enum Request {
        /// Up the semaphore in this message when a frame waits.
        Attach() = 1,
        /// Send a frame.
        Send(frame: Frame) = 2,
        /// The next frame that waits.
        Receive() = 3,
    }
}

rt::message! {
    /// What it is answered.
    pub enum Reply {
        /// It is done.
        Done() = 1,
        /// A frame.
        Frame(frame: Frame) = 2,
        /// Nothing waits.
        Nothing() = 3,
        /// All ports are taken, or somebody else is at it just now: the frame is lost.
        Busy() = 4,
    }
}

/// The service.
#[derive(Clone, Copy, Debug)]
pub struct Network;

impl Service for Network {
    const NAME: &'static str = "switch";
    type Request = Request;
    type Reply = Reply;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_arrives_as_it_was_sent() {
        let mut words = [0_u64; 256];
        let frame = Frame::new(&[7; 1514]);
        let mut to = Writer::new(&mut words);
        frame.encode(&mut to);
        assert_eq!(to.finish(), Some(191));
        assert_eq!(Frame::decode(&mut Reader::new(&words, 191)), Some(frame));
        assert_eq!(Frame::decode(&mut Reader::new(&words, 100)), None);
        words[0] = 1515;
        assert_eq!(Frame::decode(&mut Reader::new(&words, 191)), None);
    }
}
