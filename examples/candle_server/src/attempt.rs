//! `--try`: calls the server as its clients would, and holds the page to what they were told.

use std::{error::Error, net::SocketAddr, time::Duration};

use axum::body::Body;
use futures_util::future::try_join_all;
use http_body_util::BodyExt;
use hyper::{Request, Response, body::Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{MODEL, engine::BLOCKS};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long the page may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(10);

const SHOWN: [&str; 12] = [
    "vllm:request_total",
    "vllm:request_success_total",
    "vllm:request_failure_total",
    "vllm:request_aborted_total",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:time_in_queue_seconds_",
    "vllm:time_to_first_token_seconds_",
    "vllm:iteration_tokens_total_",
    "vllm:num_",
    "infermeter_requests_total",
    "infermeter_token_accounting_total",
];

struct Visitor {
    client: Client<HttpConnector, Body>,
    service: SocketAddr,
    page: SocketAddr,
}

/// What came of one request.
#[derive(Debug, PartialEq)]
struct Told {
    text: String,
    finish: String,
    prompt: u64,
    generated: u64,
}

pub(crate) async fn attempt(service: SocketAddr, page: SocketAddr) -> Outcome<()> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let visitor = Visitor { client, service, page };
    let models: Value = serde_json::from_str(&visitor.get(service, "v1/models").await?)?;
    hold(models["data"][0]["id"] == MODEL, &models.to_string())?;
    let requests = requests();
    let told = try_join_all(requests.iter().map(|(path, body)| visitor.ask(path, body))).await?;
    for ((path, body), told) in requests.iter().zip(&told) {
        let way = if body["stream"] == true { "streamed" } else { "whole" };
        let Told { text, finish, prompt, generated } = told;
        let start: String = text.chars().take(20).collect();
        println!("{path:17} {way:8} {prompt:3} + {generated:3} tokens, {finish:6} {start:?}");
    }
    for pair in told.chunks(2) {
        hold(pair[0] == pair[1], &format!("streamed and whole are the same: {pair:?}"))?;
    }
    let (prompt, generated) =
        told.iter().fold((0, 0), |(p, g), told| (p + told.prompt, g + told.generated));
    visitor.wait(&[("request_success_total", told.len() as u64)]).await?;
    visitor
        .wait(&[
            ("prompt_tokens_total", prompt),
            ("generation_tokens_total", generated),
            ("num_requests_running", 0),
            ("num_requests_waiting", 0),
            ("num_blocks_used", 0),
            ("num_blocks_total", BLOCKS as u64),
        ])
        .await?;
    let text = visitor.get(page, "metrics").await?;
    let preempted = sum(&text, "num_preemptions_total");
    hold(preempted.is_some_and(|times| times > 0.0), "some were preempted, for lack of blocks")?;

    // One that is wrong, and one whose client leaves.
    let wrong = json!({"prompt": "a", "max_tokens": 0});
    let response = visitor.post("completions", &wrong).await?;
    let status = response.status().as_u16();
    let answer = String::from_utf8(response.into_body().collect().await?.to_bytes().into())?;
    hold(status == 400 && answer.contains("from 1 to 511"), &answer)?;
    println!("{answer}");
    let long = json!({"prompt": "a", "max_tokens": 500, "stream": true});
    let mut response = visitor.post("completions", &long).await?;
    response.frame().await.ok_or("a first chunk")??;
    drop(response);
    visitor
        .wait(&[
            ("request_total", told.len() as u64 + 2),
            ("request_success_total", told.len() as u64),
            ("request_failure_total", 1),
            ("request_aborted_total", 1),
            ("num_requests_running", 0),
            ("num_blocks_used", 0),
        ])
        .await?;
    let text = visitor.get(page, "metrics").await?;
    let all = sum(&text, "generation_tokens_total").unwrap_or_default() as u64;
    let rest = all - generated;
    hold((1..500).contains(&rest), &format!("who left had some of 500 tokens: {rest}"))?;
    println!("{} were answered, {generated} tokens in all; who left had {rest} of 500", told.len());
    for name in SHOWN {
        let shown = text.lines().filter(|line| is_short(line, name));
        shown.for_each(|line| println!("  {line}"));
    }
    Ok(())
}

/// Pairs that should say the same, streamed and whole. Together they are too much for the cache.
fn requests() -> Vec<(&'static str, Value)> {
    let mut requests = Vec::new();
    for i in 0_u64..8 {
        let temperature = (i % 4) as f64 / 4.0;
        let asked = format!("Where does river number {i} go?");
        let mut body = json!({"model": MODEL, "temperature": temperature, "seed": i});
        let path = if i % 2 == 0 { "completions" } else { "chat/completions" };
        match path {
            "completions" => body["prompt"] = json!(asked),
            _ => body["messages"] = json!([{"role": "user", "content": asked}]),
        }
        body["max_tokens"] = json!(150 + 20 * i);
        let mut streamed = body.clone();
        streamed["stream"] = json!(true);
        streamed["stream_options"] = json!({"include_usage": true});
        requests.extend([(path, streamed), (path, body)]);
    }
    requests
}

// === impl Visitor ===

impl Visitor {
    async fn ask(&self, path: &str, body: &Value) -> Outcome<Told> {
        let response = self.post(path, body).await?;
        let status = response.status();
        let answer = String::from_utf8(response.into_body().collect().await?.to_bytes().into())?;
        hold(status == 200, &answer)?;
        let parts: Vec<Value> = if body["stream"] == true {
            let data: Vec<&str> =
                answer.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
            let (end, parts) = data.split_last().ok_or("no events")?;
            hold(*end == "[DONE]", end)?;
            parts.iter().map(|data| serde_json::from_str(data)).collect::<Result<_, _>>()?
        } else {
            vec![serde_json::from_str(&answer)?]
        };
        let choices = || parts.iter().map(|part| &part["choices"][0]);
        let texts = choices().flat_map(|choice| {
            [&choice["text"], &choice["delta"]["content"], &choice["message"]["content"]]
        });
        let text: String = texts.filter_map(Value::as_str).collect();
        let finish = choices().find_map(|choice| choice["finish_reason"].as_str());
        let usage = parts.last().map(|last| &last["usage"]).ok_or("no usage")?;
        let count = |name: &str| usage[name].as_u64().ok_or_else(|| format!("no {name}: {answer}"));
        let (prompt, generated) = (count("prompt_tokens")?, count("completion_tokens")?);
        let finish = finish.ok_or("no finish_reason")?.to_owned();
        // Each token is a character, but for the one that ends the answer.
        hold(text.len() as u64 + u64::from(finish == "stop") == generated, &answer)?;
        Ok(Told { text, finish, prompt, generated })
    }

    async fn post(&self, path: &str, body: &Value) -> Outcome<Response<Incoming>> {
        let url = format!("http://{}/v1/{path}", self.service);
        let request = Request::post(url).header("content-type", "application/json");
        Ok(self.client.request(request.body(body.to_string().into())?).await?)
    }

    async fn get(&self, from: SocketAddr, path: &str) -> Outcome<String> {
        let response = self.client.get(format!("http://{from}/{path}").parse()?).await?;
        Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().into())?)
    }

    /// Scrapes until all numbers are there: an answer can be read before its end was counted.
    async fn wait(&self, expected: &[(&str, u64)]) -> Outcome<()> {
        let start = Instant::now();
        loop {
            let text = self.get(self.page, "metrics").await?;
            let wrong = expected.iter().find_map(|(name, number)| {
                let found = sum(&text, name);
                (found != Some(*number as f64))
                    .then(|| format!("vllm:{name} is {found:?}, and not {number}"))
            });
            let Some(wrong) = wrong else { return Ok(()) };
            hold(start.elapsed() < PATIENCE, &format!("{wrong}\n{text}"))?;
            sleep(Duration::from_millis(10)).await;
        }
    }
}

// === Helpers ===

/// A family over all of its labels; `None` where it is not on the page.
fn sum(page: &str, name: &str) -> Option<f64> {
    let name = format!("vllm:{name}{{");
    let lines = page.lines().filter(|line| line.starts_with(&name));
    lines.map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).reduce(|a, b| Some(a? + b?))?
}

/// Whether it is of the family, neither a bucket nor something that never was.
fn is_short(line: &str, family: &str) -> bool {
    line.starts_with(family) && !line.contains("_bucket{") && !line.ends_with(" 0")
}

fn hold(is_so: bool, what: &str) -> Outcome<()> {
    if is_so { Ok(()) } else { Err(format!("this should be so, and is not: {what}").into()) }
}
