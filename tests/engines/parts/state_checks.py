"""What the proxy says of the state of the engine behind it, and of the tokens that went past it."""

import json
import time

from gateway import post
from servers import Page, wait_for


def drift(checks, engine, gateway, path, body):
    """Requests through the proxy are no drift; the same ones sent to the engine are, to the token."""
    def told(page=None):
        page = page or Page(gateway.page_url)
        return {kind: int(page.sum("infermeter_token_drift_total", kind=kind)) for kind in ("prompt", "generation")}

    wait_for("a first comparison", lambda: "infermeter_token_drift_total" in Page(gateway.page_url).text)
    first = told()
    for _ in range(3):
        post(gateway.url, path, json.dumps(body))
    gateway.counted(3)
    time.sleep(4)  # for two looks, should it be seen as a drift
    checks.equal("drift: of what went through the proxy", told(), first)
    before = engine.counters()
    for _ in range(2):
        post(engine.url, path, json.dumps(body))
    past = engine.counted_since(before, None, None)
    expected = {"prompt": first["prompt"] + past["prompt"], "generation": first["generation"] + past["generated"]}
    try:
        wait_for("the drift of what went past", lambda: told() == expected)
    except AssertionError:
        pass  # the next line says it
    checks.equal("drift: of what went past", told(), expected)


def queue_times(checks, engine, gateway, theirs):
    """The engine's own histogram, summed over its labels, at rest."""
    def by_bound(page, name):
        bounds = {}
        for sample in page.samples:
            if sample.name == f"{name}_bucket":
                bound = float(sample.labels["le"])
                bounds[bound] = bounds.get(bound, 0) + sample.value
        return bounds | {"sum": page.sum(f"{name}_sum"), "count": page.sum(f"{name}_count")}

    def both():
        ours = by_bound(Page(gateway.page_url), "vllm:time_in_queue_seconds")
        expected = by_bound(Page(f"{engine.url}/metrics"), theirs)
        return (ours, expected) if ours == expected else None

    ours, expected = wait_for("the engine's queue times", both)
    checks.equal("queue times: each bucket of the engine's", ours, expected)
    checks.within("queue times: observations", ours["count"], 1, 10**6)
    alias = by_bound(Page(gateway.page_url), "vllm:request_queue_time_seconds")
    checks.equal("queue times: under vLLM's own name", alias, ours)


def merged(checks, engine, gateway):
    """Every family of the engine's page is there once: ours, or its own with the same samples."""
    ours, theirs = Page(gateway.page_url), Page(f"{engine.url}/metrics")
    names = [line.split()[2] for line in ours.text.splitlines() if line.startswith("# TYPE ")]
    checks.equal("merged: families twice", sorted({name for name in names if names.count(name) > 1}), [])
    # NB: when a series was made is no number that a page of text can tell.
    missing = [family.name for family in theirs.families
               if not family.name.endswith("_created") and family.name not in {f.name for f in ours.families}]
    checks.equal("merged: families missing", missing, [])
