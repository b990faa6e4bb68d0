//! A switch: learns which address is at which port, and queues frames there.
//!
//! Invariants: queues, all of them together, and the table of addresses are bounded; nothing waits where nobody is; a frame
//! never comes back to where it came from.
//! Concurrency: plain value; whoever shares it locks it.
//! Source: IEEE 802.1D, §7.8 (the learning process), without ageing.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::FRAME;

/// Frames that wait at a port, at most.
const WAITING: usize = 64;
/// Frames that wait at all ports together, at most: 256 KiB.
const TOTAL: usize = (256 << 10) / FRAME;
/// Addresses that are known.
const KNOWN: usize = 256;

/// Number of a port.
pub type Port = usize;

type Address = [u8; 6];

/// The switch.
#[derive(Debug, Default)]
pub struct Switch {
    /// Those where somebody is have a queue.
    ports: Vec<Option<VecDeque<Vec<u8>>>>,
    known: Vec<(Address, Port)>,
}

impl Switch {
    /// One with so many ports, where nobody is.
    #[must_use]
    pub fn new(ports: usize) -> Self {
        Self { ports: (0..ports).map(|_| None).collect(), known: Vec::new() }
    }

    /// Somebody is at `port` from now on, or nobody; what waits there is gone.
    pub fn set_present(&mut self, port: Port, present: bool) {
        if let Some(queue) = self.ports.get_mut(port) {
            *queue = present.then(VecDeque::new);
        }
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
        let mut waiting: usize = self.ports.iter().flatten().map(VecDeque::len).sum();
        for (port, queue) in self.ports.iter_mut().enumerate() {
            let Some(queue) = queue.as_mut().filter(|queue| queue.len() < WAITING && waiting < TOTAL) else { continue };
            if port != from && known.is_none_or(|known| known == port) {
                queue.push_back(frame.to_vec());
                waiting += 1;
                tell(port);
            }
        }
    }

    /// The next frame that waits at `port`.
    pub fn receive(&mut self, port: Port) -> Option<Vec<u8>> {
        self.ports.get_mut(port)?.as_mut()?.pop_front()
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

    /// A switch with somebody at each of so many ports.
    fn full(ports: usize) -> Switch {
        let mut switch = Switch::new(ports);
        (0..ports).for_each(|port| switch.set_present(port, true));
        switch
    }

    fn sent(switch: &mut Switch, port: Port, frame: &[u8]) -> Vec<Port> {
        let mut told = Vec::new();
        switch.send(port, frame, |port| told.push(port));
        told
    }

    #[test]
    fn unknown_addresses_go_everywhere_known_ones_to_their_port() {
        let mut switch = full(3);
        assert_eq!(sent(&mut switch, 0, &frame(2, 1)), [1, 2]);
        assert_eq!(sent(&mut switch, 1, &frame(1, 2)), [0]);
        assert_eq!(sent(&mut switch, 0, &frame(2, 1)), [1]);
        assert_eq!(switch.receive(0), Some(frame(1, 2)));
        assert_eq!(switch.receive(0), None);
    }

    #[test]
    fn queues_are_bounded() {
        let mut switch = full(2);
        for _ in 0..1000 {
            sent(&mut switch, 0, &frame(9, 1));
        }
        assert_eq!(core::iter::from_fn(|| switch.receive(1)).count(), WAITING);
        let mut switch = full(16);
        (0..1000).for_each(|_| _ = sent(&mut switch, 0, &frame(9, 1)));
        let waiting = (0..16).map(|port| core::iter::from_fn(|| switch.receive(port)).count());
        assert_eq!(waiting.sum::<usize>(), TOTAL);
    }

    #[test]
    fn nothing_waits_where_nobody_is() {
        let mut switch = full(3);
        switch.set_present(2, false);
        assert_eq!(sent(&mut switch, 0, &frame(9, 1)), [1]);
        switch.set_present(1, false);
        assert_eq!((switch.receive(1), sent(&mut switch, 0, &frame(9, 1))), (None, vec![]));
    }

    proptest! {
        #[test]
        fn no_frame_makes_it_panic(frames in proptest::collection::vec((0..4_usize, proptest::collection::vec(any::<u8>(), 0..30)), 0..100)) {
            let mut switch = full(3);
            for (port, frame) in frames {
                prop_assert!(!sent(&mut switch, port, &frame).contains(&port));
                switch.receive(port);
            }
        }
    }
}
