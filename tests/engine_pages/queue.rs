//! Queue times: an engine's, or those that are recorded here.

use infermeter::{
    InferenceLayer, Meter,
    exporter::Prometheus,
    names::TIME_IN_QUEUE_SECONDS as QUEUE,
    record::{Collect, Value},
};

use super::server::{Server, watched};

const VLLM: &str = "# TYPE vllm:request_queue_time_seconds histogram\n\
    vllm:request_queue_time_seconds_bucket{engine=\"0\",le=\"0.5\",model_name=\"m\"} 3\n\
    vllm:request_queue_time_seconds_bucket{engine=\"0\",le=\"+Inf\",model_name=\"m\"} 4\n\
    vllm:request_queue_time_seconds_sum{engine=\"0\",model_name=\"m\"} 2.5\n\
    vllm:request_queue_time_seconds_bucket{engine=\"1\",le=\"0.1\",model_name=\"m\"} 1\n\
    vllm:request_queue_time_seconds_bucket{engine=\"1\",le=\"0.5\",model_name=\"m\"} 1\n\
    vllm:request_queue_time_seconds_bucket{engine=\"1\",le=\"+Inf\",model_name=\"m\"} 1\n\
    vllm:request_queue_time_seconds_sum{engine=\"1\",model_name=\"m\"} 0.5\n";

/// Counts and sums by model.
fn queue_times(meter: &Meter) -> Vec<(String, Vec<u64>, f64)> {
    let readings = meter.collect();
    let series = readings.series(&QUEUE).iter().map(|series| match &series.value {
        Value::Histogram(reading) => {
            let counts =
                if reading.bounds.len() < 5 { reading.counts.to_vec() } else { Vec::new() };
            (series.labels[0].to_string(), counts, reading.sum)
        }
        value => panic!("{value:?}"),
    });
    series.collect()
}

/// A meter that serves models itself.
fn meter() -> Meter {
    let meter = Meter::new().model("m");
    drop(InferenceLayer::new(meter.clone()));
    meter
}

#[tokio::test]
async fn an_engine_that_has_them_is_summed_and_tells_alone() {
    let server = Server::start();
    server.page("/metrics", VLLM);
    let meter = meter();
    let _other = meter.model("another");
    let watch = watched(server.engine(), &meter).await;
    // With the bounds that both have; nothing of ours beside it.
    assert_eq!(queue_times(&meter), [("m".to_owned(), vec![4, 1], 3.0)]);
    let page = Prometheus::builder().meter(meter.clone()).build().unwrap().render();
    assert!(page.contains("vllm:time_in_queue_seconds_count{model_name=\"m\"} 5\n"), "{page}");
    // Gone with the engine, and ours do not take its place: that would look like a restart.
    drop(watch);
    meter.sample();
    assert_eq!(queue_times(&meter), []);
}

#[tokio::test]
async fn before_it_has_answered_nobody_tells() {
    let server = Server::start();
    let meter = meter();
    let _watch = watched(server.engine(), &meter).await;
    assert_eq!(queue_times(&meter), []);
}

#[tokio::test]
async fn beside_an_engine_that_has_none_ours_are_told() {
    let server = Server::start();
    server.page("/metrics", "llamacpp:requests_processing 1\n");
    let meter = meter();
    let _watch = watched(server.engine(), &meter).await;
    assert_eq!(queue_times(&meter), [("m".to_owned(), vec![], 0.0)]);
}

#[tokio::test]
async fn beside_an_engine_that_is_none_of_those_known_ours_are_told() {
    let server = Server::start();
    server.page("/metrics", "own_thing 1\n");
    server.page("/v1/models", r#"{"data":[{"id":"m","owned_by":"somebody"}]}"#);
    let meter = meter();
    let _watch = watched(server.engine(), &meter).await;
    assert_eq!(queue_times(&meter), [("m".to_owned(), vec![], 0.0)]);
}

/// One that has not said yet what it serves may be one that has them.
#[tokio::test]
async fn beside_an_engine_that_is_not_there_yet_nobody_tells() {
    let server = Server::start();
    server.page("/metrics", "own_thing 1\n");
    let meter = meter();
    let _watch = watched(server.engine(), &meter).await;
    assert_eq!(queue_times(&meter), []);
}

#[tokio::test]
async fn counts_that_fall_are_left_out() {
    for (right, wrong) in [
        ("le=\"+Inf\",model_name=\"m\"} 4", "le=\"+Inf\",model_name=\"m\"} 2"),
        ("} 3\n", "} 3.5\n"),
        ("} 3\n", "} NaN\n"),
        ("le=\"+Inf\"", "le=\"9\""),
        ("vllm:request_queue_time_seconds_sum{engine=\"0\",model_name=\"m\"} 2.5\n", ""),
    ] {
        let server = Server::start();
        server.page("/metrics", VLLM.replacen(right, wrong, 1));
        let meter = Meter::new();
        let _watch = watched(server.engine(), &meter).await;
        assert_eq!(queue_times(&meter), [], "{wrong}");
    }
}
