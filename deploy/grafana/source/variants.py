"""Two variants of a model side by side, or more."""

from .board import board
from .panels import GREEN, RED, YELLOW, colored, decimals, lines, now, over_time, stat, steps, table, text
from .promql import RANGE, WINDOW, aggregated, increase, mean, quantile, rate, ratio, select, total, wait

BY = "variant"
EACH = "{{variant}}"
CUT = 'finished_reason="length"'

CARE = """\
- **Compare only what carries the same load.** The more requests run at once, the slower each of them is written: a variant
  with less traffic looks faster. Choose the models to compare above, and read on when the load ratio is near 1.
- **A variant that thinks** writes its thoughts first: its first token comes early and its answer late. Look at the thinking
  time, at the tokens of one answer and at the part that was cut by length too.
- **Nothing here says which answers are better.** That takes people, or tests of quality.
"""


def built():
    return board(
        "infermeter-variants",
        "infermeter / Variants",
        "Variants of a model side by side: speed at equal load, length of the answers, and how they end.",
        ("Before comparing", *before()),
        ("Speed", *speed()),
        ("Answers", *answers()),
        since="now-6h",
        refresh="1m",
    )


def running():
    """What runs in each variant, as a mean over the range."""
    return aggregated("sum", BY, f"avg_over_time({select('vllm:num_requests_running')}[{RANGE}])")


def thought(window):
    """The part of the generated tokens that was reasoning."""
    whole = rate("vllm:generation_tokens_total", BY, window=window)
    return ratio(rate("vllm:reasoning_tokens_total", BY, window=window), whole)


def thinking(window):
    tokens = mean("vllm:request_generation_tokens", BY, window)
    return f"{thought(window)} * {tokens} * {mean('vllm:time_per_output_token_seconds', BY, window)}"


def part_cut(window):
    cut = increase("vllm:request_success_total", BY, more=CUT, window=window)
    return ratio(cut, increase("vllm:request_success_total", BY, window=window))


def part_failed(window):
    failed = increase("vllm:request_failure_total", BY, window=window)
    return ratio(failed, increase("vllm:request_total", BY, window=window))


def before():
    yield text("How to read this", "What makes a comparison of variants fair.", CARE, width=15, height=6)
    load = running()
    yield stat(
        "Load ratio",
        "Running requests of the busiest variant against the least busy one, as means over the time that "
        "is shown. Near 1 the times below can be compared.",
        "short",
        now(f"max({load}) / (min({load}) > 0)"),
        thresholds=steps(GREEN, (1.25, YELLOW), (1.6, RED)), decimals=2, width=3, height=6,
    )
    yield lines(
        "Load of each variant",
        "Requests that run at once. The times below depend on it.",
        "short", over_time(total("vllm:num_requests_running", BY), EACH), width=6, height=6,
    )
    yield table(
        "Side by side",
        "The whole time that is shown in one row for each variant.",
        BY,
        [
            ("Requests", increase("vllm:request_total", BY), "locale", decimals(0)),
            ("Running", running(), "short", decimals(1)),
            ("Per token", mean("vllm:time_per_output_token_seconds", BY, RANGE), "s"),
            ("Per token, P95", quantile(0.95, "vllm:time_per_output_token_seconds", BY, RANGE), "s"),
            ("First token", mean("vllm:time_to_first_token_seconds", BY, RANGE), "s"),
            ("Thinking", thinking(RANGE), "s"),
            ("Whole request", mean("vllm:e2e_request_latency_seconds", BY, RANGE), "s"),
            ("Tokens", mean("vllm:request_generation_tokens", BY, RANGE), "short", decimals(0)),
            ("Cut by length", part_cut(RANGE), "percentunit", colored(GREEN, (0.2, YELLOW), (0.4, RED))),
            ("Failed", part_failed(RANGE), "percentunit", colored(GREEN, (0.02, YELLOW), (0.05, RED))),
        ],
        height=5,
    )


def speed():
    yield lines(
        "Time per token, mean",
        "Seconds from one token of an answer to the next. This is the number that the guide compares, "
        "fair at equal load.",
        "s", over_time(mean("vllm:time_per_output_token_seconds", BY), EACH),
    )
    yield lines(
        "Time per token, P95",
        "One in twenty answers is written more slowly than this. Where means agree and this does not, "
        "some requests are held up.",
        "s", over_time(quantile(0.95, "vllm:time_per_output_token_seconds", BY), EACH),
    )
    yield lines(
        "Time to the first token, P95",
        "From arrival to the first token, thoughts included. One in twenty waits longer.",
        "s", over_time(quantile(0.95, "vllm:time_to_first_token_seconds", BY), EACH),
    )
    yield lines(
        "Thinking time before an answer, estimated",
        "Mean reasoning tokens of a request times the mean time per token: about what comes on top of the "
        "first token until the answer itself begins.",
        "s", over_time(thinking(WINDOW), EACH),
    )
    yield lines(
        "Time in the queue, P95",
        "How long one in twenty waited for its start. A variant that queues is overloaded, and its other "
        "times are no measure of the model.",
        "s", over_time(wait(0.95, BY), EACH),
    )
    yield lines(
        "Time of whole requests, P95",
        "From arrival to the last byte, of requests that succeeded. Longer answers take longer: compare "
        "it with the tokens of one answer.",
        "s", over_time(quantile(0.95, "vllm:e2e_request_latency_seconds", BY), EACH),
    )


def answers():
    yield lines(
        "Tokens of one answer",
        "The mean length of answers, thoughts included. More tokens cost more time and energy for the "
        "same question.",
        "short", over_time(mean("vllm:request_generation_tokens", BY), EACH),
    )
    yield lines(
        "Part of the tokens that is thought",
        "How much of what is written is reasoning that the reader of the answer may never see.",
        "percentunit", over_time(thought(WINDOW), EACH), ratio=True,
    )
    yield lines(
        "Part that was cut by length",
        "Answers that ended because they were too long, as a part of those that succeeded. Such an answer "
        "may be worth nothing.",
        "percentunit", over_time(part_cut(WINDOW), EACH), ratio=True,
    )
    yield lines(
        "Part that failed",
        "Requests that ended by an error, as a part of all. It should not differ between variants.",
        "percentunit", over_time(part_failed(WINDOW), EACH), ratio=True,
    )
    yield lines(
        "Generated tokens per second",
        "What each variant writes altogether.",
        "short", over_time(rate("vllm:generation_tokens_total", BY), EACH),
    )
    yield lines(
        "Requests per second",
        "Requests that ended, however they did: how the traffic is split.",
        "reqps", over_time(rate("vllm:request_total", BY), EACH), stacked=True,
    )
