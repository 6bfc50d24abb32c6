"""What holds of vLLM behind the proxy: its counters are the truth."""

import http.client
import json
import os
import signal
import threading
import time

from case import check, check_cut, check_unmeasured
from gateway import Gateway, ask, cut, named, post, without_what_varies
from servers import Page, get, wait_for
from state_checks import drift, merged, queue_times
from vllm_cases import ASKED, CASES, CHAT, CHAT_PATH, CUT, LONG, PROMPT, PROMPT_PATH, STREAM
from vllm_prometheus import observed
from vllm_server import Vllm, install

__all__ = ["LIMIT_SECONDS", "install", "run"]

LIMIT_SECONDS = 1500  # three starts of a minute each are most of it

SLOTS = 4
# NB: told to stop, vLLM may leave its clients without an end, and without another byte.
LIMITS = ("--idle-timeout=20s", "--first-byte-timeout=60s")

TOOLS = ("--enable-auto-tool-choice", "--tool-call-parser", "hermes")

STARTS = {  # what it is started with
    "as it is": (),
    "queue times": ("--enable-per-request-metrics", "--max-num-queued-reqs", "16"),
    "four steps an event": ("--stream-interval", "4", "--enable-force-include-usage"),
}

# Of whose queue times those are that are told: the engine's histogram, or each answer's.
ALIKE = {"as it is": (), "queue times": ("--engine=none",), "four steps an event": ()}


def run(binary, folder, servers, checks):
    for name, options in STARTS.items():
        print(f"== vLLM, {name}: {' '.join(options)}", flush=True)
        engine = Vllm(folder, f"vLLM {name}", "--max-num-seqs", str(SLOTS), *TOOLS, *options)
        servers.append(engine)
        kinds = {"proxy": LIMITS, "exact proxy": ("--exact-aborts",)}
        first, exact = (
            Gateway(folder, f"{kind} in front of {name}", binary, engine.url, *arguments, *ALIKE[name])
            for kind, arguments in kinds.items()
        )
        servers.extend((first, exact))
        if name == "as it is":
            state(checks, engine, first)
            observed(checks, engine, first, folder, servers, at_once)
        CHECKS[name](checks, engine, first, exact)
        engine.stop()


def state(checks, engine, gateway):
    drift(checks, engine, gateway, CHAT_PATH, CHAT | {"max_tokens": 9})
    merged(checks, engine, gateway)
    blocks(checks, engine, gateway)
    queue_times(checks, engine, gateway, "vllm:request_queue_time_seconds")


def blocks(checks, engine, gateway):
    """The blocks in use while streams run: what vLLM says as a share, as a number."""
    body = CHAT | STREAM | {"max_tokens": 1500, "ignore_eos": True}
    threads, _ = at_once(gateway, [(CHAT_PATH, body)] * SLOTS)

    shares = []  # those lately, as the proxy's are of its last look

    def both():
        theirs, ours = Page(f"{engine.url}/metrics"), Page(gateway.page_url)
        [config] = [s.labels for s in theirs.samples if s.name == "vllm:cache_config_info"]
        total = int(config["num_gpu_blocks"]) - 1
        shares.append(theirs.sum("vllm:kv_cache_usage_perc") * total)
        used, all_of_them = (ours.sum(f"vllm:num_blocks_{what}") for what in ("used", "total"))
        lately = [share for share in shares[-60:] if abs(share - used) < 0.01]
        return (used, lately, all_of_them, total) if used and len(shares) > 20 and lately else None

    try:
        used, lately, total, all_but_one = wait_for("as many blocks as vLLM says", both)
    except AssertionError as error:
        raise AssertionError(f"vLLM said {shares}") from error
    checks.within("blocks in use", used, min(lately) - 0.01, max(lately) + 0.01)
    checks.equal("blocks", total, all_but_one)
    for thread in threads:
        thread.join()
    gateway.counted(SLOTS)
    wait_for("no block in use", lambda: Page(gateway.page_url).sum("vllm:num_blocks_used") == 0)


def as_it_is(checks, engine, gateway, exact):
    cases(checks, engine, gateway)
    passes(checks, engine, gateway)
    crowd(checks, engine, gateway)
    cuts(checks, engine, gateway, "estimate", (0, 1, 2, 7, 60))
    cuts(checks, engine, exact, "exact", (0, 1, 2, 7, 60, 200))
    killed_core(checks, engine, gateway)


def told_queue_times(checks, engine, gateway, exact):
    cases(checks, engine, gateway, queue_time=True)
    crowd(checks, engine, gateway, queue_time=True)
    crowd(checks, engine, exact, queue_time=True)
    refused(checks, engine, gateway)
    left_in_queue(checks, engine, gateway)
    told_to_stop(checks, engine, gateway)


def four_steps(checks, engine, gateway, exact):
    cuts(checks, engine, exact, "exact", (1, 7, 60))
    killed_server(checks, engine, gateway)


CHECKS = dict(zip(STARTS, (as_it_is, told_queue_times, four_steps)))


def cases(checks, engine, gateway, queue_time=False):
    for case in CASES:
        before = queue_count(gateway)
        check(checks, case, gateway, engine)
        is_told = queue_time and case.end.startswith("success") and case.path in (CHAT_PATH, PROMPT_PATH)
        if queue_time and is_told and "n" not in case.body and not isinstance(case.body.get("prompt"), list):
            checks.within(f"{case.name}: queue times", queue_count(gateway) - before, 1, 100)


def queue_count(gateway):
    return Page(gateway.page_url).sum("vllm:time_in_queue_seconds_count")


def passes(checks, engine, gateway):
    """What is not measured."""
    for path in ("/health", "/v1/models", "/version", "/ping", "/docs", "/openapi.json"):
        answers = (get(f"{url}{path}") for url in (gateway.url, engine.url))
        ours, theirs = (without_what_varies(answer.encode()) for answer in answers)
        checks.that(f"{path} passes", ours == theirs, f"{len(ours)} bytes")
    check_unmeasured(checks, "tokenizer", "/tokenize", {"prompt": "where"}, gateway)
    check_unmeasured(checks, "count of tokens", "/v1/messages/count_tokens",
                     {"model": "tiny", "messages": CHAT["messages"]}, gateway)


def at_once(gateway, requests):
    """Sends all at the same time; gives threads, and where the answers come."""
    answers = [None] * len(requests)

    def send(at, path, body):
        try:
            answers[at] = ask(gateway.url, path, json.dumps(body))
        except (OSError, http.client.HTTPException) as error:  # it breaks off
            answers[at] = error

    threads = [threading.Thread(target=send, args=(at, *request)) for at, request in enumerate(requests)]
    for thread in threads:
        thread.start()
    return threads, answers


def totals(checks, name, ours, theirs):
    for what in ("prompt", "generated"):
        checks.equal(f"{name}: {what}", ours[what], theirs[what])
    ends = sum(named(ours, "end").values())
    checks.equal(f"{name}: received", ours["received"], ends + ours["in flight"])


def crowd(checks, engine, gateway, queue_time=False):
    """Twelve streams on four slots: all told, and who runs and who waits at the same moment."""
    name = "twelve streams"
    kinds = [(CHAT_PATH, CHAT | STREAM), (PROMPT_PATH, PROMPT | STREAM), (CHAT_PATH, CHAT | ASKED)]
    requests = [(path, body | {"max_tokens": 800, "ignore_eos": True, "seed": at})
                for at in range(4) for path, body in kinds]
    before, page = engine.counters(), Page(gateway.page_url)

    def full():
        ours, theirs = Page(gateway.page_url), engine.counters()
        seen = {what: ours.sum(f"vllm:num_requests_{what}") for what in ("running", "waiting")}
        return seen if all(seen[what] == theirs[what] for what in seen) and seen["waiting"] >= 4 else None

    threads, answers = at_once(gateway, requests)
    seen = wait_for("who runs and who waits, as vLLM says", full)
    checks.equal(f"{name}: running while others wait", seen["running"], SLOTS)
    for thread in threads:
        thread.join()
    ours, theirs = gateway.counted(len(requests)), engine.counted_since(before)
    checks.equal(f"{name}: statuses", {answer[0] for answer in answers}, {200})
    totals(checks, name, ours, theirs)
    checks.equal(f"{name}: successes", named(ours, "end"), {"success/length": theirs["finished"]})
    checks.equal(f"{name}: usage for who asked", sum(b'"usage":{' in answer[1] for answer in answers), 4)
    if queue_time:
        after = Page(gateway.page_url)
        count, total = (after.sum(f"vllm:time_in_queue_seconds_{part}") - page.sum(f"vllm:time_in_queue_seconds_{part}")
                        for part in ("count", "sum"))
        checks.equal(f"{name}: queue times", count, theirs["queued"])
        checks.within(f"{name}: seconds in the queue", total, theirs["queue seconds"] * 0.999 - 0.001,
                      theirs["queue seconds"] * 1.001 + 0.001)


def cuts(checks, engine, gateway, name, counts):
    for path, (body, content) in CUT.items():
        behind = []
        for after in counts:
            before, was = engine.counters(), gateway.before
            check_cut(checks, f"{name}, {path} left after {after}", path, body, content, after, gateway, engine)
            counted = gateway.before["generated"] - was["generated"]
            behind.append(engine.counted_since(before)["generated"] - counted)
            if name == "exact" and after and path in (CHAT_PATH, PROMPT_PATH):
                told = gateway.before["source", "continuous_usage"] - was["source", "continuous_usage"]
                checks.equal(f"{name}, {path} left after {after}: told by a running usage", told, 1)
        print(f"  {name}, {path}: tokens that vLLM made beyond those counted: {behind}", flush=True)


def refused(checks, engine, gateway):
    """More than may wait."""
    name, before = "too many", engine.counters()
    body = CHAT | STREAM | {"max_tokens": 300, "ignore_eos": True}
    threads, answers = at_once(gateway, [(CHAT_PATH, body)] * 40)
    for thread in threads:
        thread.join()
    ours, theirs = gateway.counted(40), engine.counted_since(before)
    at_once_refused = sum(answer[0] == 503 for answer in answers)
    # NB: it asks a second time once it has sent the head.
    later = [answer[1] for answer in answers if answer[0] == 200 and b'"error"' in answer[1]]
    print(f"  {name}: {at_once_refused} refused by 503, {len(later)} after a 200: {later[:1]}")
    checks.within(f"{name}: refused", at_once_refused + len(later), 1, 39)
    checks.equal(f"{name}: vLLM's refusals", theirs["refused"], at_once_refused + len(later))
    expected = {"success/length": theirs["finished"], "failure/overloaded": at_once_refused,
                "failure/stream_error": len(later)}
    checks.equal(f"{name}: ends", named(ours, "end"), {end: count for end, count in expected.items() if count})
    totals(checks, name, ours, theirs)


def left_in_queue(checks, engine, gateway):
    name, before = "left in the queue", engine.counters()
    body = CHAT | STREAM | {"max_tokens": 900, "ignore_eos": True}
    threads, _ = at_once(gateway, [(CHAT_PATH, body)] * SLOTS)
    wait_for("a full engine", lambda: engine.counters()["running"] == SLOTS)
    cut(gateway.url, CHAT_PATH, json.dumps(body).encode(), b'"content":"', 0,
        lambda: engine.counters()["waiting"] == 1)
    for thread in threads:
        thread.join()
    ours, theirs = gateway.counted(SLOTS + 1), engine.counted_since(before)
    checks.equal(f"{name}: ends", named(ours, "end"), {"success/length": SLOTS, "aborted/queue": 1})
    totals(checks, name, ours, theirs)


def broken(checks, name, engine, gateway, end):
    """Three streams and one that is no stream, in whose middle the engine ends. What passed is counted:
    nobody can tell more."""
    long = {"max_tokens": 1900, "ignore_eos": True}
    requests = [(CHAT_PATH, CHAT | LONG), (PROMPT_PATH, PROMPT | LONG), (CHAT_PATH, CHAT | ASKED | long),
                (CHAT_PATH, CHAT | long)]
    threads, answers = at_once(gateway, requests)
    wait_for("all of them to run", lambda: engine.counters()["running"] == 4)
    time.sleep(0.5)
    end()
    for thread in threads:
        thread.join()
    ours = gateway.counted(4)
    for (path, body), answer in zip(requests, answers):
        seen = (answer[0], answer[1][-160:]) if isinstance(answer, tuple) else repr(answer)[:160]
        print(f"  {name}: {path} {'stream' if 'stream' in body else 'whole'}: {seen}")
    print(f"  {name}: {named(ours, 'end')}, generated {ours['generated']}, sources {named(ours, 'source')}")
    checks.equal(f"{name}: received", ours["received"], 4)
    checks.within(f"{name}: generated", ours["generated"], 3, 4 * 1900)
    return ours


def killed_core(checks, engine, gateway):
    ours = broken(checks, "core killed", engine, gateway, lambda: os.kill(engine.core(), signal.SIGKILL))
    ends = {"failure/stream_error": 3, "failure/server_error": 1}
    checks.equal("core killed: ends", named(ours, "end"), ends)
    gone(checks, "core killed", engine, gateway)


def killed_server(checks, engine, gateway):
    ours = broken(checks, "server killed", engine, gateway, engine.process.kill)
    ends = {"failure/stream_error": 3, "failure/server_error": 1}
    checks.equal("server killed: ends", named(ours, "end"), ends)
    gone(checks, "server killed", engine, gateway)


def told_to_stop(checks, engine, gateway):
    """What it does then is not the same each time; it never is a success, nor the client's doing."""
    name = "told to stop"
    ours = broken(checks, name, engine, gateway, engine.process.terminate)
    failures = sum(count for end, count in named(ours, "end").items() if end.startswith("failure/"))
    checks.equal(f"{name}: failures", failures, 4)
    gone(checks, name, engine, gateway)


def gone(checks, name, engine, gateway):
    engine.process.wait(60)
    status, _ = post(gateway.url, CHAT_PATH, json.dumps(CHAT))
    checks.equal(f"{name}, after it: status", status, 502)
    checks.equal(f"{name}, after it: end", named(gateway.counted(), "end"), {"failure/unreachable": 1})
