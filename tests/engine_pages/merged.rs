//! Families of an engine's page on ours.

use std::collections::HashSet;

use infermeter::{Meter, exporter::Prometheus, names::Naming};

use super::server::{Server, lines, page_of, render, watched};

const PAGE: &str = "# HELP vllm:num_requests_running How many.\n\
    # TYPE vllm:num_requests_running gauge\n\
    vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 2.0\n\
    # HELP vllm:request_queue_time_seconds Time.\n\
    # TYPE vllm:request_queue_time_seconds histogram\n\
    vllm:request_queue_time_seconds_bucket{engine=\"0\",le=\"0.5\",model_name=\"m\"} 1.0\n\
    vllm:request_queue_time_seconds_bucket{engine=\"0\",le=\"+Inf\",model_name=\"m\"} 1.0\n\
    vllm:request_queue_time_seconds_count{engine=\"0\",model_name=\"m\"} 1.0\n\
    vllm:request_queue_time_seconds_sum{engine=\"0\",model_name=\"m\"} 0.25\n\
    # HELP vllm:request_success_total Ended.\n\
    # TYPE vllm:request_success_total counter\n\
    vllm:request_success_total{engine=\"0\",variant=\"theirs\"} 1.0\n";

fn server() -> Server {
    let server = Server::start();
    server.page("/metrics", PAGE);
    server
}

#[tokio::test]
async fn what_has_no_name_of_ours_passes_unchanged() {
    let page = page_of(server().engine().merge(true)).await;
    let success = "# HELP vllm:request_success_total Ended.\n\
        # TYPE vllm:request_success_total counter\n\
        vllm:request_success_total{engine=\"0\",variant=\"theirs\"} 1.0\n";
    assert!(page.contains(success), "{page}");
    let running = r#"vllm:num_requests_running{model_name="m",engine="0"} 2.0"#;
    assert_eq!(lines(&page, "vllm:num_requests_running"), [running]);
    // The second name of a family of ours is taken as well.
    let sum = r#"vllm:request_queue_time_seconds_sum{model_name="m"} 0.25"#;
    assert_eq!(lines(&page, "vllm:request_queue_time_seconds_sum"), [sum]);
    assert_once(&page);

    let page = page_of(server().engine()).await;
    assert_eq!(lines(&page, "vllm:request_success_total"), [""; 0]);
    assert_eq!(lines(&page, "vllm:num_requests_running"), [running]);
}

/// Whoever watches the processes themselves leaves out what the page says of one of them.
#[tokio::test]
async fn what_a_page_says_of_its_process_can_be_left_out() {
    let server = Server::start();
    server.page("/metrics", "process_open_fds 7\nprocess_threads 3\nprocess_other 4\na 5\n");
    let all = |page: &str| {
        ["process_open_fds", "process_threads", "process_other", "a"]
            .map(|name| lines(page, name).len())
    };
    assert_eq!(all(&page_of(server.engine().merge(true)).await), [1, 1, 1, 1]);
    assert_eq!(all(&page_of(server.engine().merge(true).process(false)).await), [0, 0, 1, 1]);
    assert_eq!(all(&page_of(server.engine().process(false)).await), [0, 0, 0, 0]);
}

#[tokio::test]
async fn under_another_prefix_all_of_it_passes() {
    let meter = Meter::new();
    let _watch = watched(server().engine().merge(true), &meter).await;
    let page = render(Prometheus::builder().meter(meter).naming(Naming::neutral()));
    for line in PAGE.lines() {
        assert!(page.contains(line), "{line} is not in {page}");
    }
    assert!(page.contains("llm_num_requests_running{model_name=\"m\",engine=\"0\"} 2.0\n"));
    assert_once(&page);

    let meter = Meter::new();
    let _watch = watched(server().engine().merge(true), &meter).await;
    let naming = Naming::vllm().without_aliases();
    let page = render(Prometheus::builder().meter(meter).naming(naming));
    let sum = r#"vllm:request_queue_time_seconds_sum{engine="0",model_name="m"} 0.25"#;
    assert!(
        page.contains("vllm:request_queue_time_seconds_sum{engine=\"0\",model_name=\"m\"} 0.25\n")
    );
    assert_eq!(lines(&page, "vllm:request_queue_time_seconds_sum"), [sum]);
    assert_once(&page);
}

#[tokio::test]
async fn static_labels_stand_on_it_too() {
    let meter = Meter::builder().label("variant", "ours").label("zone", "a").build().unwrap();
    let _watch = watched(server().engine().merge(true), &meter).await;
    let page = render(Prometheus::builder().meter(meter).naming(Naming::neutral()));
    // But where it has the label itself.
    let success = r#"vllm:request_success_total{engine="0",variant="theirs",zone="a"} 1.0"#;
    assert_eq!(lines(&page, "vllm:request_success_total"), [success]);
    let running =
        r#"vllm:num_requests_running{engine="0",model_name="m",variant="ours",zone="a"} 2.0"#;
    assert_eq!(lines(&page, "vllm:num_requests_running"), [running]);
}

#[tokio::test]
async fn families_of_the_macros_go_before_it() {
    let server = Server::start();
    let page = "# TYPE mine gauge\nmine 1\n# TYPE waits_count gauge\nwaits_count 1\n\
        # TYPE calls gauge\ncalls 1\n# TYPE theirs gauge\ntheirs 1\n";
    server.page("/metrics", page);
    let meter = Meter::new();
    let _watch = watched(server.engine().merge(true), &meter).await;
    let exporter = Prometheus::builder().meter(meter).process(false).build().unwrap();
    metrics::with_local_recorder(&exporter.recorder(), || {
        metrics::gauge!("mine").set(7.0);
        metrics::histogram!("waits").record(1.0);
        metrics::counter!("calls_total").increment(3);
    });
    let page = exporter.render();
    assert_eq!(lines(&page, "mine"), ["mine 7"]);
    assert_eq!(lines(&page, "waits_count"), ["waits_count 1"]);
    assert_eq!(lines(&page, "calls"), ["calls_total 3"]);
    assert_eq!(lines(&page, "theirs"), ["theirs 1"]);
    let series = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    assert_eq!(lines(&page, "infermeter_series"), [format!("infermeter_series {series}.0")]);
    assert_once(&page);
}

/// A family that was told and cannot be published keeps its name: the engine's does not take turns
/// with ours.
#[tokio::test]
async fn what_cannot_be_published_is_not_passed_either() {
    let server = Server::start();
    server.page(
        "/metrics",
        "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running NaN\n",
    );
    let page = page_of(server.engine().merge(true)).await;
    assert_eq!(lines(&page, "vllm:"), [""; 0]);
    let dropped = r#"infermeter_observations_dropped_total{reason="not_finite"}"#;
    assert_ne!(lines(&page, dropped), [format!("{dropped} 0")]);
}

/// No name is that of two families, and no series is there twice.
fn assert_once(page: &str) {
    let (mut families, mut series) = (HashSet::new(), HashSet::new());
    for line in page.lines().filter(|line| !line.is_empty()) {
        let once = match line.strip_prefix("# TYPE ") {
            Some(family) => families.insert(family.split(' ').next().unwrap()),
            None if line.starts_with('#') => continue,
            None => series.insert(line.rsplit_once(' ').unwrap().0),
        };
        assert!(once, "{line}\n{page}");
    }
}
