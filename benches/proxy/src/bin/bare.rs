//! A reverse proxy of hyper's server and hyper-util's client that counts nothing, on one thread: what
//! a proxy of these two costs at least.

use std::{io, net::SocketAddr};

use clap::Parser;
use http::{HeaderName, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};
use http_body_util::{Either, Empty};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::TcpListener;

#[derive(Parser)]
#[command(about = "A reverse proxy that counts nothing")]
struct Arguments {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The address of the engine.
    #[arg(long)]
    upstream: SocketAddr,
}

/// What concerns a connection, and not the one behind it.
const HOP_BY_HOP: [HeaderName; 3] =
    [header::CONNECTION, header::TRANSFER_ENCODING, HeaderName::from_static("keep-alive")];

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let Arguments { listen, upstream } = Arguments::parse();
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let listener = TcpListener::bind(listen).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let client = client.clone();
        let service = service_fn(move |request| pass(client.clone(), upstream, request));
        tokio::spawn(async move {
            // The client's or the engine's end of it: whoever asked sees it.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn pass(
    client: Client<HttpConnector, Incoming>,
    upstream: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Either<Incoming, Empty<Bytes>>>, http::Error> {
    let path = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let uri = Uri::builder().scheme("http").authority(upstream.to_string()).path_and_query(path);
    *request.uri_mut() = uri.build()?;
    HOP_BY_HOP.iter().for_each(|name| drop(request.headers_mut().remove(name)));
    match client.request(request).await {
        Ok(mut response) => {
            HOP_BY_HOP.iter().for_each(|name| drop(response.headers_mut().remove(name)));
            Ok(response.map(Either::Left))
        }
        Err(_) => {
            Response::builder().status(StatusCode::BAD_GATEWAY).body(Either::Right(Empty::new()))
        }
    }
}
