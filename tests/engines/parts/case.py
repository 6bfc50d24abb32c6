"""One kind of request each: what is sent, and what must be counted."""

import json
from dataclasses import dataclass, field

from gateway import ask, cut, named, post, without_what_varies


@dataclass
class Case:
    name: str
    path: str
    body: dict
    end: str
    """`outcome/reason`, or the outcome only where the format has no word for the reason."""

    source: str | None = None
    """Where the generated tokens are to come from; `None` where it does not matter."""

    status: int = 200

    differs: dict = field(default_factory=dict)
    """What the engine's answer tells otherwise than its counters do: what must be counted, by what
    the engine counted and the answer, and why."""

    model: str | None = None
    """The label that it is counted for; `None` is that of the model."""

    same: object = None
    """What makes two answers to the same request the same bytes; `None` is nothing further."""

    sees: str | None = None
    """What must be in the answer, so that the case is the one it is there for."""


def check(checks, case, gateway, engine):
    """Sends one request through the gateway, and compares what both have counted."""
    before = engine.counters()
    body = json.dumps(case.body)
    status, answer, headers = ask(gateway.url, case.path, body)
    ours, theirs = gateway.counted(), engine.counted_since(before, case, answer)
    checks.equal(f"{case.name}: status", status, case.status)
    if case.sees:
        checks.that(f"{case.name}: {case.sees} in the answer", case.sees.encode() in answer, "")
    for what in ("prompt", "generated"):
        expected, note = theirs[what], engine.name
        if what in case.differs:
            told, why = case.differs[what]
            expected, note = told(theirs[what], answer), f"known: {engine.name} counts {theirs[what]}, {why}"
        checks.equal(f"{case.name}: {what} ({note})", ours[what], expected)
    ends = named(ours, "end")
    checks.equal(f"{case.name}: received", ours["received"], sum(ends.values()))
    if "/" not in case.end:
        ends = {end.split("/")[0]: count for end, count in ends.items()}
    checks.equal(f"{case.name}: end", ends, {case.end: 1})
    labels = {case.model or gateway.model}
    checks.equal(f"{case.name}: model", set(named(ours, "model")), labels)
    if case.source:
        checks.equal(f"{case.name}: source", named(ours, "source"), {case.source: 1})
    check_same(checks, case, gateway, engine, (status, answer, headers))


def check_same(checks, case, gateway, engine, passed):
    """What came through the gateway is what the engine says to whoever asks it directly."""
    body = json.dumps(case.body)
    direct = ask(engine.url, case.path, body)
    for _ in range(getattr(engine, "tries", 0)):
        if same(case, passed) == same(case, direct):
            break
        # It puts together what was ready at the same moment, which is not the same each time.
        passed, direct = ask(gateway.url, case.path, body), ask(engine.url, case.path, body)
        gateway.counted()
    (status, answer, headers), (own_status, _, own_headers) = passed, direct
    checks.equal(f"{case.name}: status without a gateway", status, own_status)
    added = [pair for pair in headers if pair not in own_headers]
    checks.equal(f"{case.name}: headers added", [name for name, _ in added], ["x-request-id"])
    checks.equal(f"{case.name}: headers lost", [pair for pair in own_headers if pair not in headers], [])
    seen, own = same(case, passed), same(case, direct)
    what = f"{case.name}: answer without a gateway"
    checks.that(what, seen == own, f"{len(answer)} bytes, the same" if seen == own else f"{seen}, not {own}")


def same(case, answer):
    return (case.same or bytes)(without_what_varies(answer[1]))


def check_cut(checks, name, path, body, content, after, gateway, engine):
    """A client that leaves. What it has seen is counted, and never more than the engine made: that
    may be further than what has passed."""
    before = engine.counters()
    seen = cut(gateway.url, path, json.dumps(body).encode(), content, after, gateway.has_more)
    ours = gateway.counted()
    most = engine.counted_at_rest(before)
    # NB: of the last event the end may not have passed yet.
    least = max(seen - 1, 0)
    checks.within(f"{name}: generated, {seen} events seen", ours["generated"], least, most)
    aborted = sum(count for end, count in named(ours, "end").items() if end.startswith("aborted/"))
    checks.equal(f"{name}: aborted", aborted, 1)
    checks.equal(f"{name}: requests", (ours["received"], ours["measured"]), (1, 1))


def check_unmeasured(checks, name, path, body, gateway):
    """What generates nothing passes by."""
    before = gateway.now()
    status, _ = post(gateway.url, path, json.dumps(body))
    checks.equal(f"{name}: status", status, 200)
    checks.equal(f"{name}: requests", gateway.now()["measured"] - before["measured"], 0)
