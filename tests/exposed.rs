//! The page on a port that others can reach: who is answered, and what a stop leaves to be sent.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]
#![expect(clippy::disallowed_macros, reason = "users record their own metrics by these")]

use std::{io, net::SocketAddr, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use infermeter::exporter::Prometheus;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tower::ServiceExt;

const TOKEN: &str = "s3cr3t.T0ken~";

// === The token ===

#[tokio::test]
async fn a_scrape_brings_the_token() {
    let exporter = Prometheus::builder().token(TOKEN).serve("127.0.0.1:0").await.unwrap();
    let address = exporter.local_addr().unwrap();
    for (authorization, status) in [
        (None, 401),
        (Some("Bearer s3cr3t.T0ken~".to_owned()), 200),
        (Some("bearer s3cr3t.T0ken~".to_owned()), 200),
        (Some("BEARER  s3cr3t.T0ken~".to_owned()), 200),
        (Some("Bearer s3cr3t.T0ken".to_owned()), 401),
        (Some("Bearer s3cr3t.T0ken~~".to_owned()), 401),
        (Some("Bearer S3CR3T.T0KEN~".to_owned()), 401),
        (Some("Bearer".to_owned()), 401),
        (Some("Bearer ".to_owned()), 401),
        (Some("Basic s3cr3t.T0ken~".to_owned()), 401),
        (Some("s3cr3t.T0ken~".to_owned()), 401),
    ] {
        let response = send(address, Method::GET, "/metrics", authorization.as_deref()).await;
        assert_eq!(response.status(), status, "{authorization:?}");
        if status == 401 {
            assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
            let kind = &response.headers()[header::CONTENT_TYPE];
            assert!(kind.to_str().unwrap().starts_with("text/plain"), "{kind:?}");
            let body = text(response).await;
            assert!(body.contains("token") && body.ends_with('\n'), "{body}");
            assert!(!body.contains("s3cr3t") && !body.contains("# HELP"), "{body}");
        }
    }
}

#[tokio::test]
async fn probes_have_no_token_and_all_else_needs_it() {
    let exporter = Prometheus::builder().token(TOKEN).serve("127.0.0.1:0").await.unwrap();
    let address = exporter.local_addr().unwrap();
    let right = format!("Bearer {TOKEN}");
    for (method, path, without, with) in [
        (Method::GET, "/healthz", 200, 200),
        (Method::GET, "/readyz", 200, 200),
        (Method::HEAD, "/readyz", 200, 200),
        (Method::GET, "/metrics", 401, 200),
        (Method::HEAD, "/metrics", 401, 200),
        (Method::POST, "/metrics", 401, 405),
        (Method::GET, "/metrics/x", 401, 404),
        (Method::GET, "/healthz/", 401, 404),
        (Method::GET, "/nothing", 401, 404),
        (Method::GET, "/requests", 401, 200),
        (Method::POST, "/requests", 401, 405),
    ] {
        for (authorization, status) in [(None, without), (Some(right.as_str()), with)] {
            let response = send(address, method.clone(), path, authorization).await;
            assert_eq!(response.status(), status, "{method} {path} {authorization:?}");
        }
    }
    exporter.set_ready(false);
    assert_eq!(send(address, Method::GET, "/readyz", None).await.status(), 503);

    let page = send(address, Method::GET, "/metrics", Some(&right)).await;
    assert_eq!(page.headers()[header::CONTENT_ENCODING], "gzip");
}

#[tokio::test]
async fn a_router_asks_for_the_token_too() {
    let exporter = Prometheus::builder().token(TOKEN).build().unwrap();
    let nested = axum::Router::new().nest("/internal", exporter.router());
    for (router, at) in [(exporter.router(), ""), (nested, "/internal")] {
        let status = async |path: &str, token: &str| {
            let request = Request::get(format!("{at}{path}"));
            let request = request.header("authorization", format!("Bearer {token}"));
            let request = request.body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap().status()
        };
        assert_eq!(status("/metrics", "other").await, 401);
        assert_eq!(status("/metrics", TOKEN).await, 200);
        assert_eq!(status("/healthz", "other").await, 200);
    }
}

#[tokio::test]
async fn what_is_no_token_is_an_error_that_does_not_tell_it() {
    for token in ["", "s3cr3t\n", "s3 cr3t", "s3cr3t\u{e9}", "\0"] {
        let built = Prometheus::builder().token(token).build().unwrap_err();
        let served = Prometheus::builder().token(token).serve("127.0.0.1:0").await.unwrap_err();
        for error in [built, served] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let error = error.to_string();
            assert!(error.contains("token") && error.contains("allowed"), "{error}");
            assert!(!error.contains("s3"), "{error}");
        }
    }
}

#[tokio::test]
async fn the_token_is_not_shown() {
    let builder = Prometheus::builder().token(TOKEN);
    let wrong = format!("{:?}", Prometheus::builder().token(format!("{TOKEN}\n")));
    let shown = format!("{builder:#?} {wrong}");
    let exporter = builder.serve("127.0.0.1:0").await.unwrap();
    let shown = format!("{shown} {exporter:#?} {:#?}", exporter.router());
    assert!(!shown.contains(TOKEN), "{shown}");
}

// === The last scrape ===

#[tokio::test]
async fn the_next_scrape_is_waited_for() {
    let exporter = Prometheus::builder().token(TOKEN).serve("127.0.0.1:0").await.unwrap();
    let address = exporter.local_addr().unwrap();
    let right = format!("Bearer {TOKEN}");
    let whole = async || text(send(address, Method::GET, "/metrics", Some(&right)).await).await;
    whole().await;

    let mut scraped = waiting(exporter.scraped());
    assert!(!scraped.is_done().await, "that was before");
    text(send(address, Method::HEAD, "/metrics", Some(&right)).await).await;
    text(send(address, Method::GET, "/metrics", None).await).await;
    text(send(address, Method::GET, "/readyz", None).await).await;
    assert!(!scraped.is_done().await, "none of these was a scrape");
    whole().await;
    scraped.ends().await;
    assert!(!waiting(exporter.scraped()).is_done().await, "this is the next one");
}

#[tokio::test]
async fn a_scrape_counts_when_its_page_is_whole() {
    let exporter = Prometheus::builder().build().unwrap();
    for encoding in ["identity", "gzip"] {
        let request = || {
            let request = Request::get("/metrics").header("accept-encoding", encoding);
            exporter.router().oneshot(request.body(Body::empty()).unwrap())
        };
        let early = request().await.unwrap();
        let mut scraped = waiting(exporter.scraped());
        early.into_body().collect().await.unwrap();
        assert!(!scraped.is_done().await, "{encoding}: it had begun before");

        let cut = request().await.unwrap();
        drop(cut);
        let late = request().await.unwrap();
        assert!(!scraped.is_done().await, "{encoding}: it is not whole");
        late.into_body().collect().await.unwrap();
        scraped.ends().await;
    }
    // Once nobody can be answered, it waits on.
    let mut scraped = waiting(exporter.scraped());
    drop(exporter);
    assert!(!scraped.is_done().await);
}

#[tokio::test]
async fn a_scrape_under_way_is_answered_after_a_stop() {
    let exporter = Prometheus::serve("127.0.0.1:0").await.unwrap();
    // A page that no two buffers hold.
    metrics::with_local_recorder(&exporter.recorder(), || {
        for i in 0..400 {
            metrics::gauge!("my_gauge", "a" => format!("{i}{}", "x".repeat(50_000))).set(1.0);
        }
    });
    let scraped = exporter.scraped();
    let mut client = TcpStream::connect(exporter.local_addr().unwrap()).await.unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    client.readable().await.unwrap();
    let mut answer = Vec::new();
    let answered = async { tokio::join!(exporter.shutdown(), client.read_to_end(&mut answer)) };
    let (stopped, read) = timeout(Duration::from_secs(60), answered).await.unwrap();
    stopped.unwrap();
    read.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", page.len())), "{head}");
    assert!(page.len() > 400 * 50_000, "{}", page.len());
    timeout(Duration::from_secs(60), scraped).await.unwrap();
}

// === Helpers ===

/// A future that is looked at now and then, and its task.
struct Waiting(tokio::task::JoinHandle<()>);

fn waiting(future: impl Future<Output = ()> + Send + 'static) -> Waiting {
    Waiting(tokio::spawn(future))
}

// === impl Waiting ===

impl Waiting {
    async fn is_done(&mut self) -> bool {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.0.is_finished()
    }

    async fn ends(self) {
        timeout(Duration::from_secs(60), self.0).await.expect("too late").unwrap();
    }
}

async fn send(
    address: SocketAddr,
    method: Method,
    path: &str,
    authorization: Option<&str>,
) -> Response<hyper::body::Incoming> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"))
        .header(header::ACCEPT_ENCODING, "gzip");
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap()
}

/// What of it is text.
async fn text(response: Response<hyper::body::Incoming>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}
