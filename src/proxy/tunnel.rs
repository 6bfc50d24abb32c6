//! A connection that has changed to another protocol: bytes both ways, unread.

use std::sync::Arc;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::connections::Drain;

/// Joins both sides once both have changed, until either ends or the proxy does.
pub(super) fn join(client: OnUpgrade, upstream: OnUpgrade, drain: &Arc<Drain>) {
    let (alive, cut) = (drain.alive(), drain.cut());
    tokio::spawn(async move {
        let joined = async {
            // One that never changes has gone.
            let (client, upstream) = tokio::try_join!(client, upstream)?;
            pump(client, upstream).await;
            hyper::Result::Ok(())
        };
        tokio::select! {
            _ = joined => {}
            () = cut => {}
        }
        drop(alive);
    });
}

async fn pump(client: Upgraded, upstream: Upgraded) {
    let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
    // Whoever breaks off has left.
    let _ = copy_bidirectional(&mut client, &mut upstream).await;
}
