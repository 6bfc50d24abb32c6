//! Sources on the exporter's own thread, in real time.

use std::{convert::Infallible, sync::mpsc, thread, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use infermeter::{
    InferenceLayer, Meter,
    exporter::Prometheus,
    names,
    record::{Collect, Readings, Value},
};
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};

use super::support::*;

const LONG_ENOUGH: Duration = Duration::from_secs(60);

/// Watches a source that begins and does not end, until the sender is dropped.
fn hang(meter: &Meter, name: &str) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (begin, begun) = mpsc::channel();
    let (end, ended) = mpsc::channel::<()>();
    meter.watch(name, move |out: &mut Readings| {
        begin.send(()).ok();
        ended.recv().ok();
        out.push(&names::PROCESS_THREADS, [], Value::Gauge(1.0));
        Ok(())
    });
    (begun, end)
}

#[test]
fn the_exporter_samples_by_itself() {
    let meter = Meter::new().model("m");
    let (begin, begun) = mpsc::channel();
    meter.watch("beats", move |_: &mut Readings| Ok(begin.send(())?));
    let exporter = Prometheus::builder().meter(meter.clone()).build().unwrap();
    for _ in 0..3 {
        begun.recv_timeout(LONG_ENOUGH).expect("it is sampled again and again");
    }
    let status = meter.sources();
    assert_eq!((&*status[1].name, status[1].up), ("process", Some(true)), "{status:?}");
    let page = exporter.render();
    assert!(page.contains("process_threads ") && page.contains("process_start_time_seconds "));

    // With the exporter its thread ends, and lets go of the meter and its sources.
    drop((exporter, meter));
    let end = loop {
        if let Err(end) = begun.recv_timeout(LONG_ENOUGH) {
            break end;
        }
    };
    assert_eq!(end, mpsc::RecvTimeoutError::Disconnected);
}

#[test]
fn a_source_of_the_user_is_not_replaced_by_the_exporters() {
    let meter = Meter::new().model("m");
    meter.watch("process", |_: &mut Readings| Err("it is the user's".into()));
    let _exporter = Prometheus::builder().meter(meter.clone()).build().unwrap();
    let sources = meter.sources();
    assert_eq!(sources.len(), 1, "{sources:?}");
    meter.sample();
    assert_eq!(meter.sources()[0].error.as_deref(), Some("it is the user's"));
}

#[test]
fn a_source_that_hangs_holds_up_neither_a_scrape_nor_a_request() {
    let meter = Meter::new().model("m");
    let exporter = Prometheus::builder().meter(meter.clone()).process(false).build().unwrap();
    let (begun, end) = hang(&meter, "driver");
    begun.recv_timeout(LONG_ENOUGH).expect("sampled");

    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        let service = InferenceLayer::new(meter.clone()).layer(service_fn(
            async |_: Request<Full<Bytes>>| {
                Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("x")))
            },
        ));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let request = Request::post("/v1/completions").body(Full::default()).unwrap();
            service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
        });
        // Another one can be watched, and the same one asked for again, meanwhile.
        meter.watch("other", |_: &mut Readings| Ok(()));
        meter.sources();
        done.send(exporter.render()).unwrap();
    });
    let page = finished.recv_timeout(LONG_ENOUGH).expect("nothing waits for the driver");
    assert!(page.contains("vllm:request_total{model_name=\"m\"} 1\n"), "{page}");
    assert!(!page.contains("process_threads"));
    drop(end);
}

#[test]
fn two_threads_that_sample_do_not_wait_for_each_other() {
    let meter = Meter::new();
    let (begun, end) = hang(&meter, "driver");
    meter.watch("quick", |out: &mut Readings| {
        out.push(&names::PROCESS_OPEN_FDS, [], Value::Gauge(3.0));
        Ok(())
    });
    let first = thread::spawn({
        let meter = meter.clone();
        move || meter.sample()
    });
    begun.recv_timeout(LONG_ENOUGH).unwrap();
    // Passes by the one that is being sampled.
    meter.sample();
    assert_eq!(shown(&meter, &names::PROCESS_OPEN_FDS), ["3"]);
    assert_eq!(shown(&meter, &names::PROCESS_THREADS), [""; 0]);
    drop(end);
    first.join().unwrap();
    assert_eq!(shown(&meter, &names::PROCESS_THREADS), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_from_the_first_time_on_is_down_after_ten_seconds() {
    let meter = Meter::new();
    let (begun, end) = hang(&meter, "driver");
    let sampling = thread::spawn({
        let meter = meter.clone();
        move || meter.sample()
    });
    begun.recv_timeout(LONG_ENOUGH).unwrap();
    // NB: that thread has the real clock; the two differ by as long as this test takes.
    advance(SECOND * 5).await;
    assert_eq!(shown(&meter, &names::SOURCE_UP), [""; 0]);
    assert_eq!(meter.sources()[0].up, None);
    advance(SECOND * 100).await;
    assert_eq!(shown(&meter, &names::SOURCE_UP), ["driver 0"]);
    assert_eq!(shown(&meter, &names::SOURCE_AGE_SECONDS), [""; 0]);
    assert_eq!(meter.sources()[0].up, Some(false));
    drop(end);
    sampling.join().unwrap();
}
