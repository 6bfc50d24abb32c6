//! An engine that is not there, too slow, or sends too much.

use std::{net::TcpListener, time::Duration};

use infermeter::{
    Meter,
    engines::EngineMetrics,
    exporter::Prometheus,
    names,
    record::{Collect, Readings, Value},
};

use super::server::{Server, lines, render, watched};

const PAGE: &str = "# TYPE vllm:num_requests_running gauge\n\
    vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 2\n\
    # TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total 70\n";

/// What the source of an engine says, and whether another one still tells.
async fn told(engine: EngineMetrics) -> (String, Option<bool>, Option<String>) {
    let meter = Meter::new();
    meter.watch("another", |out: &mut Readings| {
        out.push(&names::PROCESS_THREADS, [], Value::Gauge(4.0));
        Ok(())
    });
    let _watch = watched(engine, &meter).await;
    let page = render(Prometheus::builder().meter(meter.clone()));
    assert_eq!(lines(&page, "process_threads"), ["process_threads 4.0"]);
    let engine = meter.sources().into_iter().find(|source| &*source.name == "engine").unwrap();
    (page, engine.up, engine.error.map(|error| error.to_string()))
}

async fn fails(engine: EngineMetrics, says: &str) {
    let (page, up, error) = told(engine).await;
    assert_eq!(up, Some(false));
    assert!(error.as_ref().is_some_and(|error| error.contains(says)), "{says}: {error:?}");
    assert_eq!(lines(&page, "vllm:"), [""; 0]);
    let up = r#"infermeter_source_up{source="engine"} 0.0"#;
    assert!(lines(&page, "infermeter_source_up").contains(&up), "{page}");
}

#[tokio::test]
async fn no_engine_no_series() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fails(EngineMetrics::at(&format!("http://{free}")).unwrap(), "refused").await;
    let server = Server::start();
    fails(server.engine(), "status 404").await;
    server.answer("/metrics", b"HTTP/1.1 307 Moved\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n");
    fails(server.engine(), "status 307").await;
    server.answer("/metrics", b"SSH-2.0-OpenSSH\r\n");
    fails(server.engine(), "").await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_or_never_ends() {
    for silent in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\na 1\n"] {
        let server = Server::start();
        server.answer("/metrics", silent);
        fails(server.engine(), "no answer within 5s").await;
    }
}

#[tokio::test]
async fn a_page_that_is_cut_short_is_none() {
    let server = Server::start();
    let cut = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfff\r\n{PAGE}");
    server.answer("/metrics", cut.as_bytes());
    fails(server.engine(), "").await;
}

#[tokio::test]
async fn too_many_bytes() {
    let server = Server::start();
    let line = "# a line that says nothing\n";
    let long = line.repeat(10 * 1024 * 1024 / line.len() + 1);
    server.page("/metrics", &long);
    fails(server.engine(), "too long").await;
    // Without saying so before.
    server.answer("/metrics", format!("HTTP/1.1 200 OK\r\n\r\n{}", long.repeat(2)).as_bytes());
    fails(server.engine(), "too long").await;

    let mut rest = PAGE.to_owned();
    rest.push_str(&line.repeat((10 * 1024 * 1024 - PAGE.len()) / line.len()));
    server.page("/metrics", &rest);
    let (page, up, _) = told(server.engine()).await;
    assert_eq!((up, lines(&page, "vllm:num_requests_running").len()), (Some(true), 1));
}

#[tokio::test]
async fn too_many_series() {
    let server = Server::start();
    server.page("/metrics", "a 1\n".repeat(100_001));
    fails(server.engine(), "too many series; allowed are 100000").await;
}

#[tokio::test]
async fn it_comes_and_goes() {
    let server = Server::start();
    let meter = Meter::new();
    let engine = server.engine().merge(true).every(Duration::from_millis(10));
    let watch = watched(engine, &meter).await;
    let exporter = Prometheus::builder().meter(meter.clone()).process(false).build().unwrap();
    let count = |exporter: &Prometheus| {
        meter.sample();
        lines(&exporter.render(), "vllm:").len()
    };
    assert_eq!(count(&exporter), 0);
    let running = tokio::spawn(watch.run());
    for (page, expected) in [(Some(PAGE), 2), (None, 0), (Some(PAGE), 2)] {
        match page {
            Some(page) => server.page("/metrics", page),
            None => server.answer("/metrics", b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"),
        }
        while count(&exporter) != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // Nobody asks any more: what was said last is not kept for ever.
    running.abort();
    let _ = running.await;
    assert_eq!(count(&exporter), 0);
    let error = meter.sources()[0].error.clone().unwrap();
    assert!(error.contains("nobody asks"), "{error}");
}

#[tokio::test]
async fn counters_that_start_anew_are_passed_as_they_are() {
    let server = Server::start();
    let page =
        |n: u64| format!("vllm:num_preemptions_total {n}\nvllm:prefix_cache_hits_total {n}\n");
    server.page("/metrics", page(7));
    let meter = Meter::new();
    let engine = server.engine().every(Duration::from_millis(10));
    let running = tokio::spawn(watched(engine, &meter).await.run());
    server.page("/metrics", page(2));
    let exporter = Prometheus::builder().meter(meter.clone()).process(false).build().unwrap();
    let hits = r#"vllm:prefix_cache_hits_total{model_name="default",engine="0"} 2"#;
    loop {
        meter.sample();
        if lines(&exporter.render(), "vllm:prefix_cache_hits_total") == [hits] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.abort();
}
