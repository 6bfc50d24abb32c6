//! The page with the state on it.

use std::{convert::Infallible, thread::sleep, time::Duration};

use http::Request;
use http_body_util::BodyExt;
use infermeter::{
    InferenceLayer, Meter,
    engine::{EngineState, KvUsage, Lora},
    exporter::Prometheus,
    names::Naming,
    record::{Collect, Readings},
};
use tower::{Layer, ServiceExt, service_fn};

use super::support::*;

/// What breaks a line, a label, a set of labels, if it is not escaped.
const ODD: &str = "a\"b\\c\nd} 1\n# TYPE x\r{é=\"\",le=\"+Inf\"";

const ODD_ESCAPED: &str = "a\\\"b\\\\c\\nd} 1\\n# TYPE x\r{é=\\\"\\\",le=\\\"+Inf\\\"";

/// Everything that can be on a page, under labels that are as odd as can be.
async fn everything(meter: &Meter) {
    let engine = meter.engine(ODD);
    engine.tell(EngineState {
        kv: Some(KvUsage { used_blocks: 1, total_blocks: 2, block_size: 16, tokens: Some(5) }),
        waiting: Some(1),
        running: Some(2),
        running_limit: Some(3),
        lora: Some(Lora { max: 1, running: vec![ODD.to_owned(), "b".to_owned()], waiting: vec![] }),
        preemptions: Some(4),
        prefix_cache_queries: Some(5),
        prefix_cache_hits: Some(6),
    });
    engine.iteration(9);
    // Told until the process ends.
    std::mem::forget(engine);
    meter.watch(ODD, |_: &mut Readings| Err("x".into()));
    let layer = InferenceLayer::new(meter.clone()).tenant_from(|_| Some(ODD.to_owned()));
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(events([(0, CONTENT), (0, FINISH), (0, USAGE), (0, DONE)]))
    }));
    let request = || Request::post("/v1/completions").body(()).unwrap();
    let response = service.clone().oneshot(request()).await.unwrap();
    response.into_body().collect().await.unwrap();
    // One that runs still.
    std::mem::forget(service.oneshot(request()).await.unwrap());
    sample_all(meter);
}

#[tokio::test]
async fn everything_with_odd_labels_is_a_page() {
    for naming in [Naming::vllm(), Naming::neutral(), Naming::vllm().without_aliases()] {
        let meter = Meter::builder().label("variant", ODD).build().unwrap().model(ODD);
        let builder = Prometheus::builder().meter(meter.clone()).naming(naming.clone());
        let exporter = builder.build().unwrap();
        everything(&meter).await;
        let page = exporter.render();
        let samples = samples(&page);
        assert!(samples.len() > 400, "{}", samples.len());
        let series = format!("infermeter_series{{variant=\"{ODD_ESCAPED}\"}} {}.0", samples.len());
        assert!(samples.contains(&series), "{series}");

        let model = format!("model_name=\"{ODD_ESCAPED}\"");
        let engine = format!("engine=\"{ODD_ESCAPED}\"");
        let variant = format!("variant=\"{ODD_ESCAPED}\"");
        let waiting = naming.name(&infermeter::names::NUM_REQUESTS_WAITING);
        for line in [
            format!("{waiting}{{{model},{engine},{variant}}} 1.0"),
            format!("infermeter_source_up{{source=\"{ODD_ESCAPED}\",{variant}}} 0.0"),
            format!(
                "infermeter_tenant_tokens_total{{{model},tenant=\"{ODD_ESCAPED}\",\
                 kind=\"prompt\",{variant}}} 3"
            ),
        ] {
            assert!(samples.contains(&line), "{line}");
        }
        let lora = naming.name(&infermeter::names::LORA_REQUESTS_INFO);
        let lora = format!(
            "{lora}{{{model},{engine},max_lora=\"1\",\
             running_lora_adapters=\"{ODD_ESCAPED},b\",waiting_lora_adapters=\"\",{variant}}} "
        );
        assert!(samples.iter().any(|sample| sample.starts_with(&lora)), "{lora}");
    }
}

#[tokio::test]
async fn two_exporters_of_one_meter_have_each_series_once() {
    let meter = Meter::new().model("m");
    let exporters = [(); 2].map(|()| Prometheus::builder().meter(meter.clone()).build().unwrap());
    sample_all(&meter);
    let names = |source: &str| meter.sources().iter().filter(|s| &*s.name == source).count();
    assert_eq!(names("process"), 1);
    for exporter in &exporters {
        let samples = samples(&exporter.render());
        let threads = samples.iter().filter(|sample| sample.starts_with("process_threads "));
        assert_eq!(threads.count(), 1);
    }
    let dropped = dropped(&meter);
    assert_eq!(dropped, [""; 0]);
}

#[test]
fn the_process_can_be_left_out() {
    let meter = Meter::new();
    let exporter = Prometheus::builder().meter(meter.clone()).process(false).build().unwrap();
    meter.sample();
    assert_eq!(meter.sources().len(), 0);
    let page = exporter.render();
    assert!(!page.contains("process_") && !page.contains("infermeter_source_"), "{page}");
    // By default it is there, as soon as the exporter's thread has had its first turn.
    let exporter = Prometheus::builder().build().unwrap();
    for _ in 0..6000 {
        if exporter.render().contains("\nprocess_threads ") {
            let page = exporter.render();
            assert!(page.contains("\ninfermeter_source_up{source=\"process\"} 1.0\n"), "{page}");
            samples(&page);
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("{}", exporter.render());
}
