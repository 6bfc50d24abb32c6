//! Ctrl-C and SIGTERM.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Those that ask a program to end; while this is there, none of them kills it.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    told: Signal,
    #[cfg(unix)]
    pressed: Signal,
    #[cfg(windows)]
    pressed: tokio::signal::windows::CtrlC,
}

/// Who wants the program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Somebody at the keyboard.
    ByHand,
    /// Whatever started it.
    ByProgram,
}

// === impl Signals ===

impl Signals {
    #[cfg(unix)]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            told: signal(SignalKind::terminate())?,
            pressed: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(windows)]
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { pressed: tokio::signal::windows::ctrl_c()? })
    }

    /// The next one.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.told.recv() => Told::ByProgram,
            _ = self.pressed.recv() => Told::ByHand,
        }
    }

    #[cfg(windows)]
    pub(crate) async fn next(&mut self) -> Told {
        self.pressed.recv().await;
        Told::ByHand
    }
}
