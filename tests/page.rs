//! The Prometheus page and its server, as a scraper sees them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]
#![expect(clippy::disallowed_macros, reason = "users record their own metrics by these")]

use std::{convert::Infallible, future::ready, io, net::SocketAddr};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use infermeter::{
    InferenceLayer, Meter,
    exporter::{Prometheus, PrometheusBuilder},
    names::Naming,
    record::Collect,
};
use tower::{Layer, ServiceExt, service_fn};

#[tokio::test]
async fn endpoints() {
    let exporter = serve(Prometheus::builder()).await;
    let address = exporter.local_addr().unwrap();
    assert!(address.ip().is_loopback());

    let page = get(address, "/metrics").await;
    assert_eq!(page.status(), 200);
    assert_eq!(page.headers()[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    for (method, path, status) in [
        (Method::HEAD, "/metrics", 200),
        (Method::POST, "/metrics", 405),
        (Method::GET, "/nothing", 404),
        (Method::GET, "/metrics/x", 404),
        (Method::GET, "/healthz", 200),
        (Method::GET, "/readyz", 200),
    ] {
        let response = send(address, method.clone(), path, "identity").await;
        assert_eq!(response.status(), status, "{method} {path}");
        if status == 405 {
            assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
        }
    }
    exporter.shutdown().await.unwrap();
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "still serving");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let first = serve(Prometheus::builder()).await;
    let taken = first.local_addr().unwrap();
    let error = Prometheus::serve(taken).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let told = error.to_string();
    assert!(told.contains(&taken.to_string()) && told.contains("allowed"), "{told}");
}

#[tokio::test]
async fn gzip_where_it_is_accepted() {
    let meter = Meter::new().model("m");
    let exporter = serve(Prometheus::builder().meter(meter).process(false)).await;
    let address = exporter.local_addr().unwrap();
    let plain = send(address, Method::GET, "/metrics", "identity").await;
    assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
    let zipped = send(address, Method::GET, "/metrics", "gzip").await;
    assert_eq!(zipped.headers()[header::CONTENT_ENCODING], "gzip");
    let lengths = [plain, zipped]
        .map(|response| async { response.into_body().collect().await.unwrap().to_bytes().len() });
    let [plain, zipped] = lengths;
    assert!(zipped.await * 2 < plain.await);
}

#[tokio::test]
async fn readiness_names_the_model() {
    let exporter = serve(Prometheus::builder()).await;
    let address = exporter.local_addr().unwrap();
    let ready = async || {
        let response = get(address, "/readyz").await;
        (response.status(), text(response).await)
    };
    let no_model = r#"{"model_name":null,"status":"ok"}"#;
    assert_eq!(ready().await, (StatusCode::OK, no_model.to_owned()));
    let _ = exporter.meter().model("tiny \"words\"");
    exporter.set_ready(false);
    let not_yet = r#"{"model_name":"tiny \"words\"","status":"not ready"}"#;
    assert_eq!(ready().await, (StatusCode::SERVICE_UNAVAILABLE, not_yet.to_owned()));
    exporter.set_ready(true);
    assert_eq!(ready().await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error() {
    let first = Prometheus::serve("127.0.0.1:0").await.unwrap();
    let second = Prometheus::serve(first.local_addr().unwrap()).await;
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_listener_that_is_bound_already() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let exporter = Prometheus::builder().serve_on(listener).unwrap();
    assert_eq!(exporter.local_addr(), Some(address));
    assert_eq!(get(address, "/metrics").await.status(), 200);
}

#[tokio::test]
async fn without_a_server_the_router_and_the_text_are_there() {
    let exporter = Prometheus::builder().build().unwrap();
    assert_eq!(exporter.local_addr(), None);
    let request = Request::get("/metrics").body(axum::body::Body::empty()).unwrap();
    let response = exporter.router().oneshot(request).await.unwrap();
    let page = response.into_body().collect().await.unwrap().to_bytes();
    assert!(page.starts_with(b"# HELP "));
    assert!(exporter.render().contains("infermeter_build_info{version=\"0.1.0\","));
    exporter.shutdown().await.unwrap();
}

#[tokio::test]
async fn zeros_from_the_start_and_values_after_a_request() {
    let meter = Meter::builder().label("variant", "thinking").build().unwrap().model("tiny");
    let exporter = Prometheus::builder().meter(meter.clone()).build().unwrap();
    let layer = InferenceLayer::new(meter);
    let success = r#"vllm:request_success_total{model_name="tiny",finished_reason="stop",variant="thinking"}"#;
    for line in [
        format!("{success} 0"),
        r#"vllm:request_total{model_name="tiny",variant="thinking"} 0"#.to_owned(),
        r#"vllm:request_failure_total{model_name="tiny",variant="thinking"} 0"#.to_owned(),
        r#"vllm:time_in_queue_seconds_bucket{model_name="tiny",variant="thinking",le="2.0"} 0"#
            .to_owned(),
        r#"vllm:request_queue_time_seconds_count{model_name="tiny",variant="thinking"} 0"#
            .to_owned(),
        r#"infermeter_requests_received_total{endpoint="completions",variant="thinking"} 0"#
            .to_owned(),
        r#"infermeter_requests_in_flight{model_name="tiny",phase="queue",variant="thinking"} 0.0"#
            .to_owned(),
    ] {
        assert!(has_line(&exporter.render(), &line), "{line}");
    }

    let service = layer.layer(service_fn(|_: Request<Full<Bytes>>| {
        let json = r#"{"choices":[{"text":"a","finish_reason":"stop"}]}"#;
        let response = Response::builder().header("content-type", "application/json");
        ready(Ok::<_, Infallible>(response.body(Full::<Bytes>::from(json)).unwrap()))
    }));
    let request = Request::post("/v1/completions").body(Full::default()).unwrap();
    service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    assert!(has_line(&exporter.render(), &format!("{success} 1")));
}

#[test]
fn another_naming_has_no_aliases() {
    let meter = Meter::new().model("m");
    let builder = Prometheus::builder().meter(meter).naming(Naming::neutral());
    let page = builder.build().unwrap().render();
    assert!(has_line(&page, "llm_request_total{model_name=\"m\"} 0"));
    assert!(has_line(&page, "llm_time_in_queue_seconds_count{model_name=\"m\"} 0"));
    assert!(!page.contains("vllm:") && !page.contains("request_queue_time"));
}

#[test]
fn what_users_record_follows_on_the_same_page() {
    let meter = Meter::builder().label("zone", "a").build().unwrap();
    let exporter = Prometheus::builder().meter(meter).build().unwrap();
    let recorder = exporter.recorder();
    metrics::with_local_recorder(&recorder, || {
        metrics::counter!("my_retries_total", "to" => "b").increment(3);
    });
    let page = exporter.render();
    assert!(has_line(&page, "my_retries_total{zone=\"a\",to=\"b\"} 3"), "{page}");
    let ours = page.find("infermeter_build_info").unwrap();
    assert!(ours < page.find("my_retries_total").unwrap());
    let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    assert!(has_line(&page, &format!("infermeter_series{{zone=\"a\"}} {lines}.0")), "{lines}");
}

#[test]
fn of_two_families_with_one_name_the_page_has_ours() {
    let meter = Meter::new().model("m");
    let exporter = Prometheus::builder().meter(meter.clone()).build().unwrap();
    let recorder = exporter.recorder();
    metrics::with_local_recorder(&recorder, || {
        metrics::describe_counter!("vllm:request_total", "Mine.");
        metrics::counter!("vllm:request_total", "model_name" => "m").increment(7);
        metrics::gauge!("process_open_fds").set(7.0);
        metrics::gauge!("infermeter_series").set(7.0);
        // An alias, a line of a histogram.
        metrics::histogram!("vllm:request_queue_time_seconds").record(7.0);
        metrics::counter!("vllm:e2e_request_latency_seconds_count").increment(7);
        metrics::describe_counter!("my_total", "Two\n\nlines \\ of \"help\".");
        metrics::counter!("my_total", "a" => "x\n\ny \"z\" \\", "b" => "# TYPE q gauge")
            .increment(3);
        metrics::gauge!("my_gauge").set(1.5);
        metrics::histogram!("my_seconds").record(0.5);
    });
    // The exporter's own thread may be at it.
    while meter.sources()[0].up.is_none() {
        meter.sample();
    }

    let page = exporter.render();
    let names: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup_by_key(|line| line.split(' ').next());
    assert_eq!(once.len(), names.len(), "{names:?}");
    assert!(has_line(&page, "vllm:request_total{model_name=\"m\"} 0"));
    assert!(!page.contains("Mine.") && !page.lines().any(|line| line.ends_with(" 7")), "{page}");

    let whole = "# HELP my_total Two\\n\\nlines \\\\ of \"help\".\n# TYPE my_total counter\n\
                 my_total{a=\"x\\n\\ny \\\"z\\\" \\\\\",b=\"# TYPE q gauge\"} 3\n\n";
    assert!(page.contains(whole), "{page}");
    assert!(page.contains("# TYPE my_gauge gauge\nmy_gauge 1.5\n\n"));
    assert!(page.contains("# TYPE my_seconds summary\nmy_seconds{quantile=\"0\"} 0.5\n"));
    let lines = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    assert!(has_line(&page, &format!("infermeter_series {lines}.0")));
}

#[test]
fn a_name_of_ours_that_is_not_on_the_page_is_the_users() {
    let exporter = Prometheus::builder().process(false).build().unwrap();
    metrics::with_local_recorder(&exporter.recorder(), || {
        metrics::gauge!("process_open_fds").set(7.0);
        metrics::counter!("vllm:num_preemptions_total").increment(1);
    });
    let page = exporter.render();
    assert!(has_line(&page, "process_open_fds 7"), "{page}");
    assert!(has_line(&page, "vllm:num_preemptions_total 1"));
}

#[test]
fn one_global_recorder_and_no_second() {
    let first = Prometheus::builder().build().unwrap();
    first.install_recorder().unwrap();
    metrics::gauge!("my_temperature").set(1.5);
    assert!(first.render().contains("my_temperature 1.5\n"));
    let second = Prometheus::builder().build().unwrap().install_recorder().unwrap_err();
    assert_eq!(second.kind(), io::ErrorKind::AlreadyExists);
    assert!(second.to_string().contains("allowed"), "{second}");
}

#[test]
fn families_stand_once_in_the_order_of_the_catalogue() {
    let meter = Meter::new().model("m");
    let _layer = InferenceLayer::new(meter.clone());
    let naming = Naming::vllm().without_aliases();
    let page = Prometheus::builder().meter(meter).naming(naming.clone()).build().unwrap().render();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let found: Vec<&str> = types.map(|line| line.split(' ').next().unwrap()).collect();
    let catalogue = infermeter::names::CATALOGUE.iter().map(|family| naming.name(family));
    let expected: Vec<String> = catalogue.filter(|name| found.contains(&name.as_str())).collect();
    assert_eq!(found, expected);
    assert!(found.len() > 25, "{found:?}");
}

// === helpers ===

async fn serve(builder: PrometheusBuilder) -> Prometheus {
    builder.serve("127.0.0.1:0").await.unwrap()
}

async fn get(address: SocketAddr, path: &str) -> Response<hyper::body::Incoming> {
    send(address, Method::GET, path, "identity").await
}

async fn send(
    address: SocketAddr,
    method: Method,
    path: &str,
    accept: &str,
) -> Response<hyper::body::Incoming> {
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"))
        .header(header::ACCEPT_ENCODING, accept)
        .body(Empty::<Bytes>::new())
        .unwrap();
    Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap()
}

async fn text(response: Response<hyper::body::Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn has_line(page: &str, line: &str) -> bool {
    page.lines().any(|found| found == line)
}
