//! `infermeter demo` as a user meets it: another process, with an engine, the proxy in front of it and
//! a page on ports.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod process;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeSet,
    process::{Command, Output},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use self::{process::Demo, support::scrape::Scrape};

/// Each is above 0 at some time.
const MOVES: &[&str] = &[
    "vllm:request_total",
    "vllm:request_success_total",
    "vllm:request_failure_total",
    "vllm:request_aborted_total",
    "vllm:prompt_tokens_total",
    "vllm:prompt_tokens_cached_total",
    "vllm:generation_tokens_total",
    "vllm:time_in_queue_seconds_count",
    "vllm:request_queue_time_seconds_count",
    "vllm:time_to_first_token_seconds_count",
    "vllm:inter_token_latency_seconds_count",
    "vllm:time_per_output_token_seconds_count",
    "vllm:e2e_request_latency_seconds_count",
    "vllm:request_prefill_time_seconds_count",
    "vllm:request_decode_time_seconds_count",
    "vllm:request_inference_time_seconds_count",
    "vllm:request_prompt_tokens_count",
    "vllm:request_generation_tokens_count",
    "vllm:request_max_num_generation_tokens_count",
    "vllm:iteration_tokens_total_count",
    "vllm:num_requests_waiting",
    "vllm:num_requests_running",
    "vllm:gpu_cache_usage_ratio",
    "vllm:kv_cache_usage_perc",
    "vllm:num_blocks_used",
    "vllm:num_blocks_total",
    "vllm:cache_config_info",
    "vllm:lora_requests_info",
    "vllm:num_preemptions_total",
    "vllm:prefix_cache_queries_total",
    "vllm:prefix_cache_hits_total",
    "infermeter_requests_total",
    "infermeter_requests_received_total",
    "infermeter_tenant_requests_total",
    "infermeter_tenant_tokens_total",
    "infermeter_token_accounting_total",
    "infermeter_request_duration_seconds_count",
    "infermeter_admission_wait_seconds_count",
    "infermeter_requests_in_flight",
    "infermeter_running_limit",
    "infermeter_queue_oldest_age_seconds",
    "infermeter_last_token_age_seconds",
    "infermeter_kv_tokens_held",
    "infermeter_build_info",
    "infermeter_scrape_duration_seconds",
    "infermeter_series",
];

/// Each way to end is seen. NB: not in prefill, which nobody in front of an engine can tell from its
/// queue.
const REASONS: &[&str] = &[
    "stop",
    "length",
    "queue",
    "decode",
    "invalid_request",
    "context_length",
    "not_found",
    "server_error",
    "stream_error",
    "truncated",
    "rejected",
];

/// On a machine with more to do it may take longer than the 20 seconds that it is made for.
const LONGEST: Duration = Duration::from_secs(90);

#[tokio::test]
async fn everything_moves_and_the_identities_hold() {
    let demo = Demo::start(&["--label", "variant=thinking", "--rate", "12"]);
    demo.ask_for_each_fault().await;
    let mut missing: BTreeSet<&str> = MOVES.iter().chain(REASONS).copied().collect();
    let mut before: Option<Scrape> = None;
    let watch = async {
        let mut ticks = interval(Duration::from_millis(250));
        let (mut scrapes, mut grew) = (0, 0);
        while !missing.is_empty() || scrapes < 20 {
            ticks.tick().await;
            let scrape = Scrape::parse(&demo.get(&demo.metrics).await);
            scrape.assert_identities();
            let tokens = |scrape: &Scrape| {
                let kinds = ["prompt", "generation"];
                kinds.map(|kind| scrape.sum(&format!("vllm:{kind}_tokens_total"), &[]))
            };
            if let Some(before) = &before {
                scrape.assert_grown_from(before);
                grew += usize::from(tokens(&scrape)[1] > tokens(before)[1]);
            }
            assert_eq!(scrape.values("vllm:request_total", "variant"), ["thinking"]);
            let reasons = scrape.values("infermeter_requests_total", "reason");
            missing.retain(|name| scrape.counted(name).is_empty() && !reasons.contains(name));
            before = Some(scrape);
            scrapes += 1;
        }
        assert!(grew * 2 > scrapes, "tokens grew in {grew} of {scrapes} scrapes");
    };
    let watched = timeout(LONGEST, watch).await;
    assert!(watched.is_ok(), "these never moved: {missing:?}");

    let (success, rest) = demo.terminate();
    assert!(success, "SIGTERM is a proper end: {rest}");
    let summary = rest.lines().last().unwrap();
    assert!(summary.contains(" requests: ") && summary.ends_with(" generated tokens"), "{rest}");
}

#[tokio::test]
async fn it_speaks_as_openai_does() {
    let demo = Demo::start(&["--rate", "0"]);
    let url = format!("{}/v1/chat/completions", demo.service);
    let messages = json!([{"role": "user", "content": "Where does the river go?"}]);
    let body = json!({"messages": messages, "max_tokens": 4, "n": 2});
    let (status, whole) = demo.post(&url, &body, None).await;
    let whole: Value = serde_json::from_str(&whole).unwrap();
    assert_eq!((status, &whole["object"]), (200, &json!("chat.completion")));
    assert_eq!(whole["usage"]["prompt_tokens"], 6);
    let texts: Vec<&str> = whole["choices"].as_array().unwrap().iter().map(text_of).collect();
    let words: usize = texts.iter().map(|text| text.split(' ').count()).sum();
    assert_eq!(whole["usage"]["completion_tokens"], words);

    // The same, streamed, says the same.
    let mut body = body;
    body["stream"] = true.into();
    body["stream_options"] = json!({"include_usage": true});
    let (status, stream) = demo.post(&url, &body, None).await;
    let mut data: Vec<&str> =
        stream.split_terminator("\n\n").map(|e| e.strip_prefix("data: ").unwrap()).collect();
    assert_eq!((status, data.pop()), (200, Some("[DONE]")));
    let chunks: Vec<Value> = data.iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    let mut streamed = [String::new(), String::new()];
    for choice in chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap()) {
        let index = choice["index"].as_u64().unwrap() as usize;
        streamed[index].push_str(choice["delta"]["content"].as_str().unwrap_or_default());
    }
    assert_eq!(streamed, *texts);
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], words);

    let (status, error) = demo.post(&url, &json!({"messages": []}), None).await;
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!((status, &error["error"]["type"]), (400, &json!("invalid_request_error")));
    let health: Value =
        serde_json::from_str(&demo.get(&format!("{}/health", demo.service)).await).unwrap();
    assert_eq!(health, json!({"status": "ok", "model_name": "demo-40b"}));
    let models: Value =
        serde_json::from_str(&demo.get(&format!("{}/v1/models", demo.service)).await).unwrap();
    assert_eq!(models["data"].as_array().unwrap().len(), 3);
}

/// What the engine is asked for on top is taken out again: the bytes are those of a client that
/// talks to the engine itself. What it told is counted.
#[tokio::test]
async fn clients_of_the_proxy_see_what_the_engine_says_unasked() {
    let demo = Demo::start(&["--rate", "0"]);
    let page = async || Scrape::parse(&demo.get(&demo.metrics).await);
    let stream = |prompt: &str| json!({"prompt": prompt, "stream": true, "max_tokens": 9});
    let url = format!("{}/v1/completions", demo.service);
    // Until the proxy knows which engine it is, nothing is asked of it.
    let knows = async || {
        while page().await.sum("vllm:prompt_tokens_total", &[]) == 0 {
            demo.post(&url, &stream("the wind"), None).await;
        }
    };
    timeout(LONGEST, knows()).await.expect("a stream that nobody asked for its usage");
    let before = page().await;

    let messages = json!([{"role": "user", "content": "Where does the river go?"}]);
    let chat = |extra: Value| {
        let mut body = json!({"messages": messages, "stream": true, "max_tokens": 30});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let bodies = [
        ("completions", stream("the wind")),
        ("chat/completions", chat(json!({}))),
        ("chat/completions", chat(json!({"n": 3}))),
        ("chat/completions", chat(json!({"reasoning_effort": "high"}))),
        ("chat/completions", chat(json!({"stream_options": {"include_usage": false}}))),
        ("chat/completions", chat(json!({"stream_options": null, "model": "demo-40b-sql"}))),
    ];
    for (path, body) in &bodies {
        let ask = async |server: &str| {
            let (status, text) = demo.post(&format!("{server}/v1/{path}"), body, None).await;
            assert_eq!(status, 200, "{text}");
            sorted(&without_number_and_time(&text))
        };
        let (direct, proxied) = (ask(&demo.engine).await, ask(&demo.service).await);
        assert_eq!(direct, proxied, "{body}");
        assert!(direct.iter().all(|event| !event.contains("usage")), "{direct:?}");
    }
    let after = page().await;
    let grown = |name: &str, labels: &[_]| after.sum(name, labels) - before.sum(name, labels);
    let all = bodies.len() as u64;
    assert_eq!(grown("vllm:request_success_total", &[]), all);
    assert_eq!(grown("infermeter_token_accounting_total", &[("source", "usage")]), all);
    assert_eq!(grown("vllm:prompt_tokens_total", &[]), 2 + 5 * 6);
    // Of several choices an engine does not tell it.
    assert_eq!(grown("vllm:time_in_queue_seconds_count", &[]), all - 1);
}

/// The events, but for what differs from one request to the next.
fn without_number_and_time(stream: &str) -> String {
    let mut text = stream.to_owned();
    for start in ["cmpl-", "\"created\":"] {
        let parts: Vec<&str> = text.split(start).collect();
        let cut = |part: &&str| part.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned();
        let rest: Vec<String> = parts[1..].iter().map(cut).collect();
        text = format!("{}{start}{}", parts[0], rest.join(start));
    }
    text
}

/// NB: which of several choices is first is a matter of the engine's steps.
fn sorted(stream: &str) -> Vec<String> {
    let mut events: Vec<String> = stream.split_inclusive("\n\n").map(str::to_owned).collect();
    events.sort();
    events
}

#[test]
fn it_ends_by_itself_with_a_summary() {
    let Output { status, stdout, stderr } =
        infermeter(&["demo", "--seconds", "1", "--listen=127.0.0.1:0", "--metrics-listen=[::1]:0"]);
    let stdout = String::from_utf8(stdout).unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    assert!(stdout.contains("ends after 1 s") && stdout.contains(" requests: "), "{stdout}");
}

#[test]
fn what_cannot_be_is_an_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (arguments, code, says) in [
        (&["demo", "--listen", &taken][..], 1, &["--listen", taken.as_str(), "port 0"][..]),
        (
            &["demo", "--listen=127.0.0.1:0", "--engine-listen", &taken],
            1,
            &["--engine-listen", taken.as_str(), "port 0"],
        ),
        (&["demo", "--rate", "-1"], 2, &["--rate", "'-1'", "allowed is a number from 0 to"]),
        (&["demo", "--label", "a=1", "--label", "a=2"], 1, &["\"a\" is given twice"]),
        (&["demo", "--label", "job=x"], 2, &["--label", "job"]),
        (&["metric"], 2, &["metric"]),
    ] {
        let Output { status, stderr, .. } = infermeter(arguments);
        let stderr = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}: {stderr}");
        for part in says {
            assert!(stderr.contains(part), "{part:?}: {stderr}");
        }
    }
}

#[test]
fn the_catalogue_is_printed() {
    let Output { status, stdout, .. } = infermeter(&["metrics"]);
    assert!(status.success());
    assert_eq!(String::from_utf8(stdout).unwrap(), infermeter::names::markdown());
}

fn infermeter(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_infermeter")).args(arguments).output().unwrap()
}

fn text_of(choice: &Value) -> &str {
    choice["message"]["content"].as_str().unwrap()
}
