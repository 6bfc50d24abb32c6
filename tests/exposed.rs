//! The page on a port that others can reach: who is answered.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

use std::{io, net::SocketAddr};

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use infermeter::exporter::Prometheus;
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
        (Method::GET, "/", 401, 404),
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

// === Helpers ===

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
