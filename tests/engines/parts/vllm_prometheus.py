"""vLLM behind the proxy as a Prometheus sees it that scrapes both: the guide's questions and those of
vLLM's dashboards have the same answers."""

import json
import math
import re
import time
import urllib.parse
from bisect import bisect_left

from questions import GUIDE, dashboards
from servers import JOB, Page, Prometheus, wait_for
from vllm_cases import ASKED, CHAT, CHAT_PATH, PROMPT, PROMPT_PATH, STREAM

THEIRS = 'job="theirs"'

FAILURES = 3

# What is measured between other points: from the arrival at the proxy, and to the end of the body.
NEAR = 0.25


def observed(checks, engine, gateway, folder, servers, at_once):
    targets = {"theirs": urllib.parse.urlsplit(engine.url).netloc}
    prometheus = Prometheus(folder, urllib.parse.urlsplit(gateway.page_url).netloc, **targets)
    servers.append(prometheus)
    wait_for("a first scrape of both", lambda: len(prometheus.series("up == 1")) == 2)
    kinds = [(CHAT_PATH, CHAT | STREAM), (PROMPT_PATH, PROMPT | STREAM), (CHAT_PATH, CHAT | ASKED)]
    sent = 0
    for turn in range(2):
        requests = [(path, body | {"max_tokens": 300, "ignore_eos": True, "seed": at})
                    for at in range(4) for path, body in kinds]
        bad = [(CHAT_PATH, {"messages": 7})] * FAILURES
        threads, answers = at_once(gateway, requests + bad)
        for thread in threads:
            thread.join()
        sent += len(answers)
        statuses = sorted({answer[0] for answer in answers})
        checks.equal(f"observed: statuses of turn {turn + 1}", statuses, [200, 400])
    engine.at_rest()
    quiet = time.time()
    wait_for("scrapes of the end", lambda: prometheus.value("min(timestamp(up))") > quiet + 2)
    checks.equal("observed: requests", gateway.counted(sent)["measured"], sent)
    asked = At(prometheus, time.time())
    guide(checks, asked, sent)
    for query in dashboards("tiny"):
        same(checks, asked, query)


class At:
    """Every question is about the same moment: windows go on with the clock."""

    def __init__(self, prometheus, moment):
        self.prometheus, self.when = prometheus, {"time": moment}

    def series(self, query):
        return self.prometheus.series(query, **self.when)

    def value(self, query):
        return self.prometheus.value(query, **self.when)


def guide(checks, prometheus, total):
    values = {}
    for query in GUIDE:
        found = [float(series["value"][1]) for series in prometheus.series(query)]
        finite = [value for value in found if math.isfinite(value)]
        checks.that(f"guide: {query}", bool(finite), found[:4])
        values[query] = finite[0] if finite else None
    _, failures, queue, rate, resident, *_ = values
    share = 2 * FAILURES / total
    # NB: of a counter that began above 0, what was before the first scrape is estimated too.
    checks.within("guide: share of failures", values[failures], share * 0.9, share * 1.1)
    theirs = queue.replace(JOB, THEIRS).replace("time_in_queue", "request_queue_time")
    near(checks, "guide: P95 in the queue", values[queue], prometheus.value(theirs), 0.05)
    near(checks, "guide: tokens a second", values[rate], prometheus.value(f"sum({rate.replace(JOB, THEIRS)})"), 0.1)
    near(checks, "guide: memory", values[resident], prometheus.value(resident.replace(JOB, THEIRS)), 0.05)
    theirs = prometheus.value(f"max_over_time(vllm:kv_cache_usage_perc{{{THEIRS}}}[2m])")
    ours = prometheus.value(f"max_over_time((vllm:num_blocks_used{{{JOB}}} / vllm:num_blocks_total{{{JOB}}})[2m:1s])")
    checks.within("guide: blocks in use at some time", ours, 1e-9, 1)
    near(checks, "guide: blocks in use at most", ours, theirs, 0.3)
    used = prometheus.value(f"max_over_time(vllm:gpu_cache_usage_ratio{{{JOB}}}[2m])")
    near(checks, "guide: KV cache in use at most", used, ours, 1e-9)
    both = prometheus.value("sum(increase(vllm:generation_tokens_total[2m]))")
    ours = prometheus.value(f"sum(increase(vllm:generation_tokens_total{{{JOB}}}[2m]))")
    near(checks, "guide: a sum over both jobs counts twice, as documented", both, 2 * ours, 0.1)


def same(checks, prometheus, query):
    """The answer is that of vLLM's own page."""
    def of(job):
        asked = re.sub(r"(vllm:\w+)(?:\{([^}]*)\})?", lambda m: f"{m[1]}{{{job}{',' + m[2] if m[2] else ''}}}", query)
        answers = {}
        for series in prometheus.series(asked):
            labels = {k: v for k, v in series["metric"].items() if k in ("le", "finished_reason", "model_name")}
            value = float(series["value"][1])
            key = json.dumps(labels, sort_keys=True)
            answers[key] = answers.get(key, 0) + value if math.isfinite(value) else value
        return answers

    ours, theirs = of(JOB), of(THEIRS)
    if "_bucket" in query and not query.startswith("histogram_quantile"):
        # By bounds, of which the proxy has more.
        ours = {key: value for key, value in ours.items() if key in theirs}
    # NB: vLLM has reasons that are none of a success here; none of them was seen.
    theirs = {key: value for key, value in theirs.items() if value or key in ours}
    bounds = bounds_of(prometheus, query)
    differs = {key: (ours.get(key), value) for key, value in theirs.items()
               if not is_near(ours.get(key), value) and not is_in_one_bucket(bounds, ours.get(key), value)}
    checks.that(f"dashboard: {query}", bool(theirs) and not differs, differs or list(ours.values())[:4])


def bounds_of(prometheus, query):
    """Those of vLLM's histogram, which a quantile is estimated between."""
    name = re.match(r"histogram_quantile\(.*?(vllm:\w+_bucket)", query)
    found = prometheus.series(f"{name[1]}{{{THEIRS}}}") if name else []
    return sorted({float(series["metric"]["le"]) for series in found})


def is_in_one_bucket(bounds, ours, theirs):
    """The proxy has more bounds: where vLLM has one, both may be anywhere between two of its own."""
    return bool(bounds) and ours is not None and bisect_left(bounds, ours) == bisect_left(bounds, theirs)


def is_near(ours, theirs, tolerance=NEAR):
    if ours is None or not math.isfinite(theirs):
        return ours is not None and not math.isfinite(ours)
    return abs(ours - theirs) <= max(tolerance * abs(theirs), 0.005) and (ours == 0) == (theirs == 0)


def near(checks, what, ours, theirs, tolerance):
    is_so = None not in (ours, theirs) and abs(ours - theirs) <= tolerance * abs(theirs) + 1e-9
    checks.that(what, is_so, f"{ours}, as vLLM says {theirs}")
