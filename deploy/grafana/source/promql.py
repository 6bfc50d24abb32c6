"""The expressions that the dashboards share.

What a selector may ask for depends on the family: docs/metrics.md says which labels each has, and
`.ci/dashboards` holds the expressions to it.
"""

INSTANCE = 'job=~"$job", instance=~"$instance"'
# A label that is not there is the empty one, so that services without variants are found too.
PROCESS = f'{INSTANCE}, variant=~"$variant"'
MODEL = f'{INSTANCE}, model_name=~"$model", variant=~"$variant"'
GPU = f'{INSTANCE}, gpu=~"$gpu"'

FAILURES = 'outcome="failure"'
# Less those that are the client's own.
SERVICE_FAILURES = f'{FAILURES}, reason!~"invalid_request|context_length|auth|not_found|client_error"'

WINDOW = "$__rate_interval"
RANGE = "$__range"

# Above this the guide calls the KV cache full, or nearly so.
KV_FULL, KV_NEARLY_FULL = 0.92, 0.85


def select(family, labels=MODEL, more=""):
    return f"{family}{{{labels}{', ' if more else ''}{more}}}"


def aggregated(operator, by, what):
    return f"{operator} by ({by}) ({what})" if by else f"{operator}({what})"


def total(family, by="", labels=MODEL, more=""):
    """A gauge, summed up."""
    return aggregated("sum", by, select(family, labels, more))


def rate(family, by="", labels=MODEL, more="", window=WINDOW):
    """A counter, per second."""
    return aggregated("sum", by, f"rate({select(family, labels, more)}[{window}])")


def increase(family, by="", labels=MODEL, more="", window=RANGE):
    """By how much a counter grew."""
    return aggregated("sum", by, f"increase({select(family, labels, more)}[{window}])")


def whole(family, by="", labels=MODEL, more="", window=RANGE):
    """By how much a counter grew, with what its series began with.

    NB: increase() sees growth between two samples, so that it misses the first failure of a reason, or
    of a model. A series that has fewer samples than its page had good scrapes began within the window,
    and counts whole; of a page that is new itself nothing does, as it may be older than Prometheus knows.
    Nor does a series that starts anew and was missing meanwhile: increase() has what was before, too.
    """
    counter = select(family, labels, more)
    scrapes = f"max by (job, instance) (sum_over_time({select('up', INSTANCE)}[{window}]))"
    began = f"{counter} and count_over_time({counter}[{window}]) < on (job, instance) group_left () {scrapes}"
    began = f"{began} unless resets({counter}[{window}]) > 0"
    return aggregated("sum", by, f"{began} or increase({counter}[{window}])")


def buckets(family):
    """What a heat map shows."""
    return increase(f"{family}_bucket", "le", window=WINDOW)


def quantile(rank, family, by="", window=WINDOW):
    """Estimated from the buckets of a histogram; nothing where nothing was observed."""
    by = f"{by}, le" if by else "le"
    return f"histogram_quantile({rank}, {rate(f'{family}_bucket', by, window=window)}) >= 0"


def mean(family, by="", window=WINDOW):
    return ratio(rate(f"{family}_sum", by, window=window), rate(f"{family}_count", by, window=window))


def ratio(part, whole):
    """Nothing where there is no whole: 0 / 0 is no answer."""
    return f"{part} / ({whole} > 0)"


def waiting(by=""):
    """Requests that wait now: in the engine, and for admission in front of it.

    NB: the phase `queue` is more than that. Behind an engine that sends nothing before the first
    token, a request whose prompt is being read is in it too. There is no gauge of those that wait for
    admission: where there is one, they are what has arrived and neither runs nor waits in the engine.
    """
    arrived, runs, engine, admission = (
        total(family, "job, instance")
        for family in (
            "infermeter_requests_in_flight", "vllm:num_requests_running", "vllm:num_requests_waiting",
            "infermeter_admission_wait_seconds_count",
        )
    )
    return aggregated("sum", by, f"{arrived} - {runs} > {engine} and {admission} or {engine}")


def no_content():
    """Requests in the phase `queue`: those that wait, and behind most engines those in prefill too."""
    return total("infermeter_requests_in_flight", more='phase="queue"')


def kv_filled(by=""):
    """The part of the KV caches that is filled: a cache of twice the blocks counts twice.

    NB: some engines tell the part alone (TGI). Where no other is there, it is their mean.
    """
    part, blocks = select("vllm:gpu_cache_usage_ratio"), select("vllm:num_blocks_total")
    weighted = ratio(aggregated("sum", by, f"{part} * {blocks}"), aggregated("sum", by, f"{blocks} and {part}"))
    return f"({weighted} or {aggregated('avg', by, part)})"


def wait(rank, by="", window=WINDOW):
    """The larger of the waits in the engine's queue and before admission.

    Where the proxy admits requests itself, they wait there and hardly in the engine.
    """
    engine = quantile(rank, "vllm:time_in_queue_seconds", by, window)
    admission = quantile(rank, "infermeter_admission_wait_seconds", by, window)
    both = (
        f'label_replace({engine}, "place", "engine", "", "")'
        f' or label_replace({admission}, "place", "admission", "", "")'
    )
    return aggregated("max", by, both)


def service_failures(window):
    """Failures less those that are the client's own; 0 where there is none."""
    return f"({whole('infermeter_requests_total', more=SERVICE_FAILURES, window=window)} or {answered(window)} * 0)"


def answered(window):
    """Requests whose client stayed until the end, good or bad."""
    success = whole("vllm:request_success_total", window=window)
    return f"({success} + {whole('vllm:request_failure_total', window=window)})"


def joules_per_token(window=WINDOW):
    """Of each instance, whose GPUs are those that are tied to its engine."""
    energy = f"rate({select('gpu_energy_joules_total', INSTANCE)}[{window}])"
    tied = select("infermeter_engine_gpu_info", INSTANCE)
    # NB: all tokens of the instance, whatever model is chosen: its models share the energy.
    tokens = rate("vllm:generation_tokens_total", "job, instance", INSTANCE, window=window)
    return ratio(f"sum by (job, instance) ({energy} and on (job, instance, uuid) {tied})", tokens)
