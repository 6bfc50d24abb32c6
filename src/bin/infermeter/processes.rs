//! The processes that are watched: this one, and those of the engine.

use std::{error::Error, net::SocketAddr, time::Duration};

use http::Uri;
use infermeter::{
    Meter,
    names::source,
    process::{MemoryKind, Process, ProcessTree},
    record::{Readings, Source, SourceError},
};
use tokio::{net::lookup_host, time::timeout};

use crate::arguments::EnginePid;

/// How long the name of the engine's machine may take to be resolved.
const RESOLVED_WITHIN: Duration = Duration::from_secs(5);

/// Tells the numbers of an engine's processes.
pub(crate) type Ids = Box<dyn Fn() -> Vec<u32> + Send + Sync>;

/// The processes of an engine, and the log of what becomes of them.
struct Logged {
    tree: ProcessTree,
    /// What was logged last: the process and the kind of its memory, or that there is none.
    said: Option<Option<(u32, MemoryKind)>>,
}

/// Watches this process from now on.
pub(crate) fn watch_own(meter: &Meter) {
    if let Some(own) = Process::observer() {
        meter.watch(source::INFERMETER_PROCESS, own);
    }
}

/// Watches the processes of the engine at a URL from now on; gives what tells their numbers, once
/// they are sampled.
pub(crate) async fn watch_engine(pid: EnginePid, url: &str, meter: &Meter) -> Result<Ids, String> {
    let tree = match pid {
        EnginePid::Is(pid) => ProcessTree::of(pid).map_err(|error| error.to_string())?,
        EnginePid::Auto => ProcessTree::listening(addresses(url).await),
    };
    let ids = Box::new(tree.ids());
    meter.watch(source::PROCESS, Logged { tree, said: None });
    Ok(ids)
}

/// The numbers of the processes of an engine as they are now.
pub(crate) fn of_engine(pid: u32) -> Result<Ids, Box<dyn Error>> {
    let mut tree = ProcessTree::of(pid)?;
    tree.sample(&mut Readings::default()).map_err(|error| error.to_string())?;
    Ok(Box::new(tree.ids()))
}

/// Where the engine listens; nothing if that cannot be found out.
async fn addresses(url: &str) -> Vec<SocketAddr> {
    let Ok(url) = url.parse::<Uri>() else { return Vec::new() };
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let usual = if url.scheme_str() == Some("https") { 443 } else { 80 };
    let port = url.port_u16().unwrap_or(usual);
    let found = timeout(RESOLVED_WITHIN, lookup_host((host, port))).await;
    found.ok().and_then(Result::ok).into_iter().flatten().collect()
}

// === impl Logged ===

impl Source for Logged {
    fn sample(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        let sampled = self.tree.sample(out);
        let is = self.tree.pid().zip(self.tree.memory_kind()).filter(|_| sampled.is_ok());
        if self.said != Some(is) {
            self.said = Some(is);
            match (is, &sampled) {
                (Some((pid, memory)), _) => {
                    tracing::info!(pid, ?memory, "the processes of the engine are watched");
                }
                (None, Err(error)) => {
                    tracing::info!(%error, "the processes of the engine are not known");
                }
                (None, Ok(())) => {}
            }
        }
        sampled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_an_engine_listens() {
        for (url, address) in [
            ("http://127.0.0.1:8000/metrics", "127.0.0.1:8000"),
            ("http://127.0.0.1", "127.0.0.1:80"),
            ("https://[::1]/v1", "[::1]:443"),
        ] {
            assert_eq!(addresses(url).await, [address.parse().unwrap()], "{url}");
        }
        assert!(addresses("http://name.invalid:1").await.is_empty());
    }
}
