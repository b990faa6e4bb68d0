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
            let count = chain.read(context.memory, &mut bytes)?;
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
