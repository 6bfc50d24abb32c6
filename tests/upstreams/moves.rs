//! A request that goes to an upstream, step by step.

use std::{
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use infermeter::{InferenceLayer, Meter, RequestMeter, Start, names, record::Ended};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Duration, advance},
};
use tower::{Layer, ServiceExt, service_fn};

use super::support::scrape::Scrape;

/// A request that is being served, by its handle.
struct Open {
    meter: RequestMeter,
    task: JoinHandle<()>,
}

// === impl Open ===

impl Open {
    async fn in_layer(layer: InferenceLayer) -> Self {
        let (sender, mut handles) = mpsc::unbounded_channel();
        let service = layer.layer(service_fn(move |request: Request<()>| {
            sender.send(RequestMeter::of(&request)).unwrap();
            pending::<Result<Response<String>, Infallible>>()
        }));
        let request = Request::post("/v1/completions").body(()).unwrap();
        let task = tokio::spawn(async move { drop(service.oneshot(request).await) });
        Self { meter: handles.recv().await.unwrap(), task }
    }

    async fn ends(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// Series of a family that are not 0.
fn counted(meter: &Meter, name: &str) -> Vec<String> {
    let mut found = Scrape::of(meter).counted(name);
    found.sort_unstable();
    found
}

#[tokio::test(start_paused = true)]
async fn it_is_in_flight_where_it_was_routed_to() {
    let meter = Meter::new();
    let [a, b] = ["a", "b"].map(|name| meter.upstream(name, None));
    let open = Open::in_layer(InferenceLayer::new(meter.clone()).start(Start::Reported)).await;
    let in_flight = || counted(&meter, "infermeter_requests_in_flight");
    assert_eq!(in_flight(), ["default queue none none 1"]);
    advance(Duration::from_secs(2)).await;
    open.meter.routed(&a.model("m"), None);
    assert_eq!(in_flight(), ["m queue a none 1"]);
    // It takes its time in the queue along.
    assert_eq!(counted(&meter, "infermeter_queue_oldest_age_seconds"), ["m 0 a none 2"]);
    open.meter.started();
    assert_eq!(in_flight(), ["m prefill a none 1"]);
    // Another one tries.
    open.meter.routed(&b, Some("n"));
    assert_eq!(in_flight(), ["n prefill b none 1"]);
    advance(Duration::from_secs(3)).await;
    assert_eq!(counted(&meter, "infermeter_last_token_age_seconds"), ["n 0 b none 3"]);
    open.meter.first_token();
    // What is counted is not moved any more.
    open.meter.routed(&a, Some("m"));
    assert_eq!(in_flight(), ["n decode b none 1"]);
    assert_eq!(counted(&meter, "vllm:num_requests_running"), ["n 0 b none 1"]);
    open.ends().await;
    assert_eq!(counted(&meter, "infermeter_requests_in_flight"), [""; 0]);
    assert_eq!(counted(&meter, "vllm:request_aborted_total"), ["n b none 1"]);
    assert_eq!(counted(&meter, "vllm:time_to_first_token_seconds_count"), ["n b none 1"]);
    assert_eq!(counted(&meter, "infermeter_last_token_age_seconds"), [""; 0]);
    Scrape::of(&meter).assert_identities();
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_named_then_is_one_of_the_upstream() {
    let meter = Meter::new();
    let a = meter.upstream("a", Some("x"));
    let told = Arc::new(Mutex::new(None));
    let asked = Arc::clone(&told);
    let layer = InferenceLayer::new(meter.clone())
        .on_end(move |ended: &Ended| *asked.lock().unwrap() = ended.upstream.clone());
    let open = Open::in_layer(layer).await;
    open.meter.routed(&a, Some("m"));
    open.meter.model("n");
    open.ends().await;
    assert_eq!(counted(&meter, "vllm:request_total"), ["n a x 1"]);
    assert_eq!(told.lock().unwrap().as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn the_handle_of_another_meter_routes_nothing() {
    let meter = Meter::new();
    let open = Open::in_layer(InferenceLayer::new(meter.clone())).await;
    open.meter.routed(&Meter::new().upstream("a", None), Some("m"));
    RequestMeter::default().routed(&meter, None);
    open.ends().await;
    assert_eq!(counted(&meter, "vllm:request_total"), ["default 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_layer_of_an_upstream_needs_no_routing() {
    let meter = Meter::new();
    let layer = InferenceLayer::new(meter.upstream("a", None).model("m"));
    let open = Open::in_layer(layer).await;
    assert_eq!(counted(&meter, "infermeter_requests_in_flight"), ["m prefill a none 1"]);
    open.ends().await;
    let snapshot = meter.snapshot();
    snapshot.assert_conserved();
    let labels = [("upstream", "a"), ("variant", "none"), ("model_name", "m")];
    assert_eq!(snapshot.value(&names::REQUEST_TOTAL, &labels), Some(1.0));
    assert_eq!(snapshot.value(&names::REQUEST_TOTAL, &[("upstream", "none")]), None);
}
