//! Device model: a virtio console with one port.
//!
//! Invariants: input that the driver has no room for waits, up to a bound; more is lost.
//! Concurrency: plain value; input comes through a queue that others fill.
//! Source: VIRTIO 1.2, §5.3.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::VecDeque;
use alloc::vec;

use vm_virtio::{Broken, Context, Model, Queue};

/// Bytes of input that wait at most.
const WAITING: usize = 4096;
/// Bytes that are printed at once, and of a chain at most.
const PIECE: usize = 4096;
const MOST: u64 = 1 << 20;
const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;

/// The console.
#[derive(Debug, Default)]
pub struct Console {
    input: VecDeque<u8>,
}

impl Model for Console {
    fn kind(&self) -> u16 {
        3
    }

    fn class(&self) -> (u8, u8, u8) {
        (7, 0x80, 0)
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> usize {
        2
    }

    fn input(&mut self, byte: u8) -> bool {
        let fits = self.input.len() < WAITING;
        if fits {
            self.input.push_back(byte);
        }
        fits
    }

    fn serve(&mut self, number: usize, queues: &mut [Queue], context: &mut Context<'_>) -> Result<(), Broken> {
        if number != TRANSMIT {
            return self.poll(queues, context);
        }
        let queue = queues.get_mut(TRANSMIT).ok_or(Broken)?;
        let mut bytes = vec![0; PIECE];
        while let Some(chain) = queue.pop(context.memory)? {
            let mut done = 0;
            while done < MOST {
                let count = chain.read(context.memory, done, &mut bytes)?;
                let Some(piece) = bytes.get(..count).filter(|piece| !piece.is_empty()) else { break };
                (context.print)(piece);
                done += count as u64;
            }
            queue.push(context.memory, &chain, 0)?;
        }
        Ok(())
    }

    fn poll(&mut self, queues: &mut [Queue], context: &mut Context<'_>) -> Result<(), Broken> {
        let queue = queues.get_mut(RECEIVE).ok_or(Broken)?;
        while !self.input.is_empty() {
            let Some(chain) = queue.pop(context.memory)? else { break };
            let count = self.input.len().min(chain.room().min(PIECE as u64) as usize);
            let bytes: alloc::vec::Vec<u8> = self.input.drain(..count).collect();
            let written = chain.write(context.memory, 0, &bytes)?;
            queue.push(context.memory, &chain, written as u32)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::{Memory, TestMemory};

    /// A queue at `base` with one buffer of `length` bytes at 0x100.
    fn queue(memory: &TestMemory, base: u64, length: u32, flags: u16) -> Queue {
        let mut queue = Queue::default();
        (queue.size, queue.ready) = (2, true);
        (queue.descriptors, queue.driver, queue.device) = (base, base + 0x100, base + 0x200);
        memory.write(base, &0x100_u64.to_le_bytes());
        memory.write(base + 8, &(u64::from(length) | u64::from(flags) << 32).to_le_bytes());
        memory.write(base + 0x102, &1_u16.to_le_bytes());
        queue
    }

    #[test]
    fn input_waits_for_a_buffer_and_output_is_printed() {
        let (memory, mut console, mut printed) = (TestMemory::new(0x4000), Console::default(), Vec::new());
        let mut queues = [queue(&memory, 0x1000, 2, 2), queue(&memory, 0x2000, 3, 0)];
        assert!(b"abc".iter().all(|byte| console.input(*byte)));
        let mut print = |bytes: &[u8]| printed.extend_from_slice(bytes);
        let mut context = Context { memory: &memory, print: &mut print };
        assert_eq!(console.poll(&mut queues, &mut context), Ok(()));
        assert_eq!((memory.read_u16(0x100), console.input.len()), (Some(u16::from_le_bytes(*b"ab")), 1));
        memory.write(0x100, b"out");
        assert_eq!(console.serve(TRANSMIT, &mut queues, &mut context), Ok(()));
        assert_eq!(printed, b"out");
    }

    #[test]
    fn what_is_longer_than_a_page_is_printed_too() {
        let (memory, mut console, mut printed) = (TestMemory::new(0x8000), Console::default(), Vec::new());
        let text: Vec<u8> = (0..10_000_u32).map(|at| (at % 251) as u8).collect();
        let mut queues = [queue(&memory, 0x6000, 0, 2), queue(&memory, 0x7000, 10_000, 0)];
        memory.write(0x100, &text);
        let mut print = |bytes: &[u8]| printed.extend_from_slice(bytes);
        let mut context = Context { memory: &memory, print: &mut print };
        assert_eq!(console.serve(TRANSMIT, &mut queues, &mut context), Ok(()));
        assert!(printed == text);
    }
}
