//! What can be said on the command line, or by environment variables.

#[cfg(test)]
mod documented;
mod engine;
mod exporter;
mod gpu;
mod page;
mod process;
mod proxy;
mod values;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

use self::values::{address, label, seconds};
pub(crate) use self::{
    engine::{Engine, Kind},
    exporter::Exporter,
    gpu::{Gpu, GpuChoice, GpuMetrics, Gpus, Which},
    page::{Log, Page},
    process::{EnginePid, EngineProcess},
    proxy::Proxy,
};

/// Makes LLM inference services observable: metrics for Prometheus, from the token streams that go
/// by.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a simulated inference engine with the proxy in front of it and a load on both, and
    /// publishes the metrics.
    ///
    /// No model and no GPU is needed: the engine only makes up words, but it queues, batches, fills
    /// a KV cache, preempts and reuses prefixes as real ones do. It speaks OpenAI's chat
    /// completions and completions, so clients of your own can join in.
    #[command(after_long_help = FAULTS, verbatim_doc_comment)]
    Demo(Demo),
    /// Stands in front of an inference service, passes everything through, and publishes metrics.
    ///
    /// The service and its clients need no change but the address. Token counts come from the
    /// answers themselves; SIGTERM lets the requests that are there come to their end.
    Proxy(Box<Proxy>),
    /// Publishes what an inference engine tells on its own page, without traffic through here.
    ///
    /// The families of the page under names that are the same for every engine, and those that have
    /// no such name unchanged: whoever scrapes this page needs the engine's no more.
    Exporter(Box<Exporter>),
    /// Reads a file for `proxy --config`, and says what it means or what is wrong with it.
    ///
    /// Nobody is connected to.
    Check(Check),
    /// Prints what can be read of each GPU, and why something cannot.
    Gpus(Gpus),
    /// Prints every metric that there is, as Markdown.
    Metrics,
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Where the proxy listens, for clients; port 0 picks a free one.
    #[arg(long, env = "INFERMETER_LISTEN", value_name = "HOST:PORT", value_parser = address)]
    #[arg(default_value = "127.0.0.1:8000")]
    pub(crate) listen: String,

    /// Where the engine behind it listens; port 0 picks a free one.
    #[arg(long, env = "INFERMETER_ENGINE_LISTEN", value_name = "HOST:PORT")]
    #[arg(value_parser = address, default_value = "127.0.0.1:0")]
    pub(crate) engine_listen: String,

    /// Where the metrics are published; port 0 picks a free one.
    #[arg(long, env = "INFERMETER_METRICS_LISTEN", value_name = "HOST:PORT")]
    #[arg(value_parser = address, default_value = "127.0.0.1:8001")]
    pub(crate) metrics_listen: String,

    /// Ends after so many seconds; without it, Ctrl-C does.
    #[arg(long, env = "INFERMETER_SECONDS", value_name = "N", value_parser = seconds)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) seconds: Option<Duration>,

    /// Requests per second that the load sends, bursts included, as far as 160 clients at once can;
    /// 0 leaves the service to clients of your own.
    #[arg(long, env = "INFERMETER_RATE", value_name = "R", value_parser = rate)]
    #[arg(allow_negative_numbers = true, default_value = "10")]
    pub(crate) rate: f64,

    /// Puts a label on every series; can be given several times (in the variable: with commas).
    #[arg(long = "label", env = "INFERMETER_LABEL", value_name = "KEY=VALUE")]
    #[arg(value_parser = label, value_delimiter = ',')]
    pub(crate) labels: Vec<(String, String)>,

    #[command(flatten)]
    pub(crate) gpu: Gpu,
}

const FAULTS: &str = "\
Faults to try: the engine does what the request header `x-demo-fault` asks for.
  error         500 instead of an answer
  stream-error  an error event after three words (500 where nothing is streamed)
  cut           the answer ends in the middle, without an end marker
  slow          a pause before each word (one of a second where nothing is streamed)

  curl -N http://127.0.0.1:8000/v1/chat/completions -H 'x-demo-fault: cut' -d \\
    '{\"stream\": true, \"messages\": [{\"role\": \"user\", \"content\": \"Where does the river go?\"}]}'";

/// The most requests per second that a load of one process is good for.
const MOST_REQUESTS: f64 = 1000.0;

fn rate(text: &str) -> Result<f64, String> {
    // NB: NaN is in no range.
    let number = text.parse().ok().filter(|number| (0.0..=MOST_REQUESTS).contains(number));
    number.ok_or_else(|| format!("allowed is a number from 0 to {MOST_REQUESTS}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn demo(arguments: &[&str]) -> Result<Demo, String> {
        let all = ["infermeter", "demo"].iter().chain(arguments);
        match Arguments::try_parse_from(all) {
            Ok(Arguments { command: Command::Demo(demo) }) => Ok(demo),
            other => Err(other.unwrap_err().to_string()),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn right_values() {
        let read = demo(&["--listen", "[::1]:0", "--seconds", "0.5", "--label", "a=1,b=x=y"]);
        let Demo { listen, engine_listen, metrics_listen, seconds, rate, labels, gpu: _ } =
            read.unwrap();
        assert_eq!((listen.as_str(), metrics_listen.as_str()), ("[::1]:0", "127.0.0.1:8001"));
        assert_eq!(engine_listen, "127.0.0.1:0");
        assert_eq!((seconds, rate), (Some(Duration::from_millis(500)), 10.0));
        assert_eq!(labels, [("a".into(), "1".into()), ("b".into(), "x=y".into())]);
    }

    #[test]
    fn wrong_values_say_the_key_the_value_and_what_is_allowed() {
        for (key, value, allowed) in [
            ("--listen", "8000", "HOST:PORT"),
            ("--listen", ":8000", "HOST:PORT"),
            ("--engine-listen", "8000", "HOST:PORT"),
            ("--metrics-listen", "localhost:65536", "from 0 to 65535"),
            ("--seconds", "0", "from 0.001"),
            ("--seconds", "-1", "from 0.001"),
            ("--seconds", "1e30", "to 31536000"),
            ("--rate", "-1", "from 0 to"),
            ("--rate", "NaN", "from 0 to"),
            ("--rate", "inf", "to 1000"),
            ("--rate", "many", "to 1000"),
            ("--label", "variant", "KEY=VALUE"),
            ("--label", "le=1", "le"),
            ("--label", "9=1", "allowed"),
        ] {
            let error = demo(&[key, value]).unwrap_err();
            let says = |part: &str| assert!(error.contains(part), "{part:?}: {error}");
            [key, value, allowed].into_iter().for_each(says);
        }
    }
}
