//! The guest's network: frames go through the service `switch`.
//!
//! Invariants: the service is asked for frames only after it has said that some wait. Calls are made while an exit is handled,
//! whose state is in the UTCB: it is kept.
//! Concurrency: a thread waits for the switch's word; frames are taken and sent under the devices' lock.

use core::sync::atomic::{AtomicBool, Ordering};

use abi::Status;
use abi::rights::SemaphoreRights;
use alloc::boxed::Box;
use rt::arch::utcb::preserve;
use rt::capability::Semaphore;
use rt::client::Remote;
use rt::thread;
use services::switch::{Frame, Network, Reply, Request};
use vm_net::{FRAME, Wire};

use super::Ours;

/// The way to the switch.
pub struct Link {
    remote: Remote<Network>,
    bell: Semaphore,
    waiting: AtomicBool,
}

impl Link {
    /// A way that nobody has used yet.
    ///
    /// # Errors
    /// What the kernel answered.
    pub fn new() -> Result<&'static Self, Status> {
        let link = Self { remote: Remote::default(), bell: Semaphore::new(0)?, waiting: AtomicBool::new(false) };
        Ok(Box::leak(Box::new(link)))
    }

    /// Starts the thread that waits for frames.
    pub fn start(&'static self, machine: &'static Ours, core: u32) {
        let _ = thread::spawn(core, move || {
            let item = self.bell.slot().delegated(SemaphoreRights::UP);
            if self.remote.call_with(&Request::Attach(), Some(item)).is_err() {
                return;
            }
            while self.bell.down().is_ok() {
                self.waiting.store(true, Ordering::Release);
                machine.poll_devices();
            }
        });
    }
}

/// The end of the way that the device has.
pub struct Plug(pub &'static Link);

impl Wire for Plug {
    fn send(&mut self, frame: &[u8]) {
        // What does not arrive is lost, as on a wire.
        let _ = preserve(|| self.0.remote.call(&Request::Send(Frame::new(frame))));
    }

    fn receive(&mut self, to: &mut [u8; FRAME]) -> usize {
        if !self.0.waiting.load(Ordering::Acquire) {
            return 0;
        }
        let Ok(Reply::Frame(frame)) = preserve(|| self.0.remote.call(&Request::Receive())) else {
            self.0.waiting.store(false, Ordering::Release);
            return 0;
        };
        to.iter_mut().zip(frame.bytes()).for_each(|(slot, byte)| *slot = *byte);
        frame.bytes().len()
    }
}
