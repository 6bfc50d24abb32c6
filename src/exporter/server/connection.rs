//! Serves one connection within the limits.

use std::{convert::Infallible, pin::pin, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, Response, header::CONNECTION},
};
use http_body::Body as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch};
use tower::Service;

use super::{
    Limits,
    accept::Ask,
    clock::Clock,
    stream::{Answer, Stream},
};

/// Returns when the connection is over, or its time is.
pub(super) async fn serve(
    stream: TcpStream,
    router: Router,
    limits: Limits,
    mut ask: watch::Receiver<Ask>,
) {
    let clock = Arc::new(Clock::new(limits, ask.clone()));
    let stream = TokioIo::new(Stream::new(stream, Arc::clone(&clock)));
    let answers = service_fn(|request| answer(router.clone(), Arc::clone(&clock), request));
    let connection = http1::Builder::new()
        // The clock has this: hyper would count the time between requests, too.
        .header_read_timeout(None)
        .max_buf_size(limits.head_bytes)
        .max_headers(limits.head_fields)
        .serve_connection(stream, answers);
    let mut connection = pin!(connection);
    let mut expired = pin!(clock.expired());
    loop {
        tokio::select! {
            // NB: the clock after the connection, which sets it.
            biased;
            _ = connection.as_mut() => return,
            () = expired.as_mut() => return,
            Ok(()) = ask.changed() => {
                // Otherwise it is enough that the clock was looked at again.
                if *ask.borrow_and_update() == Ask::Stop {
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

async fn answer(
    mut router: Router,
    clock: Arc<Clock>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    clock.answering(!request.body().is_end_stream());
    // Nothing here has a use for a body: it is not read, and what is left of it ends the connection.
    let mut response = router.call(request.map(|_| Body::empty())).await?;
    if clock.is_last() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer::new(body, clock)))
}
