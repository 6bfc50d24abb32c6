//! Whether a scrape of a big page is felt by the requests of the same process: their slowest hundredth
//! with scrapes, over that without, in phases that take turns. For looking at, by hand and on a quiet
//! machine of two cores or more: `cargo bench --bench scrape`.

mod scripted;

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use infermeter::{InferenceLayer, exporter::Prometheus};
use scripted::{
    CHAT, Scripts, chat,
    many::{self, UPSTREAMS},
    request,
};
use tokio::time::Instant;
use tower::Layer;

/// Pairs of phases.
const PAIRS: usize = 30;

/// With one scrape in it, which is fifteen times as often as usual.
const PHASE: Duration = Duration::from_secs(1);

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let meter = many::meter(UPSTREAMS);
    let exporter =
        Prometheus::builder().meter(meter.clone()).process(false).serve("127.0.0.1:0").await?;
    let Some(address) = exporter.local_addr() else { panic!("serves") };
    println!("a page of {:.1} MB", scrape(address)? as f64 / 1e6);

    let upstream = meter.upstream("upstream-00", None).model("model-00");
    let mut service = InferenceLayer::new(upstream).layer(Scripts(chat(100)));
    let mut ratios = [Vec::new(), Vec::new()];
    for pair in 0..PAIRS {
        // Which of them is first takes turns too.
        let is_first = pair % 2 == 0;
        let mut phase = |is_scraped: bool| {
            let scrapes = is_scraped.then(|| thread::spawn(move || scrape(address)));
            let times = phase(&mut || request(&mut service, CHAT));
            scrapes.map(|scrapes| scrapes.join());
            times
        };
        let (one, other) = (phase(is_first), phase(!is_first));
        let (with, without) = if is_first { (one, other) } else { (other, one) };
        for (ratios, part) in ratios.iter_mut().zip([0.5, 0.99]) {
            ratios.push(quantile(&with, part) / quantile(&without, part));
        }
    }
    for (ratios, name) in ratios.iter_mut().zip(["p50", "p99"]) {
        ratios.sort_by(f64::total_cmp);
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|part| quantile(ratios, part));
        println!(
            "{name} with scrapes over without: {middle:.3} (half of {PAIRS}: {low:.3} to {high:.3})"
        );
    }
    exporter.shutdown().await
}

/// How long each of the requests of a phase took, in seconds, rising.
fn phase(request: &mut dyn FnMut() -> usize) -> Vec<f64> {
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < PHASE {
        let began = Instant::now();
        assert!(request() > 100);
        times.push(began.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times
}

fn quantile(rising: &[f64], part: f64) -> f64 {
    rising[((rising.len() - 1) as f64 * part) as usize]
}

/// Asks for the page; its size.
fn scrape(address: SocketAddr) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let (mut buffer, mut size) = ([0; 65_536], 0);
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(size),
            n => size += n,
        }
    }
}
