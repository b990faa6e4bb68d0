//! Device model: a virtio source of entropy.
//!
//! Invariants: the guest gets at most a page per request.
//! Concurrency: plain value.
//! Source: VIRTIO 1.2, §5.4.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

use vm_virtio::{Broken, Context, Model, Queue};

/// Bytes per request at most.
const MOST: u64 = 4096;

/// Where the numbers come from.
pub trait Source: Send {
    /// A number that nobody can foretell.
    fn next(&mut self) -> u64;
}

/// The device.
#[derive(Debug)]
pub struct Entropy<S>(pub S);

impl<S: Source> Model for Entropy<S> {
    fn kind(&self) -> u16 {
        4
    }

    fn class(&self) -> (u8, u8, u8) {
        (0xFF, 0, 0)
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> usize {
        1
    }

    fn serve(&mut self, _: usize, queues: &mut [Queue], context: &mut Context<'_>) -> Result<(), Broken> {
        let queue = queues.first_mut().ok_or(Broken)?;
        while let Some(chain) = queue.pop(context.memory)? {
            let (room, mut done) = (chain.room().min(MOST), 0);
            while done < room {
                let bytes = self.0.next().to_le_bytes();
                let count = (room - done).min(8) as usize;
                chain.write(context.memory, done, bytes.get(..count).unwrap_or_default())?;
                done += count as u64;
            }
            queue.push(context.memory, &chain, done as u32)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::{Memory, TestMemory};

    struct Count(u64);

    impl Source for Count {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x0101_0101_0101_0101);
            self.0
        }
    }

    #[test]
    fn buffers_are_filled_and_no_more() {
        let memory = TestMemory::new(0x8000);
        let mut queue = Queue::default();
        (queue.size, queue.ready) = (4, true);
        (queue.descriptors, queue.driver, queue.device) = (0x1000, 0x2000, 0x3000);
        for (index, length) in [(0, 13_u64), (1, 0x2000)] {
            memory.write(0x1000 + 16 * index, &(0x4000 + 0x100 * index).to_le_bytes());
            memory.write(0x1008 + 16 * index, &(length | 2 << 32).to_le_bytes());
            memory.write(0x2004 + 2 * index, &(index as u16).to_le_bytes());
        }
        memory.write(0x2002, &2_u16.to_le_bytes());
        let mut context = Context { memory: &memory, print: &mut |_| () };
        assert_eq!(Entropy(Count(0)).serve(0, core::slice::from_mut(&mut queue), &mut context), Ok(()));
        assert_eq!([0x3004, 0x300C].map(|at| memory.read_u64(at)), [Some(13 << 32), Some(MOST << 32 | 1)]);
        assert_eq!((memory.read_u64(0x4005), memory.read_u64(0x400D)), (Some(0x0202_0202_0201_0101), Some(0)));
        assert_eq!((memory.read_u64(0x50F8) == Some(0), memory.read_u64(0x5100)), (false, Some(0)));
    }
}
