//! Requests, heads and errors through the layer.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version, request, response};
use http_body_util::Full;
use infermeter::{InferenceLayer, Meter, RequestMeter};
use tower::{Layer, ServiceExt, service_fn};

use super::support::scrape::Scrape;

const PATHS: [(&str, bool); 3] =
    [("/v1/chat/completions?a=b%20c", true), ("/v1/embeddings", true), ("/v1/models", false)];

/// What somebody put into the extensions.
#[derive(Clone, Debug, PartialEq)]
struct Note(&'static str);

#[tokio::test]
async fn a_request_arrives_as_it_was_sent_and_with_a_handle_if_it_is_measured() {
    for (path, is_measured) in PATHS {
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            let seen = Arc::new(Mutex::new(None));
            let see = Arc::clone(&seen);
            let service = service_fn(move |request: Request<Full<Bytes>>| {
                *see.lock().unwrap() = Some(request);
                async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
            });
            let layer = InferenceLayer::new(Meter::new())
                .model_from(|parts| Some(parts.headers.get("x-same")?.to_str().ok()?.to_owned()));
            let body = Bytes::from_static(b"{\"prompt\":\"a\"}");
            let request = Request::post(path).version(version).extension(Note("sent"));
            let mut request = request.body(Full::new(body.clone())).unwrap();
            *request.headers_mut() = headers();
            let sent = request.clone().into_parts().0;
            layer.layer(service).oneshot(request).await.unwrap();

            let (got, got_body) = seen.lock().unwrap().take().unwrap().into_parts();
            let request::Parts { method, uri, version, headers, extensions, .. } = &got;
            assert_eq!((method, uri, version), (&sent.method, &sent.uri, &sent.version));
            assert_eq!(headers, &sent.headers);
            assert_eq!(extensions.get::<Note>(), Some(&Note("sent")));
            assert_eq!(extensions.get::<RequestMeter>().is_some(), is_measured, "{path}");
            let got_body = super::support::frames::drain(got_body);
            assert_eq!(got_body.data, body, "{path}");
        }
    }
}

#[tokio::test]
async fn a_head_leaves_as_it_was_made() {
    for (path, is_measured) in PATHS {
        for (status, version) in
            [(200, Version::HTTP_11), (204, Version::HTTP_2), (302, Version::HTTP_10)]
                .into_iter()
                .chain([(418, Version::HTTP_11), (599, Version::HTTP_2)])
        {
            let service = service_fn(move |_: Request<()>| async move {
                let response = Response::builder().status(status).version(version);
                let response = response.extension(Note("made"));
                let mut response = response.body(Full::<Bytes>::default()).unwrap();
                *response.headers_mut() = headers();
                Ok::<_, Infallible>(response)
            });
            let meter = Meter::new();
            let service = InferenceLayer::new(meter.clone()).layer(service);
            let got = service.oneshot(Request::post(path).body(()).unwrap()).await.unwrap();
            let response::Parts { status: seen, version: spoken, headers: had, extensions, .. } =
                got.into_parts().0;
            assert_eq!((seen.as_u16(), spoken), (status, version), "{path}");
            assert_eq!(had, headers(), "{path}");
            assert_eq!(extensions.get::<Note>(), Some(&Note("made")), "{path}");
            assert_eq!(extensions.len(), 1, "nothing is added");
            let received = Scrape::of(&meter).sum("infermeter_requests_received_total", &[]);
            assert_eq!(received, u64::from(is_measured), "{path}");
        }
    }
}

#[tokio::test]
async fn an_error_of_the_service_is_the_very_same_error() {
    for (path, _) in PATHS {
        let error: Arc<str> = "no".into();
        let fails = Arc::clone(&error);
        let service = service_fn(move |_: Request<()>| {
            let fails = Arc::clone(&fails);
            async move { Err::<Response<Full<Bytes>>, _>(fails) }
        });
        let service = InferenceLayer::new(Meter::new()).layer(service);
        let got = service.oneshot(Request::post(path).body(()).unwrap()).await.unwrap_err();
        assert!(Arc::ptr_eq(&got, &error), "{path}");
    }
}

/// Some that look as if they were for the layer, and one twice.
fn headers() -> HeaderMap {
    let pairs = [
        ("x-same", "1"),
        ("x-same", "2"),
        ("x-empty", ""),
        ("content-type", "text/event-stream"),
        ("content-encoding", "identity"),
        ("te", "trailers"),
        ("grpc-status", "0"),
        ("x-latin", "caf\u{e9}"),
    ];
    let pairs = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    pairs.into_iter().collect()
}
