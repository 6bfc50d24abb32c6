//! A gateway of your own that only wants to bill: no layer, no metrics, just the body.
//!
//! `cargo run --release --example gateway_body`

#![allow(clippy::expect_used, reason = "an example ends at the first surprise")]

use axum::{Router, body::Body, extract::State, http::header, routing::post};
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use infermeter::{
    stream::{ObservedBody, Summary},
    wire::Wire,
};
use tokio::{net::TcpListener, sync::mpsc};

/// What an engine streams for `hi`.
const ANSWER: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n\
    data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" you\"},\"finish_reason\":\"stop\"}]}\n\n\
    data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\n\
    data: [DONE]\n\n";

#[derive(Clone)]
struct Gateway {
    client: Client<HttpConnector, Body>,
    engine: Uri,
    bills: mpsc::UnboundedSender<Summary>,
}

/// Passes a request on, and the answer back. The bill is written when the body has ended.
async fn forward(State(gateway): State<Gateway>, mut request: Request<Body>) -> Response<Body> {
    *request.uri_mut() = gateway.engine.clone();
    let response = gateway.client.request(request).await.expect("the engine answers");
    ObservedBody::response(response, Wire::openai(), move |summary| {
        gateway.bills.send(summary).expect("somebody reads the bills");
    })
    .map(Body::new)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stream = || async { ([(header::CONTENT_TYPE, "text/event-stream")], ANSWER) };
    let engine = serve(Router::new().route("/", post(stream))).await?;

    let client = Client::builder(TokioExecutor::new()).build_http();
    let (bills, mut billed) = mpsc::unbounded_channel();
    let gateway = Gateway { client: client.clone(), engine, bills };
    let gateway = serve(Router::new().route("/", post(forward)).with_state(gateway)).await?;

    let answer = client.request(Request::post(gateway).body(Body::from("hi"))?).await?;
    let answer = answer.into_body().collect().await?.to_bytes();
    assert_eq!(answer, ANSWER, "the client gets every byte");

    let summary = billed.recv().await.ok_or("no bill")?;
    println!("{:?} by {:?}: {:?}", summary.usage, summary.source, summary.outcome);
    assert_eq!((summary.usage.prompt, summary.usage.completion), (Some(7), Some(3)));
    Ok(())
}

async fn serve(app: Router) -> Result<Uri, Box<dyn std::error::Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(format!("http://{address}/").parse()?)
}
