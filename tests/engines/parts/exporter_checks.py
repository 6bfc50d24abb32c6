"""`infermeter exporter` beside a real llama.cpp: what it publishes is what the engine says, while
requests run, when none does, and when the engine has gone."""

import json
import threading
import time
from collections import Counter

from llamacpp_checks import CHAT, SLOTS, LlamaCpp, at_once, install
from servers import Page, Server, get, promtool, wait_for

__all__ = ["install", "run"]

STREAMS = SLOTS + 3
BODY = json.dumps({**CHAT, "stream": True, "max_tokens": 4000})

# Readings are a second old when they are sampled, and another when they are read; machines are slow.
OLDEST = 4

STATE = {"running": "vllm:num_requests_running", "waiting": "vllm:num_requests_waiting"}


class Exporter(Server):
    def __init__(self, folder, name, binary, engine, *options):
        options = (f"--engine-metrics={engine}", "--metrics-listen=127.0.0.1:0", *options)
        super().__init__(folder, name, binary, "exporter", *options)
        self.page_url = self.says(r"metrics (http://\S+/metrics) live")

    def page(self):
        return Page(self.page_url)


class Held(threading.Thread):
    """The tokens that the slots hold, over and over."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url, self.seen, self.goes_on = url, [], True

    def run(self):
        while self.goes_on:
            slots = json.loads(get(f"{self.url}/slots"))
            held = sum(slot["n_prompt_tokens"] for slot in slots if slot["is_processing"])
            self.seen.append((time.monotonic(), held))
            time.sleep(0.05)

    def lately(self):
        # One of them was begun after this: what is asked of is never older than all of them.
        known = len(self.seen)
        wait_for("two more looks at the slots", lambda: len(self.seen) >= known + 2)
        since = time.monotonic() - OLDEST
        return [held for at, held in list(self.seen) if at >= since]


def run(binary, folder, servers, checks):
    servers.append(engine := LlamaCpp(folder, "generate"))
    servers.append(merged := Exporter(folder, "merged", binary, engine.url))
    servers.append(alone := Exporter(folder, "alone", binary, engine.url, "--engine-page=off", "--engine=llamacpp"))
    first = merged.page()
    checks.equal("first page: running", first.sum(STATE["running"], model_name="tiny", engine="0"), 0)
    checks.equal("first page: limit", first.sum("infermeter_running_limit"), SLOTS)

    at_once(STREAMS, engine, BODY, lambda: busy(checks, engine, merged))
    before = wait_for("an idle engine", engine.idle)
    wait_for("an idle page", lambda: idle(merged, before["generated"]))
    same(checks, engine, merged.page())
    families = {family.name for family in alone.page().families}
    theirs = sorted(name for name in families if name.startswith("llamacpp"))
    checks.equal("without the engine's page: its families", theirs, [])
    checks.equal("without the engine's page: cached", alone.page().sum("vllm:prefix_cache_hits_total"),
                 merged.page().sum("vllm:prefix_cache_hits_total"))

    engine.stop()
    up = lambda: merged.page().sum("infermeter_source_up", source="engine")
    wait_for("the end of the engine on the page", lambda: up() == 0)
    ours = ("infermeter_", "gpu_")
    left = [family.name for family in merged.page().families if not family.name.startswith(ours)]
    checks.equal("engine gone: families", left, [])
    wait_for("the same without the engine's page",
             lambda: alone.page().sum("infermeter_source_up", source="engine") == 0)


def busy(checks, engine, exporter):
    """More streams than slots, for some seconds."""
    held = Held(engine.url)
    held.start()

    def both():
        page = exporter.page()
        ours = {what: page.sum(name) for what, name in STATE.items()}
        theirs = engine.counters()
        full = {"running": SLOTS, "waiting": STREAMS - SLOTS}
        return all(ours[what] == theirs[what] == count for what, count in full.items())

    wait_for("a full engine, as both say", both)
    checks.that("full engine: running and waiting", True, f"{SLOTS} and {STREAMS - SLOTS}")
    for _ in range(5):
        ours = exporter.page().sum("infermeter_kv_tokens_held", model_name="tiny", engine="0")
        lately = held.lately()
        checks.within("full engine: tokens held", ours, min(lately), max(lately))
        time.sleep(0.2)
    held.goes_on = False
    held.join()


def idle(exporter, generated):
    page = exporter.page()
    is_idle = not any(page.sum(name) for name in STATE.values())
    return is_idle and page.sum("llamacpp:tokens_predicted_total") == generated


def same(checks, engine, ours):
    """Every sample of the engine's own page, and no name of it twice."""
    theirs = Page(f"{engine.url}/metrics")
    seen = {(sample.name, tuple(sample.labels.items())): sample.value for sample in ours.samples}
    differs = [s.name for s in theirs.samples if seen.get((s.name, tuple(s.labels.items()))) != s.value]
    checks.equal("idle engine: samples that differ", differs, [])
    checks.within("idle engine: samples", len(theirs.samples), 10, 100)
    names = Counter(family.name for family in ours.families)
    checks.equal("idle engine: families twice", [name for name, count in names.items() if count > 1], [])
    told = {family.name: (family.type, family.documentation) for family in ours.families}
    untold = [f.name for f in theirs.families if told.get(f.name) != (f.type, f.documentation)]
    checks.equal("idle engine: types and help that differ", untold, [])
    read = {what: theirs.sum(f"llamacpp:{what}_total") for what in ("prompt_tokens", "prompt_tokens_cached")}
    checks.equal("idle engine: prefix cache, found", ours.sum("vllm:prefix_cache_hits_total"),
                 read["prompt_tokens_cached"])
    checks.equal("idle engine: prefix cache, asked", ours.sum("vllm:prefix_cache_queries_total"), sum(read.values()))
    checks.equal("idle engine: tokens held", ours.sum("infermeter_kv_tokens_held"), 0)
    checks.within("promtool", promtool(ours.text)[0], 3, 3)
