"""Why is it slow: the places where time goes, side by side, on one axis of time."""

from .board import board
from .panels import BLUE, GREEN, RED, YELLOW, fixed, heatmap, lines, over_time, quantiles, text
from .promql import INSTANCE, buckets, mean, quantile, select, total, wait
from .shared import clocks_held_down, kv_cache, preemptions, prefix_hits, running

GUIDE = """\
- **The queue is long, running is at its limit, GPUs are busy:** there is more work than machines. Add replicas.
- **The queue is long, running is below its limit:** the KV cache is full, or the scheduler is held up. Look at blocks and
  preemptions.
- **The queue is short, the first token is late:** long prompts, or prefixes that are not found again.
- **Only the time between tokens is long:** too many requests in a batch, preemptions, or clocks that are held down.
- **Requests run and nothing moves:** the age of the last token climbs. The engine hangs, whatever its health check says.
"""


def built():
    return board(
        "infermeter-slow",
        "infermeter / Why is it slow",
        "Queue, batch, KV cache, preemptions, prefix hits and GPUs side by side, to see which of them "
        "holds requests up.",
        ("What users feel", *felt()),
        ("The queue and the batch", *queue()),
        ("The KV cache", *cache()),
        ("The GPUs", *devices()),
        refresh="10s",
    )


def felt():
    yield text("How to read this", "What the usual patterns mean.", GUIDE, width=10, height=8)
    stages = {
        "queue": mean("vllm:time_in_queue_seconds"),
        "until the first token": mean("vllm:request_prefill_time_seconds"),
        "writing": mean("vllm:request_decode_time_seconds"),
    }
    yield lines(
        "Where the time of a request goes",
        "Mean seconds that requests spend waiting, then until the first token, then writing. The stage "
        "that grows is the one to look at.",
        "s", *(over_time(expression, name) for name, expression in stages.items()),
        looks=(("queue", fixed(YELLOW)), ("until the first token", fixed(BLUE)), ("writing", fixed(GREEN))),
        stacked=True, width=14,
    )
    yield quantiles(
        "Time to the first token",
        "What somebody waits who looks at the screen. The queue is part of it.",
        lambda rank: quantile(rank, "vllm:time_to_first_token_seconds"),
    )
    yield quantiles(
        "Time between tokens",
        "How smoothly answers are written. Single long gaps show in P99 and not in the mean.",
        lambda rank: quantile(rank, "vllm:inter_token_latency_seconds"),
    )
    yield heatmap(
        "Time to the first token, all requests",
        "Two bands are two kinds of requests, such as short and long prompts; a band that rises is a "
        "queue.",
        "s", buckets("vllm:time_to_first_token_seconds"), width=8, height=8,
    )


def queue():
    yield quantiles(
        "Time in the queue", "How long requests waited for their start. It is told when the wait is over.",
        lambda rank: wait(rank),
    )
    yield running(8)
    yield lines(
        "Is anything moving",
        "Age of the oldest request that has no content yet, and time since any token came. Both climb like "
        "ramps where the engine hangs.",
        "s",
        over_time(f"max({select('infermeter_queue_oldest_age_seconds')})", "longest without content"),
        over_time(f"max({select('infermeter_last_token_age_seconds')})", "since the last token"),
        looks=(("longest without content", fixed(YELLOW)), ("since the last token", fixed(RED))),
    )


def cache():
    yield kv_cache(8)
    yield preemptions(5)
    yield prefix_hits(5)
    yield lines(
        "Length of prompts and answers",
        "Mean tokens of one request. Longer ones take more of the cache and of everything else.",
        "short",
        over_time(mean("vllm:request_prompt_tokens"), "prompt"),
        over_time(mean("vllm:request_generation_tokens"), "answer"),
        width=6,
    )


def devices():
    each = "GPU {{gpu}} · {{instance}}"
    yield lines(
        "Load",
        "The part of the time in which anything ran on each GPU. Low here with a long queue means that "
        "something else holds requests up.",
        "percentunit",
        over_time(f"avg by (instance, gpu) ({select('gpu_utilization_ratio', INSTANCE)})", each), ratio=True,
    )
    yield lines(
        "Power",
        "What each GPU draws: a better measure of work than load. GPUs at their limit are slowed down.",
        "watt", over_time(total("gpu_power_watts", "instance, gpu", INSTANCE), each),
    )
    yield clocks_held_down(INSTANCE)
