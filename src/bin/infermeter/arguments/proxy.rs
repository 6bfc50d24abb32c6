//! The arguments of `infermeter proxy`.

use std::{num::NonZero, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, ValueEnum};
use infermeter::{layer::Endpoint, proxy::InjectUsage};

use super::{
    Engine, EngineProcess, Gpu, Page,
    values::{address, duration, endpoint, size},
};

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("behind").args(["upstream", "config"]).required(true))]
pub(crate) struct Proxy {
    /// The service to stand in front of: http://HOST:PORT or https://HOST:PORT, with a path before
    /// all others if need be. Either this or `--config` is required.
    #[arg(long, env = "INFERMETER_UPSTREAM", value_name = "URL")]
    pub(crate) upstream: Option<String>,

    /// A file with several services, in place of `--upstream`: `[[upstream]]` tables with name, url,
    /// models, variant, engine, engine_metrics and engine_pid. `infermeter check FILE` tells what it means.
    #[arg(long, env = "INFERMETER_CONFIG", value_name = "FILE")]
    #[arg(conflicts_with_all = ["models", "engine_metrics", "engine", "engine_pid"])]
    pub(crate) config: Option<PathBuf>,

    /// Where clients connect; port 0 picks a free one.
    #[arg(long, env = "INFERMETER_LISTEN", value_name = "HOST:PORT", value_parser = address)]
    #[arg(default_value = "127.0.0.1:8080")]
    pub(crate) listen: String,

    #[command(flatten)]
    pub(crate) engine: Engine,

    #[command(flatten)]
    pub(crate) process: EngineProcess,

    #[command(flatten)]
    pub(crate) page: Page,

    /// Measures POST requests to one more path, or reads a known one in another way; can be given
    /// several times (in the variable: with commas).
    #[arg(long = "endpoint", env = "INFERMETER_ENDPOINT", value_name = "PATH=FORMAT")]
    #[arg(value_parser = endpoint, value_delimiter = ',')]
    pub(crate) endpoints: Vec<(String, Endpoint)>,

    /// A model that the upstream serves, the one for requests that name none first; can be given
    /// several times (in the variable: with commas). Without it the upstream is asked.
    #[arg(long = "model", env = "INFERMETER_MODEL", value_name = "NAME", value_delimiter = ',')]
    pub(crate) models: Vec<String>,

    /// Counts by tenant too, as this header of a request names it. Only for a header that a gateway
    /// in front sets.
    #[arg(long, env = "INFERMETER_TENANT_HEADER", value_name = "HEADER")]
    pub(crate) tenant_header: Option<String>,

    /// Lets at most so many measured requests run at once; the others wait here.
    #[arg(long, env = "INFERMETER_MAX_RUNNING", value_name = "N")]
    pub(crate) max_running: Option<NonZero<usize>>,

    /// Lets at most so many wait, and refuses the others with 429.
    #[arg(long, env = "INFERMETER_MAX_WAITING", value_name = "N", requires = "max_running")]
    pub(crate) max_waiting: Option<usize>,

    /// Refuses who has been waiting for so long.
    #[arg(long, env = "INFERMETER_QUEUE_TIMEOUT", value_name = "TIME", value_parser = duration)]
    #[arg(requires = "max_running")]
    pub(crate) queue_timeout: Option<Duration>,

    /// Whether engines are asked for the token counts of a stream whose client did not ask; what
    /// comes of it is taken out again.
    #[arg(long, env = "INFERMETER_INJECT_USAGE", value_name = "WHEN", default_value = "auto")]
    pub(crate) inject_usage: Inject,

    /// Counts the tokens of streams that their clients leave exactly, with engines that can tell
    /// (vLLM, SGLang).
    #[arg(long, env = "INFERMETER_EXACT_ABORTS")]
    pub(crate) exact_aborts: bool,

    /// How long a connection to the upstream may take to be made.
    #[arg(long, env = "INFERMETER_CONNECT_TIMEOUT", value_name = "TIME", value_parser = duration)]
    #[arg(default_value = "5s")]
    pub(crate) connect_timeout: Duration,

    /// How long the upstream may take until the first byte of an answer's body.
    #[arg(long, env = "INFERMETER_FIRST_BYTE_TIMEOUT", value_name = "TIME")]
    #[arg(value_parser = duration)]
    pub(crate) first_byte_timeout: Option<Duration>,

    /// How long an answer may pause once it has begun.
    #[arg(long, env = "INFERMETER_IDLE_TIMEOUT", value_name = "TIME", value_parser = duration)]
    pub(crate) idle_timeout: Option<Duration>,

    /// How long the body of a request may be, such as 20MiB.
    #[arg(long, env = "INFERMETER_MAX_REQUEST_BODY", value_name = "SIZE", value_parser = size)]
    pub(crate) max_request_body: Option<u64>,

    /// Certificates (PEM) to trust for an https upstream and the page of its engine, in place of those that browsers trust.
    #[arg(long, env = "INFERMETER_UPSTREAM_CA", value_name = "FILE")]
    pub(crate) upstream_ca: Option<PathBuf>,

    /// How long requests may still take after SIGTERM or Ctrl-C.
    #[arg(long, env = "INFERMETER_DRAIN_TIMEOUT", value_name = "TIME", value_parser = duration)]
    #[arg(default_value = "120s")]
    pub(crate) drain_timeout: Duration,

    /// How many threads serve clients. Default: one for each core.
    #[arg(long, env = "INFERMETER_WORKERS", value_name = "N")]
    pub(crate) workers: Option<NonZero<usize>>,

    /// Logs what errors say for people too, and shows it on `/failures`. Engines repeat prompts in it.
    #[arg(long, env = "INFERMETER_FAILURE_MESSAGES")]
    pub(crate) failure_messages: bool,

    #[command(flatten)]
    pub(crate) gpu: Gpu,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Inject {
    Auto,
    Always,
    Never,
}

// === impl Inject ===

impl From<Inject> for InjectUsage {
    fn from(inject: Inject) -> Self {
        match inject {
            Inject::Auto => Self::Auto,
            Inject::Always => Self::Always,
            Inject::Never => Self::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use infermeter::names::Naming;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn proxy(arguments: &[&str]) -> Result<Proxy, String> {
        let all = ["infermeter", "proxy", "--upstream", "http://h"].iter().chain(arguments);
        match Arguments::try_parse_from(all) {
            Ok(Arguments { command: Command::Proxy(proxy) }) => Ok(*proxy),
            other => Err(other.unwrap_err().to_string()),
        }
    }

    #[test]
    fn the_guides_spellings() {
        let read = proxy(&["--metrics-port", "8001", "--labels", "model=m, variant=thinking"]);
        let read = read.unwrap();
        assert_eq!(read.page.address(), "127.0.0.1:8001");
        assert_eq!(
            read.page.labels,
            [("model".into(), "m".into()), ("variant".into(), "thinking".into())]
        );
        assert_eq!(proxy(&[]).unwrap().page.address(), "127.0.0.1:8001");
    }

    #[test]
    fn either_an_upstream_or_a_file() {
        let read = |arguments: &[&str]| {
            let all = ["infermeter", "proxy"].iter().chain(arguments);
            Arguments::try_parse_from(all).map_err(|error| error.to_string())
        };
        assert!(read(&["--upstream", "http://h"]).is_ok() && read(&["--config", "a.toml"]).is_ok());
        for (arguments, says) in [
            (&[][..], "<--upstream <URL>|--config <FILE>>"),
            (&["--config", "a.toml", "--upstream", "http://h"], "cannot be used with"),
            (&["--config", "a.toml", "--model", "m"], "cannot be used with"),
            (&["--config", "a.toml", "--engine", "vllm"], "cannot be used with"),
            (&["--config", "a.toml", "--engine-pid", "auto"], "cannot be used with"),
        ] {
            let error = read(arguments).unwrap_err();
            assert!(error.contains(says), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn the_page_of_the_engine_is_that_of_the_upstream() {
        let page = |arguments: &[&str]| {
            let all = [&["infermeter", "proxy", "--upstream"], arguments].concat();
            let Command::Proxy(read) = Arguments::try_parse_from(all).unwrap().command else {
                unreachable!("it is what was said")
            };
            let metrics = read.engine.metrics(read.upstream.as_deref()).unwrap();
            metrics.map(|engine| engine.page_url())
        };
        for (arguments, url) in [
            (&["http://h:1"][..], Some("http://h:1/metrics")),
            (&["http://h:1/"], Some("http://h:1/metrics")),
            (&["http://h/below"], Some("http://h/below/metrics")),
            (&["http://h", "--engine-metrics", "http://h:2"], Some("http://h:2/metrics")),
            (&["http://h", "--engine-metrics", "http://h:2/page"], Some("http://h:2/page")),
            (&["http://h", "--engine", "none"], None),
        ] {
            assert_eq!(page(arguments).as_deref(), url, "{arguments:?}");
        }
    }

    #[test]
    fn names() {
        let name = |arguments: &[&str]| {
            let naming = proxy(arguments).unwrap().page.naming();
            let queue = &infermeter::names::TIME_IN_QUEUE_SECONDS;
            (naming.name(queue), naming.alias(queue).is_some())
        };
        let usual = Naming::vllm().name(&infermeter::names::TIME_IN_QUEUE_SECONDS);
        assert_eq!(name(&[]), (usual.clone(), true));
        assert_eq!(name(&["--no-aliases"]), (usual, false));
        assert_eq!(name(&["--metric-prefix", "my_"]).0.find("my_"), Some(0));
    }

    #[test]
    fn wrong_values_say_the_key_the_value_and_what_is_allowed() {
        for (key, value, allowed) in [
            ("--listen", "8080", "HOST:PORT"),
            ("--metrics-port", "65536", "0..=65535"),
            ("--labels", "variant", "KEY=VALUE"),
            ("--label", "job=x", "allowed"),
            ("--metric-prefix", "9", "allowed"),
            ("--endpoint", "/x=gpt", "openai"),
            ("--max-running", "0", "number"),
            ("--inject-usage", "maybe", "auto, always, never"),
            ("--connect-timeout", "soon", "30s"),
            ("--idle-timeout", "0", "30s"),
            ("--max-request-body", "20 M", "20MiB"),
            ("--workers", "0", "number"),
            ("--log", "xml", "text, json"),
            ("--gpu", "maybe", "auto, nvml, off"),
        ] {
            let error = proxy(&[key, value]).unwrap_err();
            let says = |part: &str| assert!(error.contains(part), "{part:?}: {error}");
            [key, value, allowed].into_iter().for_each(says);
        }
        let error = proxy(&["--max-waiting", "3"]).unwrap_err();
        assert!(error.contains("--max-running"), "{error}");
        let error = proxy(&["--metrics-port", "1", "--metrics-listen", "h:1"]).unwrap_err();
        assert!(error.contains("cannot be used with"), "{error}");
    }
}
