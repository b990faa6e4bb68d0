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
