use super::{line::MOST_LABELS, *};

/// The families as they would be published again.
fn told(page: &str) -> Vec<String> {
    let page = Page::parse(page.as_bytes()).unwrap();
    let lines = page.families.iter().flat_map(|family| {
        let OtherFamily { name, kind, help, samples } = &**family;
        let head = format!("{} {name} {}", kind.as_str(), help.as_deref().unwrap_or("-"));
        let samples = samples.iter().map(move |OtherSample { suffix, labels, text, .. }| {
            let labels: Vec<_> =
                labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            format!("{name}{suffix} {} {text}", labels.join(",")).replace("  ", " ")
        });
        [head].into_iter().chain(samples)
    });
    lines.collect()
}

fn skipped(page: &str) -> usize {
    Page::parse(page.as_bytes()).unwrap().skipped()
}

#[test]
fn families_and_their_samples() {
    let page = "# HELP llm:running How many\\nrun \\\\ now.\n# TYPE llm:running gauge\n\
                llm:running{engine=\"0\",model_name=\"a \\\"b\\\" \\\\ \\n\"} 3.0\n\
                llm:running { engine = \"1\" , } +4e0 1395066363000\n\n# a remark\n\
                # TYPE wait histogram\nwait_bucket{le=\"0.5\"} 1\nwait_bucket{le=\"+Inf\"} 2\n\
                wait_sum 7\nwait_count 2\n\
                # TYPE lag summary\nlag{quantile=\"0.5\"} NaN\nlag_sum 0\nlag_count 0\n\
                bare -inf\n";
    assert_eq!(
        told(page),
        [
            "gauge llm:running How many\nrun \\ now.",
            "llm:running engine=\"0\",model_name=\"a \\\"b\\\" \\\\ \\n\" 3.0",
            "llm:running engine=\"1\" +4e0",
            "histogram wait -",
            "wait_bucket le=\"0.5\" 1",
            "wait_bucket le=\"+Inf\" 2",
            "wait_sum 7",
            "wait_count 2",
            "summary lag -",
            "lag quantile=\"0.5\" NaN",
            "lag_sum 0",
            "lag_count 0",
            "untyped bare -",
            "bare -Inf",
        ]
    );
    assert_eq!(skipped(page), 0);
}

#[test]
fn open_metrics() {
    let page = "# HELP done Ended.\n# TYPE done counter\n# UNIT done requests\n\
                done_total{a=\"1\"} 5 1520879607.789 # {trace_id=\"x\"} 0.67 1520879607.1\n\
                done_created{a=\"1\"} 1.7e9\n# TYPE build info\nbuild_info{v=\"1\"} 1\n\
                # TYPE width gaugehistogram\nwidth_bucket{le=\"1\"} 1\nwidth_gcount 1\n\
                # TYPE wait histogram\nwait_bucket{le=\"+Inf\"} 2 # {} 1\nwait_created 1\n# EOF\n";
    assert_eq!(
        told(page),
        [
            "counter done_total Ended.",
            "done_total a=\"1\" 5",
            "gauge build_info -",
            "build_info v=\"1\" 1",
            "histogram wait -",
            "wait_bucket le=\"+Inf\" 2",
        ]
    );
    // As Python writes the text format.
    let page = "# TYPE a_total counter\na_total 1\n# TYPE a_created gauge\na_created 2\n\
                # TYPE b_created gauge\nb_created 3\n";
    assert_eq!(told(page), ["counter a_total -", "a_total 1", "gauge b_created -", "b_created 3"]);
}

#[test]
fn a_family_stands_once_and_a_series_too() {
    let page = "# TYPE a gauge\na 1\n# TYPE b gauge\nb 2\n# TYPE a counter\n# HELP a Late.\n\
                a{x=\"1\",y=\"2\"} 3\na{y=\"2\",x=\"1\"} 4\na 5\n\
                # TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1.0\"} 2\n\
                c_bucket{le=\"1\"} 1\n# TYPE c histogram\nc_count 3\n";
    assert_eq!(
        told(page),
        [
            "gauge a Late.",
            "a 1",
            "a x=\"1\",y=\"2\" 3",
            "gauge b -",
            "b 2",
            "histogram h -",
            "h_bucket le=\"1\" 1",
            "histogram c -",
            "c_bucket le=\"1\" 1",
            "c_count 3",
        ]
    );
    assert_eq!(skipped(page), 3);
}

#[test]
fn a_line_that_is_broken_costs_itself_only() {
    for line in [
        "x",
        "x{",
        "x{}",
        "x{} one",
        "x 1 2 3",
        "x 1 soon",
        "x{a} 1",
        "x{a=1} 1",
        "x{a=\"1} 1",
        "x{a=\"1\\\"} 1",
        "x{a=\"1\" b=\"2\"} 1",
        "x{a=\"1\",a=\"2\"} 1",
        "x{__a=\"1\"} 1",
        "x{a:b=\"1\"} 1",
        "x{1=\"1\"} 1",
        "x{=\"1\"} 1",
        "{\"x\", a=\"1\"} 1",
        "9x 1",
        "é 1",
        "x 0x10",
        "x 1_000",
        "# TYPE x thing\n# TYPE x gauge",
        "# TYPE h histogram\nh 1",
        "# TYPE h histogram\nh_bucket 1",
        "# TYPE h histogram\nh_bucket{le=\"much\"} 1",
        "# TYPE h histogram\nh_bucket{le=\"1e999\"} 1",
        "# TYPE h histogram\nh_sum{le=\"1\"} 1",
        "# TYPE s summary\ns 1",
        "# TYPE s summary\ns_bucket{le=\"1\"} 1",
    ] {
        let page = format!("before 1\n{line}\nafter 2\n");
        let expected = ["untyped before -", "before 1", "untyped after -", "after 2"];
        assert_eq!(told(&page), expected, "{line}");
        assert_eq!(skipped(&page), 1, "{line}");
    }
}

#[test]
fn bytes_that_are_no_text_and_lines_without_an_end() {
    let page = Page::parse(b"a{x=\"\xff\"} 1\r\nb 2\r\nc 34").unwrap();
    assert_eq!((page.families().len(), page.skipped()), (1, 2));
    assert_eq!((&*page.families[0].name, page.families[0].kind), ("b", OtherKind::Untyped));
    // What is no escape stays as it is; what is no number for others either is written as one.
    assert_eq!(told("a{x=\"\\d\\\\\"} 1e999\n")[1], "a x=\"\\\\d\\\\\" +Inf");
}

#[test]
fn too_much() {
    let long = format!("a{{x=\"{}\"}} 1\nb 2\n", "x".repeat(LONGEST_LINE));
    assert_eq!(told(&long), ["untyped b -", "b 2"]);
    let labels: String = (0..=MOST_LABELS).map(|i| format!("l{i}=\"\",")).collect();
    assert_eq!(skipped(&format!("a{{{labels}}} 1\n")), 1);

    let parse = |page: &str| Page::parse(page.as_bytes()).unwrap_err();
    assert_eq!(parse(&"\n".repeat(LONGEST + 1)), PageError::TooLong);
    assert_eq!(parse(&"a 1\n".repeat(MOST_SERIES + 1)), PageError::TooManySeries);
    let names =
        |line: &str| (0..=MOST_FAMILIES).map(|i| line.replace('N', &i.to_string())).collect();
    let (samples, types): (String, String) = (names("aN 1\n"), names("# TYPE aN gauge\n"));
    assert_eq!(parse(&samples), PageError::TooManyFamilies);
    assert_eq!(parse(&types), PageError::TooManyFamilies);
    assert!(PageError::TooLong.to_string().contains("allowed are 10485760 bytes"));
}
