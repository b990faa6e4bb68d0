//! A switch: learns which address is at which port, and queues frames there.
//!
//! Invariants: queues and the table of addresses are bounded; a frame never comes back to where it came from.
//! Concurrency: plain value; whoever shares it locks it.
//! Source: IEEE 802.1D, §7.8 (the learning process), without ageing.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::FRAME;

/// Frames that wait at a port.
const WAITING: usize = 64;
/// Addresses that are known.
const KNOWN: usize = 256;

/// Number of a port.
pub type Port = usize;

type Address = [u8; 6];

/// The switch.
#[derive(Debug, Default)]
pub struct Switch {
    ports: Vec<VecDeque<Vec<u8>>>,
    known: Vec<(Address, Port)>,
}

impl Switch {
    /// One with so many ports.
    #[must_use]
    pub fn new(ports: usize) -> Self {
        Self { ports: (0..ports).map(|_| VecDeque::new()).collect(), known: Vec::new() }
    }

    /// Takes a frame that came in at `from`; the ports that it waits at now are given to `tell`.
    pub fn send(&mut self, from: Port, frame: &[u8], mut tell: impl FnMut(Port)) {
        let (Some(to), Some(source)) = (frame.first_chunk::<6>(), frame.get(6..).and_then(|rest| rest.first_chunk()))
        else {
            return;
        };
        if frame.len() > FRAME || from >= self.ports.len() {
            return;
        }
        self.learn(*source, from);
        let known = self.known.iter().find(|(address, _)| address == to).map(|(_, port)| *port);
        for (port, queue) in self.ports.iter_mut().enumerate() {
            if port != from && known.is_none_or(|known| known == port) && queue.len() < WAITING {
                queue.push_back(frame.to_vec());
                tell(port);
            }
        }
    }

    /// The next frame that waits at `port`.
    pub fn receive(&mut self, port: Port) -> Option<Vec<u8>> {
        self.ports.get_mut(port)?.pop_front()
    }

    fn learn(&mut self, address: Address, port: Port) {
        // A group is nobody's address.
        if address[0] & 1 != 0 {
            return;
        }
        if let Some(entry) = self.known.iter_mut().find(|(known, _)| *known == address) {
            entry.1 = port;
        } else if self.known.len() < KNOWN {
            self.known.push((address, port));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(to: u8, from: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from];
        frame.extend([0x55; 20]);
        frame
    }

    fn sent(switch: &mut Switch, port: Port, frame: &[u8]) -> Vec<Port> {
        let mut told = Vec::new();
        switch.send(port, frame, |port| told.push(port));
        told
    }

    #[test]
    fn unknown_addresses_go_everywhere_known_ones_to_their_port() {
        let mut switch = Switch::new(3);
        assert_eq!(sent(&mut switch, 0, &frame(2, 1)), [1, 2]);
        assert_eq!(sent(&mut switch, 1, &frame(1, 2)), [0]);
        assert_eq!(sent(&mut switch, 0, &frame(2, 1)), [1]);
        assert_eq!(switch.receive(0), Some(frame(1, 2)));
        assert_eq!(switch.receive(0), None);
    }

    #[test]
    fn queues_are_bounded() {
        let mut switch = Switch::new(2);
        for _ in 0..1000 {
            sent(&mut switch, 0, &frame(9, 1));
        }
        assert_eq!(core::iter::from_fn(|| switch.receive(1)).count(), WAITING);
    }

    proptest! {
        #[test]
        fn no_frame_makes_it_panic(frames in proptest::collection::vec((0..4_usize, proptest::collection::vec(any::<u8>(), 0..30)), 0..100)) {
            let mut switch = Switch::new(3);
            for (port, frame) in frames {
                prop_assert!(!sent(&mut switch, port, &frame).contains(&port));
                switch.receive(port);
            }
        }
    }
}
