//! One thread for each core, with a runtime and upstream connections of its own.

use std::{io, net::TcpListener, num::NonZero, thread};

use infermeter::proxy::Proxy;
use tokio::sync::{oneshot, watch};

#[derive(Debug)]
pub(super) struct Threads {
    ends: Vec<oneshot::Receiver<()>>,
}

// === impl Threads ===

impl Threads {
    /// NB: all accept from one listener: who is busy accepts less, so that no thread is left with
    /// most of the long streams by chance.
    pub(super) fn start(
        proxy: &Proxy,
        listener: &TcpListener,
        number: Option<NonZero<usize>>,
        stopped: &watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let number = match number {
            Some(number) => number,
            None => thread::available_parallelism()?,
        };
        let mut ends = Vec::new();
        for i in 0..number.get() {
            let (proxy, listener, mut stopped) =
                (proxy.clone(), listener.try_clone()?, stopped.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (end, ended) = oneshot::channel();
            ends.push(ended);
            thread::Builder::new().name(format!("infermeter-{i}")).spawn(move || {
                let served = runtime.block_on(async {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    let stop = async move {
                        let _ = stopped.wait_for(|stopped| *stopped).await;
                    };
                    proxy.serve(listener, stop).await;
                    io::Result::Ok(())
                });
                if let Err(error) = served {
                    tracing::error!(%error, "a thread cannot serve");
                }
                let _ = end.send(());
            })?;
        }
        Ok(Self { ends })
    }

    /// Until all have ended, also by a panic.
    pub(super) async fn join(self) {
        for ended in self.ends {
            let _ = ended.await;
        }
    }
}
