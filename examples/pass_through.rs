//! A gateway in front of an engine: all that comes is passed on, both ways, as it comes, and what
//! goes to an inference endpoint is measured.
//!
//! `cargo run --release --example pass_through -- ENGINE [LISTEN [METRICS_LISTEN]]`
//!
//! `ENGINE` is an address such as `127.0.0.1:8080`.

use std::{env, net::SocketAddr};

use axum::{BoxError, Router, body::Body, extract::State, response::Response};
use http::{HeaderName, Request, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use infermeter::{InferenceLayer, Start, exporter::Prometheus};
use tokio::net::TcpListener;

#[derive(Clone)]
struct Engine {
    client: Client<HttpConnector, Body>,
    address: SocketAddr,
}

/// What concerns a connection, and not the one behind it.
const HOP_BY_HOP: [HeaderName; 3] =
    [header::CONNECTION, header::TRANSFER_ENCODING, HeaderName::from_static("keep-alive")];

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or("the address of the engine is needed")?.parse()?;
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:8000".to_owned());
    let metrics_listen = arguments.next().unwrap_or_else(|| "127.0.0.1:8001".to_owned());

    let exporter = Prometheus::serve(metrics_listen.parse::<SocketAddr>()?).await?;
    // The queue is the engine's: how long a request waited in it, nobody but the engine can tell.
    let layer = InferenceLayer::new(exporter.meter().clone()).start(Start::Told);
    let client = Client::builder(TokioExecutor::new()).build_http();
    let app = Router::new().fallback(pass).layer(layer).with_state(Engine { client, address });

    let listener = TcpListener::bind(listen).await?;
    println!("http://{} passes on to the engine", listener.local_addr()?);
    let page = exporter.local_addr().ok_or("no page")?;
    println!("curl http://{page}/metrics");
    axum::serve(listener, app).await?;
    Ok(())
}

async fn pass(State(engine): State<Engine>, request: Request<Body>) -> Response {
    let mut response = match engine.ask(request).await {
        Ok(response) => response.map(Body::new), // a stream, and not waited for
        Err(error) => {
            let mut response = Response::new(Body::from(format!("the engine: {error}\n")));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            return response;
        }
    };
    *response.version_mut() = Version::HTTP_11;
    HOP_BY_HOP.iter().for_each(|name| drop(response.headers_mut().remove(name)));
    response
}

impl Engine {
    async fn ask(&self, mut request: Request<Body>) -> Result<http::Response<Incoming>, BoxError> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = format!("http://{}{path}", self.address).parse()?;
        *request.version_mut() = Version::HTTP_11;
        HOP_BY_HOP.iter().for_each(|name| drop(request.headers_mut().remove(name)));
        request.headers_mut().remove(header::HOST); // that of the engine takes its place
        Ok(self.client.request(request).await?)
    }
}
