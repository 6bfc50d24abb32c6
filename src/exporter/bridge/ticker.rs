//! The thread that pushes.

use std::{
    io,
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::Duration,
};

/// The running thread. Dropped, it does its work once more and ends.
#[derive(Debug)]
pub(super) struct Ticker {
    alive: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

// === impl Ticker ===

impl Ticker {
    /// Does some work at once, and again and again. It must not panic.
    pub(super) fn start(every: Duration, work: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (alive, dropped) = mpsc::channel::<()>();
        let thread =
            thread::Builder::new().name("infermeter-bridge".to_owned()).spawn(move || {
                work();
                while dropped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    work();
                }
                work();
            })?;
        Ok(Self { alive: Some(alive), thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // That it panicked was said on its own thread.
            let _ = thread.join();
        }
    }
}
