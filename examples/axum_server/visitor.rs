//! Calls the server as its clients would, and prints what Prometheus will see.

use std::{env, error::Error, net::SocketAddr, time::Duration};

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use infermeter::exporter::Prometheus;

/// `[--try] [LISTEN [METRICS_LISTEN]]`
pub(crate) fn arguments() -> Result<(bool, SocketAddr, SocketAddr), Box<dyn Error>> {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let just_try = arguments.first().is_some_and(|first| first == "--try");
    arguments.drain(..usize::from(just_try));
    let address = |i: usize, default: &str| -> Result<SocketAddr, Box<dyn Error>> {
        let text = arguments.get(i).map_or(default, String::as_str);
        text.parse().map_err(|_| {
            format!("{text:?} is no address; allowed is HOST:PORT, such as {default}").into()
        })
    };
    Ok((just_try, address(0, "127.0.0.1:8000")?, address(1, "127.0.0.1:8001")?))
}

/// Sends a few requests and prints the numbers; then waits, unless it is just a try.
pub(crate) fn visit(
    service: SocketAddr,
    exporter: &Prometheus,
    just_try: bool,
) -> impl Future<Output = ()> + Send + 'static {
    let page = exporter.local_addr().map(|address| format!("http://{address}/metrics"));
    async move {
        let page = page.unwrap_or_default();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let url = format!("http://{service}/v1/completions");

        // Three at once on two slots: one of them waits.
        let answers = ["one two three", "four five", "six seven eight nine"];
        let sent = answers.map(|prompt| tokio::spawn(send(client.clone(), url.clone(), prompt)));
        for answer in sent {
            answer.await.expect("the task ends");
        }
        // One that is wrong, and one whose client leaves after the first word.
        assert_eq!(send(client.clone(), url.clone(), "").await, 400);
        leave(&client, &url).await;

        let text =
            wait_for(&client, &page, "vllm:request_aborted_total{model_name=\"tiny-words\"} 1")
                .await;
        println!("5 requests: 3 streams, 1 bad request, 1 client that left. Prometheus sees:\n");
        let worth_seeing =
            ["request_total", "request_success", "request_failure", "request_aborted"]
                .map(|name| format!("vllm:{name}"))
                .into_iter()
                .chain(
                    ["vllm:prompt_tokens_total", "vllm:generation_tokens_total"].map(String::from),
                )
                .chain(["sum", "count"].map(|part| format!("vllm:time_in_queue_seconds_{part}")))
                .chain(
                    ["infermeter_requests_total", "infermeter_requests_in_flight"]
                        .map(String::from),
                );
        for name in worth_seeing {
            for line in text.lines().filter(|line| line.starts_with(&name)) {
                println!("  {line}");
            }
        }
        for expected in [
            "vllm:request_total{model_name=\"tiny-words\"} 5",
            "vllm:request_success_total{model_name=\"tiny-words\",finished_reason=\"stop\"} 3",
            "vllm:request_failure_total{model_name=\"tiny-words\"} 1",
            "vllm:prompt_tokens_total{model_name=\"tiny-words\"} 9",
            "vllm:time_in_queue_seconds_count{model_name=\"tiny-words\"} 4",
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected}\n{text}");
        }
        if !just_try {
            println!("\nAll of it:  curl {page}");
            println!("Another:    curl -N {url} --json '{{\"prompt\": \"a few words\"}}'");
            println!("Ctrl-C ends it.");
            tokio::signal::ctrl_c().await.expect("a handler for Ctrl-C");
        }
    }
}

async fn send(client: Client<HttpConnector, Body>, url: String, prompt: &'static str) -> u16 {
    let answer = client.request(post(&url, prompt)).await.expect("an answer");
    let status = answer.status().as_u16();
    answer.into_body().collect().await.expect("the whole body");
    status
}

async fn leave(client: &Client<HttpConnector, Body>, url: &str) {
    let long = "words that nobody stays for ".repeat(100);
    let mut answer = client.request(post(url, &long)).await.expect("an answer");
    answer.frame().await.expect("a first word").expect("a whole one");
}

fn post(url: &str, prompt: &str) -> Request<Body> {
    Request::post(url)
        .header("content-type", "application/json")
        .body(serde_json::json!({ "prompt": prompt }).to_string().into())
        .expect("a request")
}

/// Scrapes until a line is there.
async fn wait_for(client: &Client<HttpConnector, Body>, page: &str, line: &str) -> String {
    loop {
        let answer = client.get(page.parse().expect("a URL")).await.expect("the page");
        let bytes = answer.into_body().collect().await.expect("the whole page").to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.lines().any(|found| found == line) {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
