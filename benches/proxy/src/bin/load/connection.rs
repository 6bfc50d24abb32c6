//! One connection at a time, and one request at a time on it.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::Poll,
};

use infermeter_proxy_bench::mark;
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use crate::{
    content::Expected,
    failure::Failure,
    plan::Plan,
    response::{Next, Response},
    totals::Totals,
};

thread_local! {
    /// Of all connections: what is read is looked at before another reads.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; 256 * 1024].into());
}

/// One answer that goes on.
struct Exchange<'a> {
    plan: &'a Plan,
    totals: &'a RefCell<Totals>,
    started: Instant,
    response: Response,
}

/// Sends until there is nothing more to be sent.
pub(crate) async fn run(plan: Rc<Plan>, totals: Rc<RefCell<Totals>>, next: Rc<Cell<u64>>) {
    let mut kept = None;
    while let Some((request, expected)) = plan.next(&next) {
        totals.borrow_mut().requests += 1;
        match ask(&plan, &totals, request, expected, kept.take()).await {
            Ok(connection) => kept = connection,
            Err(failure) => totals.borrow_mut().fail(&failure),
        }
    }
}

/// One request. Returns the connection if it can be used again.
async fn ask(
    plan: &Plan,
    totals: &RefCell<Totals>,
    request: &[u8],
    expected: Expected,
    kept: Option<TcpStream>,
) -> Result<Option<TcpStream>, Failure> {
    let mut stream = match kept {
        Some(stream) => stream,
        None => {
            totals.borrow_mut().connects += 1;
            let connected =
                timeout(plan.limit, connect(plan)).await.map_err(|_| Failure::Timeout)?;
            connected.map_err(|error| Failure::Connect(error.kind()))?
        }
    };
    let started = Instant::now();
    let written = stream.write_all(request).await;
    written.map_err(|error| Failure::Write(error.kind()))?;
    let mut exchange = Exchange { plan, totals, started, response: Response::new(expected) };
    // NB: around the reading alone, so that what was read before it is counted.
    let result = timeout(plan.limit, exchange.read(&mut stream)).await;
    let result = result.unwrap_or(Err(Failure::Timeout));
    exchange.close(&result);
    let keeps = matches!(result?, Next::Complete) && exchange.response.keeps_connection;
    Ok(keeps.then_some(stream))
}

async fn connect(plan: &Plan) -> std::io::Result<TcpStream> {
    let socket = if plan.address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(bytes) = plan.read_bytes {
        // Else the kernel would read for those who read slowly.
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(plan.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

// === impl Exchange ===

impl Exchange<'_> {
    async fn read(&mut self, stream: &mut TcpStream) -> Result<Next, Failure> {
        loop {
            let next = self.read_once(stream).await?;
            if next != Next::Read {
                return Ok(next);
            }
            if !self.plan.pause.is_zero() {
                tokio::time::sleep(self.plan.pause).await;
            }
        }
    }

    async fn read_once(&mut self, stream: &mut TcpStream) -> Result<Next, Failure> {
        poll_fn(|cx| {
            BUFFER.with_borrow_mut(|buffer| {
                let most = self.plan.read_bytes.map_or(buffer.len(), |bytes| bytes as usize);
                let most = most.min(buffer.len());
                let mut read = ReadBuf::new(&mut buffer[..most]);
                match Pin::new(&mut *stream).poll_read(cx, &mut read) {
                    Poll::Ready(Ok(())) => Poll::Ready(self.take(read.filled())),
                    Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::Read(error.kind()))),
                    Poll::Pending => Poll::Pending,
                }
            })
        })
        .await
    }

    /// Looks at what has been read.
    fn take(&mut self, bytes: &[u8]) -> Result<Next, Failure> {
        let Self { totals, started, response, .. } = self;
        let totals = &mut *totals.borrow_mut();
        let now = mark::now();
        let mut is_first = response.chunks() == 0;
        let chunk = |mark: mark::Mark| {
            totals.age.record(now.saturating_sub(mark.stamp));
            if std::mem::take(&mut is_first) {
                totals.first.record(started.elapsed().as_nanos() as u64);
            }
        };
        totals.reads += 1;
        totals.bytes += bytes.len() as u64;
        if bytes.is_empty() { response.closed(chunk) } else { response.feed(bytes, chunk) }
    }

    fn close(&self, result: &Result<Next, Failure>) {
        let Self { plan, totals, started, response } = self;
        let mut totals = totals.borrow_mut();
        let chunks = u64::from(response.chunks());
        totals.chunks += chunks;
        match result {
            Ok(Next::Complete) => {
                totals.complete += 1;
                totals.chunks_of_complete += chunks;
                totals.whole.record(started.elapsed().as_nanos() as u64);
            }
            Ok(Next::Leave) => {
                totals.cut += 1;
                totals.cut_late += u64::from(started.elapsed() >= plan.stream_takes());
            }
            Ok(Next::Read) | Err(_) => {} // failures are counted where a timeout is one too
        }
    }
}
