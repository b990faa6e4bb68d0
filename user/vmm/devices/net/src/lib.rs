//! Device model: a virtio network device, on a wire that somebody else provides.
//!
//! Invariants: a frame that the driver has no buffer for is lost, as on a real wire.
//! Concurrency: plain value; the wire decides how frames get to others.
//! Source: VIRTIO 1.2, §5.1.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod switch;

pub use switch::{Port, Switch};

use vm_virtio::{Broken, Context, Model, Queue};

/// Longest frame in bytes.
pub const FRAME: usize = 1514;
/// Bytes before every frame: what the driver wants computed, which is nothing.
const HEADER: usize = 12;
const MAC: u64 = 1 << 5;
const STATUS: u64 = 1 << 16;
const LINK_UP: u8 = 1;
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

/// What a device is connected to.
pub trait Wire: Send {
    /// Sends a frame.
    fn send(&mut self, frame: &[u8]);
    /// Receives a frame into `to`; its length, 0 if there is none.
    fn receive(&mut self, to: &mut [u8; FRAME]) -> usize;
}

/// The device.
#[derive(Debug)]
pub struct Net<W> {
    wire: W,
    config: [u8; 8],
}

impl<W: Wire> Net<W> {
    /// One with this address.
    #[must_use]
    pub const fn new(wire: W, address: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = address;
        Self { wire, config: [a, b, c, d, e, f, LINK_UP, 0] }
    }
}

impl<W: Wire> Model for Net<W> {
    fn kind(&self) -> u16 {
        1
    }

    fn class(&self) -> (u8, u8, u8) {
        (2, 0, 0)
    }

    fn features(&self) -> u64 {
        MAC | STATUS
    }

    fn queues(&self) -> usize {
        2
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn serve(&mut self, number: usize, queues: &mut [Queue], context: &mut Context<'_>) -> Result<(), Broken> {
        if number != TRANSMIT {
            return self.poll(queues, context);
        }
        let queue = queues.get_mut(TRANSMIT).ok_or(Broken)?;
        while let Some(chain) = queue.pop(context.memory)? {
            let mut bytes = [0; HEADER + FRAME];
            let count = chain.read(context.memory, 0, &mut bytes)?;
            if let Some(frame) = bytes.get(HEADER..count).filter(|frame| !frame.is_empty()) {
                self.wire.send(frame);
            }
            queue.push(context.memory, &chain, 0)?;
        }
        Ok(())
    }

    fn poll(&mut self, queues: &mut [Queue], context: &mut Context<'_>) -> Result<(), Broken> {
        let queue = queues.get_mut(RECEIVE).ok_or(Broken)?;
        if !queue.ready {
            return Ok(());
        }
        let mut frame = [0; FRAME];
        loop {
            let length = self.wire.receive(&mut frame);
            if length == 0 {
                return Ok(());
            }
            let Some(chain) = queue.pop(context.memory)? else { return Ok(()) };
            let mut header = [0; HEADER];
            // One buffer.
            header[10] = 1;
            let mut written = chain.write(context.memory, 0, &header)?;
            written += chain.write(context.memory, HEADER as u64, frame.get(..length).unwrap_or_default())?;
            queue.push(context.memory, &chain, written as u32)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::{Memory, TestMemory};

    #[derive(Default)]
    struct Line {
        sent: Vec<Vec<u8>>,
        waiting: Vec<Vec<u8>>,
    }

    impl Wire for Line {
        fn send(&mut self, frame: &[u8]) {
            self.sent.push(frame.to_vec());
        }

        fn receive(&mut self, to: &mut [u8; FRAME]) -> usize {
            let Some(frame) = self.waiting.pop() else { return 0 };
            to[..frame.len()].copy_from_slice(&frame);
            frame.len()
        }
    }

    /// A queue at `base` with buffers of these lengths at 0x4000, 0x5000 and so on.
    fn queue(memory: &TestMemory, base: u64, lengths: &[u32], flags: u16) -> Queue {
        let mut queue = Queue::default();
        (queue.size, queue.ready) = (4, true);
        (queue.descriptors, queue.driver, queue.device) = (base, base + 0x100, base + 0x200);
        for (index, length) in (0_u64..).zip(lengths) {
            memory.write(base + 16 * index, &(0x4000 + 0x1000 * index).to_le_bytes());
            memory.write(base + 16 * index + 8, &(u64::from(*length) | u64::from(flags) << 32).to_le_bytes());
            memory.write(base + 0x104 + 2 * index, &(index as u16).to_le_bytes());
        }
        memory.write(base + 0x102, &(lengths.len() as u16).to_le_bytes());
        queue
    }

    #[test]
    fn frames_leave_without_their_header() {
        let (memory, mut net) = (TestMemory::new(0x8000), Net::new(Line::default(), [2, 0, 0, 0, 0, 1]));
        let mut queues = [queue(&memory, 0x1000, &[], 2), queue(&memory, 0x2000, &[12 + 60, 12, 5], 0)];
        memory.write(0x400C, &[7; 60]);
        let mut context = Context { memory: &memory, print: &mut |_| () };
        assert_eq!(net.serve(TRANSMIT, &mut queues, &mut context), Ok(()));
        assert_eq!(net.wire.sent, [vec![7; 60]], "one without anything behind the header is none");
        assert_eq!(memory.read_u16(0x2202), Some(3), "all come back");
        assert_eq!((net.config(), net.features()), (&[2, 0, 0, 0, 0, 1, 1, 0][..], MAC | STATUS));
    }

    #[test]
    fn frames_come_with_a_header_and_without_a_buffer_are_lost() {
        let (memory, mut net) = (TestMemory::new(0x8000), Net::new(Line::default(), [2, 0, 0, 0, 0, 1]));
        net.wire.waiting = vec![vec![3; 60], vec![2; 60], vec![1; 1514]];
        let mut queues = [queue(&memory, 0x1000, &[1526, 1526], 2), queue(&memory, 0x2000, &[], 0)];
        let mut context = Context { memory: &memory, print: &mut |_| () };
        assert_eq!(net.poll(&mut queues, &mut context), Ok(()));
        let [first, second] = [0x1204, 0x120C].map(|at| memory.read_u64(at));
        assert_eq!((first, second), (Some(1526 << 32), Some(72 << 32 | 1)));
        assert_eq!(
            (memory.read_u16(0x400A), memory.read_u16(0x400C), memory.read_u16(0x500C)),
            (Some(1), Some(0x101), Some(0x202))
        );
        assert!(net.wire.waiting.is_empty());
    }
}
