//! Answering what a connection asks.

use std::io;

use bytes::BytesMut;
use infermeter_proxy_bench::{mark, workload::Workload};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::Instant};

use crate::{
    answer::{self, Shape},
    request::{Asked, Request},
    totals::Totals,
};

/// Until the client closes it.
pub(crate) async fn serve(mut stream: TcpStream, models: u64, totals: &Totals) -> io::Result<()> {
    let (mut input, mut output) = (BytesMut::new(), Vec::new());
    while let Some(request) = Request::read(&mut stream, &mut input).await? {
        let path = request.path.split('?').next().unwrap_or_default();
        match (request.is_post, path) {
            (true, "/v1/chat/completions" | "/v1/completions") => {
                infer(&mut stream, &mut output, &request, totals).await?;
            }
            (false, "/v1/models") => tell(&mut stream, &answer::models(models)).await?,
            (false, "/health") => tell(&mut stream, "").await?,
            (false, "/version") => tell(&mut stream, answer::VERSION).await?,
            (false, "/simulator/totals") => tell(&mut stream, &totals.json()).await?,
            _ => refuse(&mut stream, "404 Not Found", "no such endpoint").await?,
        }
        if request.closes {
            return Ok(());
        }
    }
    Ok(())
}

async fn infer(
    stream: &mut TcpStream,
    output: &mut Vec<u8>,
    request: &Request,
    totals: &Totals,
) -> io::Result<()> {
    let number = totals.requests.add(1);
    let asked: Asked<'_> = match serde_json::from_slice(&request.body) {
        Ok(asked) => asked,
        Err(error) => return refuse(stream, "400 Bad Request", &error.to_string()).await,
    };
    let workload = match Workload::parse(asked.text()) {
        Ok(workload) => workload,
        Err(error) => return refuse(stream, "400 Bad Request", &error.to_string()).await,
    };
    let is_chat = request.path.starts_with("/v1/chat");
    let shape = Shape { is_chat, model: &asked.model, number };
    if asked.stream {
        stream_chunks(stream, output, shape, workload, asked.includes_usage(), totals).await?;
    } else {
        // NB: even a sleep of nothing waits for a tick of the timer.
        if !workload.gap.is_zero() {
            tokio::time::sleep(workload.gap).await;
        }
        output.clear();
        let mut whole = shape.whole(workload.chunks).ok_or(io::ErrorKind::InvalidData)?;
        whole.stamp(mark::now());
        whole.write(workload.chunks, output);
        stream.write_all(output).await?;
    }
    totals.complete.add(1);
    Ok(())
}

async fn stream_chunks(
    stream: &mut TcpStream,
    output: &mut Vec<u8>,
    shape: Shape<'_>,
    workload: Workload,
    has_usage: bool,
    totals: &Totals,
) -> io::Result<()> {
    let Workload { chunks, gap, per_write } = workload;
    let mut chunk = shape.chunk().ok_or(io::ErrorKind::InvalidData)?;
    let mut last = shape.last_chunk().ok_or(io::ErrorKind::InvalidData)?;
    stream.write_all(answer::STREAM_HEAD).await?;
    output.clear();
    output.extend(shape.role().unwrap_or_default().into_bytes());

    // By the clock from the start, so that a late write does not make all others late.
    let mut at = Instant::now();
    let mut sent = 0;
    while sent < chunks {
        if !gap.is_zero() {
            at += gap;
            tokio::time::sleep_until(at).await;
        }
        let until = chunks.min(sent.saturating_add(per_write));
        let stamp = mark::now();
        chunk.stamp(stamp);
        for number in sent + 1..=until {
            if number == chunks {
                last.stamp(stamp);
                last.write(number, output);
            } else {
                chunk.write(number, output);
            }
        }
        totals.chunks.add(until - sent);
        stream.write_all(output).await?;
        output.clear();
        sent = until;
    }
    stream.write_all(shape.end(chunks, has_usage).as_bytes()).await
}

async fn tell(stream: &mut TcpStream, json: &str) -> io::Result<()> {
    stream.write_all(answer::whole("200 OK", json).as_bytes()).await
}

async fn refuse(stream: &mut TcpStream, status: &str, message: &str) -> io::Result<()> {
    stream.write_all(answer::error(status, message).as_bytes()).await
}
