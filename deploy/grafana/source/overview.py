"""The dashboard of the operations guide, in its four parts."""

from .board import board
from .panels import (
    BLUE, GREEN, GREY, KV, RED, YELLOW, bars, dashed, fixed, gauge, heatmap, lines, link, now, over_time, pie,
    quantiles, stat, steps,
)
from .promql import (
    FAILURES, INSTANCE, PROCESS, WINDOW, answered, buckets, increase, kv_filled, mean, no_content, quantile, rate,
    ratio, select, service_failures, total, wait, waiting, whole,
)
from .shared import kv_cache, preemptions, prefix_hits, running

# Generated tokens per second that the guide expects of a 40B model on four GPUs.
REFERENCE = 1800

GOOD_ENOUGH = steps(RED, (0.95, YELLOW), (0.99, GREEN))


def built():
    return board(
        "infermeter-overview",
        "infermeter / Overview",
        "Is the service healthy: requests, waiting, tokens, GPUs and KV cache on one page.",
        ("Health", *health()),
        ("Request latency", *latency()),
        ("Tokens", *tokens()),
        ("GPUs and KV cache", *devices()),
        since="now-2h",
        refresh="5s",
    )


def health():
    yield stat(
        "Succeeded in the last hour",
        "Requests whose answer reached its proper end within the last hour.",
        "locale",
        now(whole("vllm:request_success_total", window="1h")),
        decimals=0,
    )
    yield stat(
        "Success ratio, last hour",
        "Of the requests whose client stayed, the part that succeeded. Every error counts, also those "
        "that the client made itself.",
        "percentunit",
        now(ratio(whole("vllm:request_success_total", window="1h"), answered("1h"))),
        thresholds=GOOD_ENOUGH, ratio=True, decimals=2,
    )
    yield stat(
        "… without mistakes of clients",
        "The same, but invalid requests, missing rights and prompts that are too long are no fault of the "
        "service. This is the number for a service level.",
        "percentunit",
        now(f"1 - {ratio(service_failures('1h'), answered('1h'))}"),
        thresholds=GOOD_ENOUGH, ratio=True, decimals=2,
    )
    yield stat(
        "Failures in 5 minutes",
        "Requests that ended by an error within the last five minutes. Look at a jump rather than at the "
        "number: the panel of reasons says what it is.",
        "locale",
        now(whole("vllm:request_failure_total", window="5m")),
        thresholds=steps(GREEN, (5, YELLOW), (10, RED)), decimals=0,
    )
    yield gauge(
        "KV cache in use now",
        "The part of the KV cache that is filled. Red alone is a full and healthy server; it hurts when "
        "requests wait or are preempted too.",
        now(kv_filled("instance"), "{{instance}}"),
        thresholds=KV,
    )
    resident = total("process_resident_memory_bytes", "instance", PROCESS)
    yield stat(
        "Resident memory",
        "Main memory of the process that serves the model. A slow climb, such as 2 GB a day, means a leak.",
        "gbytes",
        over_time(f"{resident} / 1024 / 1024 / 1024", "{{instance}}"),
    )
    yield lines(
        "How requests end",
        "Requests per second by how they ended. Each is counted once: it succeeded, failed, or its client "
        "left first.",
        "reqps",
        over_time(rate("vllm:request_success_total"), "success"),
        over_time(rate("vllm:request_failure_total"), "failure"),
        over_time(rate("vllm:request_aborted_total"), "client left"),
        looks=(("success", fixed(GREEN)), ("failure", fixed(RED)), ("client left", fixed(GREY))),
        width=12, height=7,
    )
    yield lines(
        "Failures by reason",
        "How many requests failed in the minute before, or longer where much time is shown, and why. Invalid "
        "requests are mistakes of clients; timeouts, overload and errors of the server are yours.",
        "short",
        over_time(whole("infermeter_requests_total", "reason", more=FAILURES, window=WINDOW), "{{reason}}"),
        width=12, height=7, stacked=True,
    )


def latency():
    yield heatmap(
        "Time of whole requests",
        "How long requests took from arrival to the last byte; the stronger a field, the more of "
        "them took that long, of those that succeeded.",
        "s",
        buckets("vllm:e2e_request_latency_seconds"),
    )
    yield quantiles(
        "Time in the queue",
        "How long requests waited for their start: half of them less than P50, one in a hundred longer "
        "than P99. It is the larger of the engine's queue and of the admission in front of it.",
        lambda rank: wait(rank),
        width=12, height=9, thresholds=steps("transparent", (2, RED)),
    )
    yield lines(
        "Waiting now",
        "Requests that have not started yet, in the engine and before its admission; the quantiles are told "
        "only when a wait ends. The dashed line has those too whose prompt is being read.",
        "short",
        over_time(no_content(), "no content yet"),
        over_time(waiting(), "waiting"),
        looks=(("waiting", fixed(YELLOW)), ("no content yet", dashed(GREY))),
        width=12, height=7,
    )
    yield lines(
        "Longest without content",
        "Age of the oldest request that has no content yet, whether it waits or its prompt is being read. A "
        "line that climbs like a ramp is a queue that stands still, or an answer that is not streamed.",
        "s",
        over_time(f"max by (instance) ({select('infermeter_queue_oldest_age_seconds')})", "{{instance}}"),
        width=12, height=7,
    )


def tokens():
    yield pie(
        "Prompt against generation",
        "Of all tokens in the time that is shown, which part was read and which was written.",
        "short",
        now(increase("vllm:prompt_tokens_total"), "prompt"),
        now(increase("vllm:generation_tokens_total"), "generation"),
        width=5,
    )
    yield lines(
        "Generated tokens per second",
        "Tokens written per second, by model, also of answers that are still being written. The dashed "
        f"line at {REFERENCE} is what the guide expects of its model: move it to yours.",
        "short",
        over_time(rate("vllm:generation_tokens_total", "model_name"), "{{model_name}}"),
        thresholds=steps("transparent", (REFERENCE, RED)), stacked=True, soft_most=REFERENCE * 1.1, width=11,
    )
    yield lines(
        "Tokens of one answer",
        "How long answers are: the mean, and the length that one in a hundred exceeds. A P99 far above "
        "the mean is worth a look at who asks.",
        "short",
        over_time(mean("vllm:request_generation_tokens"), "mean"),
        over_time(quantile(0.99, "vllm:request_generation_tokens"), "P99"),
        looks=(("P99", fixed(RED)),),
    )


def devices():
    each = "GPU {{gpu}} · {{instance}}"
    to_gpu = link("Show this GPU", "infermeter-gpu", instance="instance", gpu="gpu")
    yield bars(
        "Load of each GPU",
        "The part of the time in which anything ran on the GPU: near 1 as soon as there is work, however "
        "little. Click a bar for that GPU alone.",
        now(f"avg by (instance, gpu) ({select('gpu_utilization_ratio', INSTANCE)})", each),
        thresholds=steps(BLUE), links=[to_gpu],
    )
    used, all_of_it = (total(f"gpu_memory_{what}_bytes", "instance, gpu", INSTANCE) for what in ("used", "total"))
    yield bars(
        "Memory of each GPU",
        "The part of the GPU's memory that is in use. An engine takes its share at the start, so it "
        "hardly moves.",
        now(ratio(used, all_of_it), each),
        thresholds=steps(GREEN, (0.95, YELLOW), (0.98, RED)), links=[to_gpu],
    )
    yield running(12)
    yield kv_cache(12)
    yield preemptions(6)
    yield prefix_hits(6)
