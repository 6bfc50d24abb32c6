//! What is asked for on the command line.

use std::{num::ParseIntError, time::Duration};

use clap::Parser;
use infermeter_proxy_bench::{model, workload::Workload};
use serde_json::json;

#[derive(Parser)]
#[command(about = "Sends requests, checks every chunk of the answers, and prints one line of JSON")]
pub(crate) struct Arguments {
    /// Where requests go: the proxy, or the simulator itself.
    #[arg(long)]
    pub(crate) address: String,
    #[arg(long, default_value = "/v1/chat/completions")]
    pub(crate) path: String,
    /// What the answers shall be like.
    #[arg(long, default_value = "chunks=100 gap_ms=20 per_write=1")]
    pub(crate) text: String,
    /// Answers that are not streamed.
    #[arg(long)]
    pub(crate) plain: bool,
    /// Ask for no usage at the end of streams.
    #[arg(long)]
    pub(crate) no_usage: bool,
    /// Ask for so many models in turn, as the simulator lists them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    models: u64,
    /// Each with one request at a time.
    #[arg(long, default_value_t = 1)]
    pub(crate) connections: u32,
    /// End after so many requests …
    #[arg(long, required_unless_present = "seconds")]
    pub(crate) count: Option<u64>,
    /// … or start none after so many seconds.
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// The time over which the connections start.
    #[arg(long, default_value_t = 0)]
    pub(crate) ramp_ms: u32,
    /// The share of streams that are left, at a chunk of the first three quarters.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) cut: f64,
    /// Read at most so many bytes at once …
    #[arg(long)]
    pub(crate) read_bytes: Option<u32>,
    /// … and wait so long after each.
    #[arg(long, default_value_t = 0)]
    read_pause_ms: u64,
    /// A request that takes longer has failed.
    #[arg(long, default_value_t = 60)]
    limit_s: u64,
    /// Of the streams that are left, and where.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

// === impl Arguments ===

impl Arguments {
    pub(crate) fn workload(&self) -> Result<Workload, ParseIntError> {
        Workload::parse(&self.text)
    }

    pub(crate) fn is_chat(&self) -> bool {
        self.path.ends_with("/chat/completions")
    }

    pub(crate) fn has_usage(&self) -> bool {
        !self.plain && !self.no_usage
    }

    pub(crate) fn pause(&self) -> Duration {
        Duration::from_millis(self.read_pause_ms)
    }

    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.limit_s)
    }

    /// Those that are sent over and over, one for each model.
    pub(crate) fn requests(&self) -> Vec<Vec<u8>> {
        (0..self.models).map(|number| self.request(&model::name(number))).collect()
    }

    fn request(&self, model: &str) -> Vec<u8> {
        let mut body = json!({ "model": model, "stream": !self.plain });
        if self.is_chat() {
            body["messages"] = json!([{ "role": "user", "content": self.text }]);
        } else {
            body["prompt"] = json!(self.text);
        }
        if self.has_usage() {
            body["stream_options"] = json!({ "include_usage": true });
        }
        let (Self { path, address, .. }, body) = (self, body.to_string());
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: load\r\naccept: */*\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}
