//! A storm of requests that end in every way, and scrapes all the while: no request is lost or
//! counted twice, and every scrape adds up.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends at the first surprise")]

mod endings;
mod panics;
#[path = "../support/mod.rs"]
mod support;
mod ways;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use infermeter::{Meter, Start, exporter::Prometheus};
use tokio::time::Instant;

use endings::{CACHED, Ending};
use support::scrape::Scrape;
use ways::{Plan, RENAMED, Server, Way};

/// The storm lasts until both are reached.
const REQUESTS: u64 = 3000;
const SCRAPES: u64 = 3000;

/// Requests that each wave has on their way at once.
const WAVE: u64 = 240;

/// Of the scrapes, every so many is a page.
const PAGE_EVERY: u64 = 25;

/// How long it may take to notice that the last clients have left.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn in_a_storm_nothing_is_lost_and_every_scrape_adds_up() {
    let meter = Meter::new();
    let exporter = Prometheus::builder().meter(meter.clone()).build().unwrap();
    let server = Server::new(&meter);
    let (scrapes, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();

    let sent = thread::scope(|scope| {
        let scraping = scope.spawn(|| scrape(&meter, &exporter, &scrapes, &is_over));
        let mut sent = Vec::new();
        while (sent.len() as u64) < REQUESTS || scrapes.load(Relaxed) < SCRAPES {
            assert!(!scraping.is_finished(), "a scrape did not add up");
            let next = sent.len() as u64;
            let wave: Vec<Plan> = (next..next + WAVE).map(plan).collect();
            send(&runtime, &server, &wave);
            sent.extend(wave);
        }
        is_over.store(true, Relaxed);
        scraping.join().unwrap();
        sent
    });

    let at_rest = Scrape::of(&meter);
    assert_eq!(at_rest.in_flight(), 0);
    assert_as_sent(&at_rest, &sent);
    let page = Scrape::parse(&exporter.render());
    assert_as_sent(&page, &sent);
    println!("{} requests, {} scrapes", sent.len(), scrapes.load(Relaxed));
}

/// Every ending by every way, in an order that has no pattern.
fn plan(id: u64) -> Plan {
    let endings = Ending::ALL.len() as u64;
    let mixed = id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    Plan {
        ending: usize::try_from(id % endings).unwrap(),
        id,
        start: if mixed & 1 == 0 { Start::Call } else { Start::Reported },
        says_started: mixed & 2 == 0,
        renames: mixed % 7 == 0,
        way: match (id / endings) % 4 {
            0 | 1 => Way::Call,
            2 => Way::Http1,
            _ => Way::Http2,
        },
    }
}

/// Half of the plain calls come from threads of their own, outside of the runtime's.
fn send(runtime: &tokio::runtime::Runtime, server: &Server, wave: &[Plan]) {
    let is_own = |plan: &&Plan| matches!(plan.way, Way::Call) && plan.id % 2 == 0;
    let (own, spawned): (Vec<&Plan>, Vec<&Plan>) = wave.iter().partition(is_own);
    let tasks: Vec<_> = spawned
        .into_iter()
        .map(|plan| {
            let (server, plan) = (server.clone(), *plan);
            runtime.spawn(async move { server.run(plan).await })
        })
        .collect();
    thread::scope(|scope| {
        for part in own.chunks(own.len().div_ceil(3).max(1)) {
            scope.spawn(move || {
                for plan in part {
                    runtime.block_on(server.run(**plan));
                }
            });
        }
    });
    for task in tasks {
        runtime.block_on(task).unwrap();
    }
}

/// Scrapes until the storm is over and everything has come to rest.
fn scrape(meter: &Meter, exporter: &Prometheus, scrapes: &AtomicU64, is_over: &AtomicBool) {
    let (mut before, mut page_before) = (Scrape::of(meter), Scrape::parse(&exporter.render()));
    let mut most_in_flight = 0;
    let mut over_since: Option<Instant> = None;
    loop {
        let now = Scrape::of(meter);
        now.assert_identities();
        now.assert_grown_from(&before);
        most_in_flight = most_in_flight.max(now.in_flight());
        if scrapes.fetch_add(1, Relaxed) % PAGE_EVERY == 0 {
            let page = Scrape::parse(&exporter.render());
            page.assert_identities();
            page.assert_grown_from(&page_before);
            page_before = page;
        }
        if is_over.load(Relaxed) {
            let since = *over_since.get_or_insert_with(Instant::now);
            if now.in_flight() == 0 {
                break;
            }
            assert!(
                since.elapsed() < PATIENCE,
                "{:?}",
                now.counted("infermeter_requests_in_flight")
            );
        }
        before = now;
    }
    assert!(most_in_flight > 10, "there was no storm: {most_in_flight}");
}

/// Every count is what the plans say.
fn assert_as_sent(scrape: &Scrape, sent: &[Plan]) {
    scrape.assert_identities();
    let (mut ends, mut received, mut sources) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut tokens: BTreeMap<&str, [u64; 3]> = BTreeMap::new();
    for plan in sent {
        let ending = plan.ending();
        let model = if plan.renames { RENAMED } else { plan.model() };
        let (outcome, mut reason, code) = ending.counted;
        let never_started = plan.start == Start::Reported && !plan.says_started;
        if ending.ends_before_the_first_token() && never_started {
            reason = "queue";
        }
        let end = format!("{model} {} {outcome} {reason} {code}", plan.endpoint());
        *ends.entry(end).or_insert(0) += 1;
        *received.entry(plan.endpoint().to_owned()).or_insert(0) += 1;
        let (prompt, generated, source) = ending.tokens;
        let cached = if source == Some("engine_frame") { CACHED } else { 0 };
        if let Some(source) = source {
            *sources.entry(format!("{model} {source}")).or_insert(0) += 1;
        }
        let sums = tokens.entry(model).or_default();
        *sums = [sums[0] + prompt, sums[1] + cached, sums[2] + generated];
    }
    assert_series(scrape, "infermeter_requests_total", &ends);
    assert_series(scrape, "infermeter_requests_received_total", &received);
    assert_series(scrape, "infermeter_token_accounting_total", &sources);
    for (model, sums) in tokens {
        let labels = [("model_name", model)];
        let sum = |name: &str| scrape.sum(name, &labels);
        let counted = ["prompt_tokens", "prompt_tokens_cached", "generation_tokens"];
        let counted = counted.map(|name| sum(&format!("vllm:{name}_total")));
        assert_eq!(counted, sums, "{model}");
        assert_eq!(sum("vllm:reasoning_tokens_total"), 0, "{model}");
    }
}

fn assert_series(scrape: &Scrape, name: &str, expected: &BTreeMap<String, u64>) {
    let mut found = scrape.counted(name);
    found.sort();
    let expected: Vec<String> =
        expected.iter().map(|(labels, n)| format!("{labels} {n}")).collect();
    let differ: Vec<_> = found.iter().filter(|line| !expected.contains(line)).collect();
    let lack: Vec<_> = expected.iter().filter(|line| !found.contains(line)).collect();
    assert!(differ.is_empty() && lack.is_empty(), "{name}: found {differ:?} for {lack:?}");
}
