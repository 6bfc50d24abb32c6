//! What an engine is asked, and how it is told apart.

use std::time::Duration;

use infermeter::{
    Meter,
    engines::{EngineKind, EngineMetrics},
    record::Collect,
};

use super::server::{Server, lines, page_of, watched};

const LLAMACPP: &str =
    "# TYPE llamacpp:requests_processing gauge\nllamacpp:requests_processing 2\n";
const VLLM: &str = "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 2\n";

#[test]
fn a_url_is_that_of_the_engine_or_of_its_page() {
    for (url, page) in [
        ("http://h:1", "http://h:1/metrics"),
        ("http://h:1/", "http://h:1/metrics"),
        ("http://h:1/metrics", "http://h:1/metrics"),
        ("https://h/a/metrics/", "https://h/a/metrics"),
        ("http://h/page", "http://h/page"),
    ] {
        assert_eq!(EngineMetrics::at(url).unwrap().page_url(), page, "{url}");
    }
    for (url, wrong) in [("h:1", "whole URL"), ("ftp://h", "ftp"), ("http://h/metrics?a", "query")]
    {
        let error = EngineMetrics::at(url).unwrap_err().to_string();
        let says = |part: &str| assert!(error.contains(part), "{part:?}: {error}");
        [url, wrong, "allowed is http://HOST[:PORT][/PATH]"].into_iter().for_each(says);
    }
    // Errors are in logs, where no password belongs.
    let error = EngineMetrics::at("http://me:secret@h/metrics").unwrap_err();
    assert!(error.to_string().contains("http://…@h/metrics"), "{error}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn it_is_asked_for_text_and_its_models_beside_the_page() {
    let server = Server::start();
    server.page("/below/metrics", LLAMACPP);
    server.page("/below/v1/models", r#"{"data":[{"id":"tiny","owned_by":"llamacpp"}]}"#);
    let slots = r#"[{"n_ctx":100,"is_processing":true,"n_prompt_tokens":25,"more":[{}]}]"#;
    server.page("/below/slots", slots);
    let url = format!("{}/below/metrics", server.url);
    let page = page_of(EngineMetrics::at(&url).unwrap()).await;
    assert_eq!(
        server.asked(),
        [
            "/below/metrics text/plain; version=0.0.4",
            "/below/v1/models application/json",
            "/below/slots application/json",
        ]
    );
    // One slot: its cells are known.
    let labels = r#"{model_name="tiny",engine="0"}"#;
    for line in ["vllm:num_blocks_used", "vllm:num_blocks_total", "vllm:gpu_cache_usage_ratio"]
        .into_iter()
        .zip(["25.0", "100.0", "0.25"])
    {
        assert_eq!(lines(&page, line.0), [format!("{}{labels} {}", line.0, line.1)]);
    }
    assert_eq!(
        lines(&page, "infermeter_running_limit"),
        [format!("infermeter_running_limit{labels} 1.0")]
    );
}

/// vLLM without requests has all its families from the start; others are known by what else they
/// answer, and their state is there as soon as its families are.
#[tokio::test]
async fn an_engine_without_families_is_told_by_its_models_or_its_version() {
    for (path, body) in [
        ("/v1/models", r#"{"data":[{"id":"m","owned_by":"llamacpp"}]}"#),
        ("/version", r#"{"version":"0.32.0"}"#),
    ] {
        let server = Server::start();
        server.page("/metrics", "# TYPE python_info gauge\npython_info 1\n");
        server.page(path, body);
        let page = page_of(server.engine().merge(true)).await;
        assert_eq!(lines(&page, "python_info"), ["python_info 1"]);
        assert_eq!(lines(&page, "vllm:"), [""; 0]);
        let has_slots = server.asked().iter().any(|asked| asked.starts_with("/slots"));
        assert_eq!(has_slots, path == "/v1/models");
    }
}

#[tokio::test]
async fn what_is_said_goes_before_what_is_found() {
    let server = Server::start();
    server.page("/metrics", VLLM);
    let page = page_of(server.engine().kind(EngineKind::SgLang)).await;
    assert_eq!(lines(&page, "vllm:"), [""; 0]);
    let page = page_of(server.engine()).await;
    let running = r#"vllm:num_requests_running{model_name="default",engine="0"} 2.0"#;
    assert_eq!(lines(&page, "vllm:"), [running]);
}

/// Not every upstream is an engine with a page, and some have one that is for others only.
#[tokio::test]
async fn one_that_has_no_page_is_no_source_until_it_has() {
    for answer in ["404 Not Found", "401 Unauthorized", "501 Not Implemented"] {
        let server = Server::start();
        let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
        server.answer("/metrics", answer.as_bytes());
        let meter = Meter::new().model("m");
        let watch = server.engine().optional(true).every(Duration::from_millis(1));
        let watch = watched(watch, &meter).await;
        let queue = &infermeter::names::TIME_IN_QUEUE_SECONDS;
        assert!(meter.sources().is_empty());
        assert_eq!(meter.collect().series(queue).len(), 1);
        server.page("/metrics", VLLM);
        let running = tokio::spawn(watch.run());
        while meter.sources().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        meter.sample();
        assert_eq!(meter.sources()[0].up, Some(true));
        assert_eq!(meter.collect().series(queue).len(), 0);
        running.abort();
    }
}

/// An upstream that is not there yet may be an engine.
#[tokio::test]
async fn one_that_fails_is_a_source() {
    let server = Server::start();
    server.answer("/metrics", b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n");
    let meter = Meter::new();
    let _watch = watched(server.engine().optional(true), &meter).await;
    assert_eq!(meter.sources()[0].up, Some(false));
}

#[tokio::test]
async fn what_its_page_does_not_name_can_be_named() {
    let server = Server::start();
    server.page("/metrics", LLAMACPP);
    server.page("/v1/models", r#"{"data":[{"id":"tiny","owned_by":"llamacpp"}]}"#);
    let running = "vllm:num_requests_running";
    for (engine, model) in [(server.engine(), "tiny"), (server.engine().model("mine"), "mine")] {
        let expected = format!("{running}{{model_name=\"{model}\",engine=\"0\"}} 2.0");
        assert_eq!(lines(&page_of(engine).await, running), [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn another_engine_at_the_same_place_is_found() {
    let server = Server::start();
    server.page("/metrics", VLLM);
    let meter = Meter::new();
    let watch = watched(server.engine().every(Duration::from_millis(5)), &meter).await;
    server.page("/metrics", LLAMACPP);
    let running = tokio::spawn(watch.run());
    while !server.asked().iter().any(|asked| asked.starts_with("/slots")) {
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    running.abort();
}

#[test]
fn a_kind_is_a_word() {
    for kind in EngineKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(*kind));
    }
    let error = "ollama".parse::<EngineKind>().unwrap_err();
    assert!(error.contains("\"ollama\"") && error.contains("dynamo, llamacpp"), "{error}");
}
