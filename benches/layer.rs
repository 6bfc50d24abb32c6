//! What the layer costs in time, beside the bare service, and what a page does. `.ci/instructions`
//! holds the same in instructions: times are for looking at.

#![allow(clippy::unwrap_used, reason = "what fails here fails the bench")]

mod scripted;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use infermeter::{InferenceLayer, Meter, exporter::Prometheus};
use scripted::{
    Answer, CHAT, CHAT_WHOLE, Scripts, TINY_CHAT, chat,
    many::{self, UPSTREAMS},
    request, whole,
};
use tower::Layer;

fn layer(criterion: &mut Criterion) {
    const CHUNKS: u64 = 1000;
    let chunks = chat(CHUNKS as usize);
    side_by_side(criterion, "chunk", chunks, Throughput::Elements(CHUNKS));
    let each = Throughput::Elements(1);
    side_by_side(
        criterion,
        "request, not read",
        whole("/v1/embeddings", &CHAT_WHOLE),
        each.clone(),
    );
    side_by_side(criterion, "request, whole", whole(CHAT, &CHAT_WHOLE), each.clone());
    side_by_side(criterion, "request, stream", TINY_CHAT, each);
}

fn side_by_side(criterion: &mut Criterion, name: &str, answer: Answer, throughput: Throughput) {
    let mut bare = Scripts(answer);
    let mut observed = InferenceLayer::new(Meter::new()).layer(bare.clone());
    let mut group = criterion.benchmark_group(name);
    group.throughput(throughput);
    group.bench_function("bare", |b| b.iter(|| request(&mut bare, answer.path)));
    group.bench_function("observed", |b| b.iter(|| request(&mut observed, answer.path)));
    group.finish();
}

fn page(criterion: &mut Criterion) {
    let exporter = Prometheus::builder().meter(many::meter(UPSTREAMS)).process(false).build();
    let exporter = exporter.unwrap();
    let histograms = many::histograms(&exporter.render()) as u64;
    let mut group = criterion.benchmark_group("page");
    group.throughput(Throughput::Elements(histograms)).sample_size(10);
    group.bench_function("of many histograms", |b| b.iter(|| exporter.render()));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = layer, page
}
criterion_main!(benches);
