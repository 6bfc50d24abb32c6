//! The layer below hyper's server and around its client.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use infermeter::{AdmissionLayer, InferenceLayer, Meter};
use tokio::net::TcpListener;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use super::work::{ended, in_flight};

/// hyper stops polling a body when its `content-length` has passed: the place is left all the same.
#[tokio::test]
async fn below_a_server_and_around_a_client() {
    for is_http2 in [false, true] {
        let meter = Meter::new();
        let url = serve(&meter).await;
        let client = Client::builder(TokioExecutor::new())
            .http2_only(is_http2)
            .timer(TokioTimer::new())
            .build_http::<Empty<Bytes>>();
        let client = AdmissionLayer::new(&Meter::new(), 1).max_waiting(0).layer(client);
        for _ in 0..20 {
            let request = Request::post(format!("{url}/v1/completions"));
            let request = request.body(Empty::new()).unwrap();
            let response = client.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "http2: {is_http2}");
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "{}");
        }
        // Nobody waits for long: the last one has been answered.
        while in_flight(&meter) != [0, 0] {
            tokio::task::yield_now().await;
        }
        assert_eq!(ended(&meter), ["success other 200 20"], "http2: {is_http2}");
    }
}

async fn serve(meter: &Meter) -> String {
    let answer = |_: Request<hyper::body::Incoming>| async {
        let response = Response::builder().header("content-type", "application/json");
        Ok::<_, Infallible>(response.body(Full::new(Bytes::from_static(b"{}"))).unwrap())
    };
    let service = ServiceBuilder::new()
        .layer(InferenceLayer::new(meter.clone()))
        .layer(AdmissionLayer::new(meter, 1))
        .service(service_fn(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                server.serve_connection(TokioIo::new(socket), service).await
            });
        }
    });
    format!("http://{address}")
}
