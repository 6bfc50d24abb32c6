//! The catalogue as a page for users.

#[cfg(test)]
mod tests;

use std::fmt::Write;

use super::*;

/// `docs/metrics.md`: every family, with names as they are by default, and its default buckets.
///
/// ```
/// assert!(infermeter::names::markdown().contains("`vllm:request_total`"));
/// ```
pub fn markdown() -> String {
    let mut page = INTRO.to_owned();
    for section in SECTIONS {
        section.write_to(&mut page);
    }
    page.push_str(BUCKETS);
    for (bounds, families) in families_by_buckets() {
        let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
        line(&mut page, &[code_list(families), bounds.join(" ")]);
    }
    page
}

struct Section {
    title: &'static str,
    intro: &'static str,
    families: &'static [&'static Family],
    outro: &'static str,
}

const SECTIONS: &[Section] = &[
    Section {
        title: "Requests",
        intro: "",
        families: &[
            &REQUEST_TOTAL,
            &REQUEST_SUCCESS_TOTAL,
            &REQUEST_FAILURE_TOTAL,
            &REQUEST_ABORTED_TOTAL,
            &REQUESTS_TOTAL,
            &REQUESTS_RECEIVED_TOTAL,
            &TENANT_REQUESTS_TOTAL,
            &TENANT_TOKENS_TOTAL,
        ],
        outro: ENDINGS,
    },
    Section {
        title: "Tokens",
        intro: "Cached and reasoning tokens are part of the prompt and generated tokens. They\n\
                have families of their own, so a `sum()` never counts a token twice.",
        families: &[
            &PROMPT_TOKENS_TOTAL,
            &PROMPT_TOKENS_CACHED_TOTAL,
            &GENERATION_TOKENS_TOTAL,
            &REASONING_TOKENS_TOTAL,
            &TOKEN_ACCOUNTING_TOTAL,
        ],
        outro: TOKEN_SOURCES,
    },
    Section {
        title: "Latency and size",
        intro: "Arrival is when the head of the request is there, so the upload of its body is\n\
                included. A frame of the response counts when your service yields it, so a client\n\
                that reads slowly shows in the time between tokens and to the end.\n\n\
                Comments, pings, progress reports and a first event that carries only a role are\n\
                not a first token.",
        families: &[
            &TIME_IN_QUEUE_SECONDS,
            &ADMISSION_WAIT_SECONDS,
            &TIME_TO_FIRST_TOKEN_SECONDS,
            &INTER_TOKEN_LATENCY_SECONDS,
            &TIME_PER_OUTPUT_TOKEN_SECONDS,
            &E2E_REQUEST_LATENCY_SECONDS,
            &REQUEST_DURATION_SECONDS,
            &REQUEST_PREFILL_TIME_SECONDS,
            &REQUEST_DECODE_TIME_SECONDS,
            &REQUEST_INFERENCE_TIME_SECONDS,
            &REQUEST_PROMPT_TOKENS,
            &REQUEST_GENERATION_TOKENS,
            &REQUEST_MAX_NUM_GENERATION_TOKENS,
            &REQUEST_PARAMS_MAX_TOKENS,
            &REQUEST_PARAMS_N,
            &ITERATION_TOKENS_TOTAL,
        ],
        outro: "",
    },
    Section {
        title: "State",
        intro: "`phase` is `queue` until the request starts, `prefill` until its first token,\n\
                then `decode`. `engine` is the data-parallel rank, `0` where there is one engine.",
        families: &[
            &REQUESTS_IN_FLIGHT,
            &NUM_REQUESTS_WAITING,
            &NUM_REQUESTS_RUNNING,
            &RUNNING_LIMIT,
            &QUEUE_OLDEST_AGE_SECONDS,
            &LAST_TOKEN_AGE_SECONDS,
            &GPU_CACHE_USAGE_RATIO,
            &KV_CACHE_USAGE_PERC,
            &NUM_BLOCKS_USED,
            &NUM_BLOCKS_TOTAL,
            &KV_TOKENS_HELD,
            &CACHE_CONFIG_INFO,
            &LORA_REQUESTS_INFO,
            &NUM_PREEMPTIONS_TOTAL,
            &PREFIX_CACHE_QUERIES_TOTAL,
            &PREFIX_CACHE_HITS_TOTAL,
            &SOURCE_UP,
            &SOURCE_AGE_SECONDS,
        ],
        outro: STATE_OUTRO,
    },
    Section {
        title: "Process",
        intro: "Of the process that serves the model: in a server that wears the layer, its own; in the\n\
                proxy and the exporter that of the engine, with `--engine-pid` all of its processes\n\
                together.",
        families: &[
            &PROCESS_CPU_SECONDS_TOTAL,
            &PROCESS_RESIDENT_MEMORY_BYTES,
            &PROCESS_VIRTUAL_MEMORY_BYTES,
            &PROCESS_MEMORY_LIMIT_BYTES,
            &PROCESS_OPEN_FDS,
            &PROCESS_MAX_FDS,
            &PROCESS_THREADS,
            &PROCESS_START_TIME_SECONDS,
        ],
        outro: PROCESS_OUTRO,
    },
    Section {
        title: "GPU",
        intro: "`gpu` is the number that the driver gives, `uuid` and `name` are what it says. Where a\n\
                GPU is split (MIG), memory is told for each GPU instance, under its `mig_instance`, and\n\
                power, temperature and all else for the whole, so that a `sum()` counts nothing twice.\n\
                [gpu.md](gpu.md) says what is read and how.",
        families: gpu::FAMILIES,
        outro: GPU_OUTRO,
    },
    Section {
        title: "Self",
        intro: "",
        families: &[
            &BUILD_INFO,
            &LABEL_OVERFLOW_TOTAL,
            &UNREAD_BODIES_TOTAL,
            &OBSERVATIONS_DROPPED_TOTAL,
            &SCRAPE_DURATION_SECONDS,
            &SERIES,
            &TOKEN_DRIFT_TOTAL,
            &INFERMETER_PROCESS_CPU_SECONDS_TOTAL,
            &INFERMETER_PROCESS_RESIDENT_MEMORY_BYTES,
            &INFERMETER_PROCESS_VIRTUAL_MEMORY_BYTES,
            &INFERMETER_PROCESS_MEMORY_LIMIT_BYTES,
            &INFERMETER_PROCESS_OPEN_FDS,
            &INFERMETER_PROCESS_MAX_FDS,
            &INFERMETER_PROCESS_THREADS,
            &INFERMETER_PROCESS_START_TIME_SECONDS,
        ],
        outro: SELF_OUTRO,
    },
];

const INTRO: &str = "\
<!-- Written from the catalogue in src/names: UPDATE_DOCS=1 cargo test --test metrics_doc -->

# Metrics

Names, kinds and labels are a contract: changing one is a breaking change.

**Prefix.** Names are shown with the default prefix `vllm:`. `Naming::neutral()` makes it `llm_`,
`Naming::prefix(\"x_\")` any other. Families named `infermeter_*`, `process_*` and, of the
GPUs, `gpu_*` keep their name under any prefix.

**Aliases.** Where vLLM has another name for the same quantity, the family is on the page under both
names, with the same values. Aliases exist under `vllm:` only; `.without_aliases()` turns them off.
Query one of the two names: adding them up counts everything twice.

**Labels.** Every value comes from a bounded set; what does not fit becomes `other`. Histograms, and
counters that one divides by each other, carry `model_name` alone; the details are on
`infermeter_requests_total`. `endpoint` is the configured name of a route, never the path that was
asked for. Static labels that you set stand on every series. A static label must not be one of the
labels below, nor `le`, `quantile`, `job` or `instance`, nor start with `__`. Every series of a
known model whose labels have fixed values exists from the start, at 0;
`infermeter_requests_total` is the exception.

**Upstreams.** Where one page tells of several upstreams, `upstream` and `variant` stand behind the
labels of every family that has `model_name`, on each of its series: the configured names, or `none`
for an upstream without a variant and for what belongs to no upstream. A request belongs to none until
it is routed, and from then on to its upstream, in flight too. Series of no upstream are there once
something was counted in them. What an upstream's own source tells carries both on every series: its
`process_*`, and the families of its page that are passed on unchanged; its `source` is `engine:NAME`
where it is `engine` and the upstream `NAME`. Families of one name that
several pages have are one; where the pages differ in its kind, the first one has it. A label of their
own that is called `upstream` or `variant` becomes `exported_upstream` or `exported_variant`, as in
Prometheus. Static labels must not have these names then. With one upstream there is nothing to tell
apart, and neither label.

**Identity.** This holds at every scrape, exactly:

```text
sum(infermeter_requests_received_total)
  = sum(vllm:request_total) + sum(infermeter_requests_in_flight)
```

and, for each model (of each upstream), `vllm:request_total` is the sum of `vllm:request_success_total` (over its
finish reasons), `vllm:request_failure_total` and `vllm:request_aborted_total`. So the part of the
requests that failed is

```text
rate(vllm:request_failure_total[5m]) / rate(vllm:request_total[5m])
```
";

const ENDINGS: &str = "\
A request ends in one of three ways. In vLLM, `request_success_total` counts sequences, aborted and
failed ones among them; here it counts HTTP requests that ended well.

| `outcome` | when | `reason` |
| --- | --- | --- |
| `success` | the response reached its proper end | why the generation stopped, as in \
`finished_reason` |
| `failure` | an error ended it | see below |
| `aborted` | the client went away first | the phase it was in: `queue`, `prefill`, `decode` |

`finished_reason` is `stop`, `length`, `tool_calls`, `content_filter` or `other` (none, or one that
is not known). `code` is the status that was sent, whatever the outcome, or `none`.

| `reason` of a failure | when |
| --- | --- |
| `invalid_request` | 400, 422 |
| `context_length` | 400 or 413 whose error says that the prompt is too long |
| `auth` | 401, 403 |
| `not_found` | 404 |
| `client_error` | other 4xx |
| `rejected` | admission refused it |
| `rate_limited` | 429 |
| `overloaded` | 503 |
| `timeout` | 408, 504, a deadline set here |
| `server_error` | other 5xx, an error or a panic of the service |
| `unreachable` | no connection to the upstream |
| `stream_error` | an error inside a 200: an error event, a finish reason `abort` or \
`error`, a body that fails, a bad `grpc-status` |
| `truncated` | a 2xx stream that ended without its end marker |

A 3xx is a success with the reason `other`. A response with a status of 400 or more is a failure by
that status, even if the client goes away while it is sent.";

const TOKEN_SOURCES: &str = "\
| `source` | the final count of generated tokens came from |
| --- | --- |
| `usage` | the usage object at the end of the response |
| `continuous_usage` | the last usage object of a stream that has one in every event |
| `engine_frame` | fields of the engine's own format |
| `header` | a response header |
| `handle` | your handler |
| `counted` | counting content events: an estimate |
| `unknown` | nowhere: there is no count |";

const STATE_OUTRO: &str = "\
What an engine tells goes before what is seen from outside. Readings vanish when they cannot be had:
when a source fails or its last sample is older than ten seconds, and when the engine's handle is
dropped. Nothing is 0 because it could not be read.

Blocks nearly all in use while `vllm:gpu_cache_usage_ratio` is lower is fragmentation; it is
`1 - infermeter_kv_tokens_held / (vllm:num_blocks_used * block_size)`.

Where an admission layer stands in front of an engine that tells, `vllm:num_requests_waiting` is the
engine's own queue alone. Who waits for admission too is in flight and does not run: the phase
`queue` also has those of which an engine that runs them has sent nothing yet.

`infermeter_last_token_age_seconds` may be a quarter of a second behind. Where answers are not
streamed and neither the service nor the engine tells of tokens, they come when a request ends well.
Of a body that is not read, any data counts.";

const PROCESS_OUTRO: &str = "\
Of several processes, processor time, memory, descriptors and threads are sums. Processor time has
what processes used that have ended. Memory counts what they share once (PSS) where all of them
can be read so, else once for each (RSS): which of the two is in the log, and it changes at most once,
to RSS. It may be a minute old where it is dear to read. `process_max_fds`, the start and the memory
limit are those of the first process: each process has its own limit of descriptors, so the sum of the
open ones may be more. There is no sum of address spaces. What cannot be read of all of them is
absent.";

const GPU_OUTRO: &str = "\
Readings of a GPU that is lost, or of a driver that hangs, vanish after five seconds; `gpu_up` stays,
at 0, and so do counters. What a GPU does not tell is not there: `infermeter gpus` says why.

`reason` is `sw_power_cap`, `hw_slowdown`, `sw_thermal`, `hw_thermal` or `hw_power_brake`; `kind` of an
error is `not_loaded`, `version_mismatch`, `permission`, `lost`, `timeout` or `other`.

`gpu_utilization_ratio` is near 1 as soon as anything runs: for autoscaling of a language model the
queue and the KV cache say more.";

const SELF_OUTRO: &str = "\
`reason` of an unread body is `compressed`, `too_long` or `unknown_format`. Such
responses pass through unchanged; only what their body would have told is missing.

`reason` of a dropped observation is `not_finite`, `negative`, `duplicate` (another source tells the
same series; counted at each view) or `invalid` (labels or kind are not those of the family, the
family is counted here, or more is in use than there is).";

const BUCKETS: &str = "
## Default buckets

Upper bounds (`le`), which can be set per family; `+Inf` is always added. Every bound that vLLM has
is among them. The last bound of token counts is the context length, 131072 unless you set it.

| families | bounds |
| --- | --- |
";

// === impl Section ===

impl Section {
    fn write_to(&self, page: &mut String) {
        let Self { title, intro, families, outro } = self;
        paragraph(page, &format!("## {title}"));
        paragraph(page, intro);
        paragraph(
            page,
            "| family | alias | kind | labels | unit | meaning | on the page |\n\
             | --- | --- | --- | --- | --- | --- | --- |",
        );
        for family in *families {
            line(page, &row(family));
        }
        paragraph(page, outro);
    }
}

fn row(family: &Family) -> [String; 7] {
    let naming = Naming::vllm();
    [
        code_list([naming.name(family)]),
        code_list(naming.alias(family)),
        family.kind.as_str().to_owned(),
        code_list(family.labels),
        family.unit.as_str().to_owned(),
        family.help.to_owned(),
        match family.presence {
            Presence::Always => "always".to_owned(),
            Presence::When(condition) => condition.to_owned(),
        },
    ]
}

/// The families of each list of bounds, both in page order.
fn families_by_buckets() -> Vec<(&'static [f64], Vec<String>)> {
    let mut lists: Vec<(&[f64], Vec<String>)> = Vec::new();
    for family in CATALOGUE {
        let Some(bounds) = family.buckets else {
            continue;
        };
        let name = Naming::vllm().name(family);
        match lists.iter_mut().find(|(known, _)| *known == bounds) {
            Some((_, names)) => names.push(name),
            None => lists.push((bounds, vec![name])),
        }
    }
    lists
}

fn code_list(names: impl IntoIterator<Item: AsRef<str>>) -> String {
    let names = names.into_iter().map(|name| format!("`{}`", name.as_ref()));
    names.collect::<Vec<_>>().join(", ")
}

fn line(page: &mut String, cells: &[String]) {
    // Writing to a String cannot fail.
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

fn paragraph(page: &mut String, text: &str) {
    if !text.is_empty() {
        let _ = writeln!(page, "\n{text}");
    }
}
