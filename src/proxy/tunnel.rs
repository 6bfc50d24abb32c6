//! A connection that has changed to another protocol: bytes both ways, unread.

use std::{pin::pin, time::Duration};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, split},
    time::timeout,
};

use super::drain::Drain;

/// How long one side may go on after the other has said that it sends nothing more.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Joins both sides once both have changed, until either ends or the proxy does.
pub(super) fn join(client: OnUpgrade, upstream: OnUpgrade, drain: &Drain) {
    let cut = drain.cut();
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
    });
}

async fn pump(client: Upgraded, upstream: Upgraded) {
    let (from_client, to_client) = split(TokioIo::new(client));
    let (from_upstream, to_upstream) = split(TokioIo::new(upstream));
    let mut up = pin!(one_way(from_client, to_upstream));
    let mut down = pin!(one_way(from_upstream, to_client));
    // Whoever breaks off has left.
    tokio::select! {
        is_proper = &mut up => if is_proper {
            let _ = timeout(LAST_WORDS, down).await;
        },
        is_proper = &mut down => if is_proper {
            let _ = timeout(LAST_WORDS, up).await;
        },
    }
}

/// Whether it has come to a proper end.
async fn one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> bool {
    copy(&mut from, &mut to).await.is_ok() && to.shutdown().await.is_ok()
}
