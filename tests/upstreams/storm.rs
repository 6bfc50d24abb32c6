//! Requests that are routed at any time, twice, or not at all, and scrapes all the while.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use http::{Request, Response};
use infermeter::{InferenceLayer, Meter, RequestMeter, Start};
use tokio::task::yield_now;
use tower::{Layer, ServiceExt, service_fn};

use super::support::scrape::Scrape;

const REQUESTS: u64 = 20_000;
const SCRAPES: u64 = 500;
const THREADS: u64 = 4;

/// What happens to a request, by its number.
#[derive(Clone, Copy)]
struct Plan(u64);

// === impl Plan ===

impl Plan {
    fn start(self) -> Start {
        if self.0 % 2 == 0 { Start::Call } else { Start::Reported }
    }

    /// Where it goes, in this order.
    fn route(self) -> &'static [(&'static str, Option<&'static str>)] {
        match self.0 / 2 % 5 {
            0 => &[],
            1 => &[("a", None)],
            2 => &[("b", Some("m"))],
            3 => &[("a", Some("m")), ("b", Some("m"))],
            _ => &[("b", None), ("a", None), ("b", None), ("a", Some("m"))],
        }
    }

    /// Whether it leaves the queue before it is routed, and not after.
    fn starts_early(self) -> bool {
        self.0 / 10 % 3 == 0
    }

    /// The series that it ends up in: model, upstream, variant.
    fn ends_under(self) -> &'static str {
        match self.route().last() {
            None => "default none none",
            Some(("a", None)) => "default a x",
            Some(("a", Some(_))) => "m a x",
            Some((_, None)) => "default b none",
            Some((_, Some(_))) => "m b none",
        }
    }

    async fn serve(self, meter: &RequestMeter, upstream: impl Fn(&str) -> Meter) {
        if self.starts_early() {
            meter.started();
        }
        for (name, model) in self.route() {
            // Steps that follow at once are those that a scrape could see in part.
            if self.0 / 30 % 4 == 0 {
                yield_now().await;
            }
            meter.routed(&upstream(name), *model);
        }
        meter.started();
        yield_now().await;
        meter.prompt_tokens(3);
        meter.add_generated_tokens(2);
    }
}

#[test]
fn while_requests_go_over_every_scrape_adds_up() {
    let meter = Meter::new();
    let upstreams = [meter.upstream("a", Some("x")), meter.upstream("b", None)];
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let scraping = scope.spawn(|| {
            let (mut before, mut scrapes, mut seen) = (Scrape::of(&meter), 0, [0; 3]);
            while !is_over.load(Relaxed) || scrapes < SCRAPES {
                let now = Scrape::of(&meter);
                now.assert_identities();
                now.assert_grown_from(&before);
                for (seen, upstream) in seen.iter_mut().zip(["none", "a", "b"]) {
                    let labels = [("upstream", upstream)];
                    *seen += now.sum("infermeter_requests_in_flight", &labels);
                }
                (before, scrapes) = (now, scrapes + 1);
            }
            assert!(seen.iter().all(|seen| *seen > 0), "there was no storm: {seen:?}");
        });
        let senders: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (meter, upstreams) = (&meter, &upstreams);
                scope.spawn(move || send(meter, upstreams, thread))
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        is_over.store(true, Relaxed);
        scraping.join().unwrap();
    });

    let at_rest = Scrape::of(&meter);
    at_rest.assert_identities();
    assert_eq!(at_rest.in_flight(), 0);
    let mut ended: BTreeMap<&str, u64> = BTreeMap::new();
    (0..REQUESTS).for_each(|n| *ended.entry(Plan(n).ends_under()).or_default() += 1);
    let expected = |times: u64| {
        let all = ended.iter().map(|(labels, n)| format!("{labels} {}", n * times));
        all.collect::<Vec<_>>()
    };
    for (name, times) in [
        ("vllm:request_total", 1),
        ("vllm:prompt_tokens_total", 3),
        ("vllm:generation_tokens_total", 2),
        ("vllm:request_generation_tokens_count", 1),
    ] {
        let mut found = at_rest.counted(name);
        found.sort_unstable();
        assert_eq!(found, expected(times), "{name}");
    }
}

fn send(meter: &Meter, upstreams: &[Meter; 2], thread: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let services = [Start::Call, Start::Reported].map(|start| {
        let upstreams = upstreams.clone();
        let inner = service_fn(move |request: Request<Plan>| {
            let upstreams = upstreams.clone();
            async move {
                let upstream = |name: &str| upstreams[usize::from(name == "b")].clone();
                request.body().serve(&RequestMeter::of(&request), upstream).await;
                Ok::<_, Infallible>(Response::new(String::new()))
            }
        });
        InferenceLayer::new(meter.clone()).start(start).layer(inner)
    });
    let mine: Vec<u64> = (0..REQUESTS).filter(|n| n % THREADS == thread).collect();
    // Several at once, so that they are in flight in many ways; then one, beside which a gauge that
    // is one too low would be below 0.
    let (several, single) = mine.split_at(mine.len() / 2);
    for some in several.chunks(16).chain(single.chunks(1)) {
        let all = some.iter().map(|n| {
            let (plan, [call, reported]) = (Plan(*n), services.clone());
            let service = if plan.start() == Start::Call { call } else { reported };
            let request = Request::post("/v1/completions").body(plan).unwrap();
            runtime.spawn(async move { drop(service.oneshot(request).await) })
        });
        for task in all.collect::<Vec<_>>() {
            runtime.block_on(task).unwrap();
        }
    }
}
