"""Panels that stand on several dashboards."""

from .panels import GREEN, RED, YELLOW, dashed, fixed, lines, over_time, steps
from .promql import KV_FULL, KV_NEARLY_FULL, kv_filled, rate, ratio, total, waiting


def running(width):
    return lines(
        "Running against the limit",
        "Requests in the engine's batch, the most that it takes, and those that wait. At the limit while "
        "GPUs idle, the scheduler is the bottleneck; below it with busy GPUs, the GPUs are.",
        "short",
        over_time(total("vllm:num_requests_running"), "running"),
        over_time(total("infermeter_running_limit"), "limit"),
        over_time(waiting(), "waiting"),
        looks=(("limit", dashed(RED)), ("running", fixed(GREEN)), ("waiting", fixed(YELLOW))),
        width=width,
    )


def kv_cache(width):
    taken = f"{total('vllm:num_blocks_used')} / {total('vllm:num_blocks_total')}"
    return lines(
        "KV cache: blocks and what is in them",
        "Blocks that are taken, and slots for tokens that are really filled. Taken blocks well above "
        "filled slots are fragmentation; without free blocks no request can start.",
        "percentunit",
        over_time(taken, "blocks taken"),
        over_time(kv_filled(), "slots filled"),
        thresholds=steps("transparent", (KV_NEARLY_FULL, YELLOW), (KV_FULL, RED)), ratio=True, width=width,
    )


def preemptions(width):
    return lines(
        "Preemptions",
        "Running requests that lost their KV cache to others and start again, per second. Each of them is "
        "work done twice: above 0 the cache is too small for what runs at once.",
        "short",
        over_time(rate("vllm:num_preemptions_total"), "preemptions"),
        looks=(("preemptions", fixed(RED)),), width=width,
    )


def prefix_hits(width):
    hits = ratio(rate("vllm:prefix_cache_hits_total"), rate("vllm:prefix_cache_queries_total"))
    return lines(
        "Prefix hits",
        "The part of the prompt tokens that was found in the prefix cache and need not be computed. A "
        "drop makes the first token late.",
        "percentunit", over_time(hits, "found"), ratio=True, width=width,
    )


def clocks_held_down(labels):
    return lines(
        "What holds clocks down",
        "How many GPUs run slower at this moment, and why. A power cap is a setting and harmless; heat "
        "and the power brake are not.",
        "short", over_time(total("gpu_throttled", "reason", labels), "{{reason}}"), stacked=True, decimals=0,
    )
