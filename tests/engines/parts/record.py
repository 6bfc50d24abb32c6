"""Writes real answers of llama.cpp into tests/data, with what its own counters say of each.

    tests/engines/parts/record.py

Run it by hand, with the Python package prometheus_client; it replaces what it wrote before.
"""

import json
import re
import socket
import sys
import tempfile
import threading
import urllib.parse
from pathlib import Path

sys.dont_write_bytecode = True
here = Path(__file__).resolve().parent
root = here.parent.parent.parent
sys.path[:0] = [str(here), str(root / ".ci")]

import llamacpp_checks as llamacpp

DATA = root / "tests" / "data"

TEXT, CHAT, ASKED, SEA = llamacpp.TEXT, llamacpp.CHAT, llamacpp.ASKED, llamacpp.SEA
TWO = [TEXT, llamacpp.OTHER]
NATIVE = {"prompt": TEXT, "n_predict": 4}
TOOLS = {**llamacpp.TOOLS, "max_tokens": 40}
LOOK = {**TOOLS, "tools": [{"type": "function", "name": "look", "parameters": llamacpp.LOOK}]}

# Kind of server, file, path, body, how it ends, from where the tokens are told. What the answer
# tells is what the counters say, where it is not said otherwise.
RECORDINGS = [
    ("generate", "llamacpp-native/json", "/completion", NATIVE, "success/length", "engine_frame"),
    ("generate", "llamacpp-native/stream", "/completion",
     {**NATIVE, "stream": True}, "success/length", "engine_frame"),
    ("generate", "llamacpp-native/stream-cached", "/completion",
     {**NATIVE, "stream": True}, "success/length", "engine_frame"),
    ("generate", "llamacpp-native/stream-eos", "/completion",
     {"prompt": TEXT, "stream": True, **SEA}, "success/stop", "engine_frame"),
    ("generate", "llamacpp-native/stream-stop", "/completion",
     {"prompt": TEXT, "stream": True, "stop": ["d"], "n_predict": 90}, "success/stop", "engine_frame"),
    ("generate", "llamacpp-native/stream-timings", "/completion",
     {**NATIVE, "stream": True, "timings_per_token": True}, "success/length", "engine_frame"),
    ("generate", "llamacpp-native/stream-progress", "/completion",
     {**NATIVE, "stream": True, "return_progress": True}, "success/length", "engine_frame"),
    ("generate", "llamacpp-native/n2-json", "/completion",
     {**NATIVE, "n": 2}, "success/length", "engine_frame"),
    ("generate", "llamacpp-native/n2-stream", "/completion",
     {**NATIVE, "n": 2, "stream": True}, "success/length", "engine_frame"),
    ("generate", "llamacpp-native/prompts2-json", "/completion",
     {**NATIVE, "prompt": TWO}, "success/length", "engine_frame"),
    ("generate", "llamacpp-native/prompts2-stream", "/completion",
     {**NATIVE, "prompt": TWO, "stream": True}, "success/length", "engine_frame"),
    ("generate", "llamacpp-native/err-bad-request", "/completion",
     {"prompt": TEXT, "n_predict": -7}, "failure/invalid_request", None),
    ("generate", "anthropic/llamacpp-json", "/v1/messages",
     {**CHAT, "max_tokens": 5}, "success/length", "usage"),
    ("generate", "anthropic/llamacpp-stream", "/v1/messages",
     {**CHAT, "stream": True, "max_tokens": 5}, "success/length", "usage"),
    ("generate", "anthropic/llamacpp-stream-stop", "/v1/messages",
     {**CHAT, "stream": True, "stop_sequences": ["d"], "max_tokens": 90}, "success/stop", "usage"),
    ("generate", "anthropic/llamacpp-err-no-messages", "/v1/messages",
     {"max_tokens": 5}, "failure/server_error", None),
    ("generate", "responses/llamacpp-json", "/v1/responses",
     {"input": TEXT, "max_output_tokens": 5}, "success/stop", "usage"),
    ("generate", "responses/llamacpp-stream-short", "/v1/responses",
     {"input": TEXT, "stream": True, "max_output_tokens": 5}, "success/stop", "usage"),
    ("generate", "responses/llamacpp-stream-tool-call", "/v1/responses",
     {"input": TEXT, "stream": True, **LOOK, "max_output_tokens": 40}, "success/tool_calls", "usage"),
    ("generate", "llamacpp/chat-json-tool-call", "/v1/chat/completions",
     {**CHAT, **TOOLS}, "success/length", "usage"),
    ("generate", "llamacpp/chat-stream-tool-call", "/v1/chat/completions",
     {**CHAT, **TOOLS, "stream": True}, "success/length", "engine_frame"),
    ("generate", "llamacpp/chat-stream-progress", "/v1/chat/completions",
     {**CHAT, "stream": True, "return_progress": True, "max_tokens": 4}, "success/length", "engine_frame"),
    ("generate", "llamacpp/chat-stream-eos", "/v1/chat/completions",
     {**CHAT, "stream": True, **SEA}, "success/stop", "engine_frame"),
    ("embed", "prompt_only/llamacpp-embeddings", "/v1/embeddings",
     {"input": TEXT, "encoding_format": "base64"}, "success/other", "usage"),
    ("embed", "prompt_only/llamacpp-embeddings-two", "/v1/embeddings",
     {"input": TWO, "encoding_format": "base64"}, "success/other", "usage"),
    ("rerank", "prompt_only/llamacpp-rerank", "/v1/rerank",
     {"query": TEXT, "documents": ["river", "sea"]}, "success/other", "usage"),
    ("generate", "prompt_only/llamacpp-err-not-supported", "/v1/embeddings",
     {"input": TEXT}, "failure/server_error", None),
]

# Streams that together run out of the cache: each of them ends with an error.
CROWDED = [
    ("llamacpp-native/stream-error", "/completion",
     {"prompt": TEXT, "stream": True, "n_predict": 400},
     "engine_frame", 5),
    ("llamacpp/chat-stream-error", "/v1/chat/completions",
     {**CHAT, "stream": True, "max_tokens": 400},
     "counted", None),
    ("anthropic/llamacpp-stream-error", "/v1/messages", {**CHAT, "stream": True, "max_tokens": 400},
     "counted", 17),
    ("responses/llamacpp-stream-error", "/v1/responses",
     {"input": TEXT, "stream": True, "max_output_tokens": 400}, "counted", None),
]

# Takes a part of the cache at once; three leave little of it.
FILLER = {"prompt": "river " * 155, "n_predict": 400, "stream": True}

# Streams that are left after some events with content.
LEFT = [
    ("llamacpp-native/stream-left", "/completion", "engine_frame", 5),
    ("anthropic/llamacpp-stream-left", "/v1/messages", "counted", 17),
    ("responses/llamacpp-stream-left", "/v1/responses", "counted", None),
]


def main():
    index = {}
    with tempfile.TemporaryDirectory(prefix="infermeter-") as folder:
        servers = {kind: llamacpp.LlamaCpp(folder, kind) for kind in ("generate", "embed", "rerank", "crowded")}
        try:
            for kind, file, path, body, end, source in RECORDINGS:
                before = servers[kind].counters()
                raw = exchange(servers[kind].url, path, body)
                counted = servers[kind].counted_since(before, None, None)
                counted = (counted["prompt"], counted["generated"])
                put(index, file, path, raw, counted, end, source)
            for file, path, source, prompt in LEFT:
                left(index, servers["generate"], file, path, source, prompt)
            for crowd in CROWDED:
                while not crowded(index, servers["crowded"], *crowd):
                    pass  # too early or too late: once more
        finally:
            for server in servers.values():
                server.stop()
    for folder, entries in index.items():
        lines = ",\n ".join(json.dumps(entry) for entry in entries)
        (DATA / folder / "index-llamacpp.json").write_text(f"[\n {lines}\n]\n")


def crowded(index, server, file, path, body, source, prompt):
    """Whether the stream has begun, and ended soon."""
    before, others = server.counters(), []
    fillers = [
        threading.Thread(target=lambda: others.append(exchange(server.url, "/completion", FILLER)))
        for _ in range(3)
    ]
    for filler in fillers:
        filler.start()
    raw = exchange(server.url, path, body)
    for filler in fillers:
        filler.join()
    counted = server.counted_since(before, None, None)
    theirs = [re.findall(rb'"tokens_predicted":(\d+)', other)[-1:] for other in others]
    own = counted["generated"] - sum(int(count) for [count] in theirs if count)
    is_good = all(theirs) and 2 <= own <= 12 and b"exceeded" in raw and raw.startswith(b"HTTP/1.1 200")
    if is_good:
        length = 5 if path == "/completion" else 17
        tells = {"prompt": prompt, "completion": own}
        put(index, file, path, raw, (length, own), "failure/stream_error", source, tells)
    return is_good


def left(index, server, file, path, source, prompt):
    """What had passed when the client left; the engine had made more by then."""
    body, content = llamacpp.CUT[path]
    before = server.counters()
    raw = exchange(server.url, path, body, lambda raw: raw.count(content) >= 4)
    made = server.counted_at_rest(before)
    # As far as the last whole event.
    raw = raw[: raw.rindex(b"\n\n\r\n") + 4]
    tells = {"prompt": prompt, "completion": raw.count(content)}
    length = 5 if path == "/completion" else 17
    put(index, file, path, raw, (length, made), "failure/stream_error", source, tells)


def exchange(url, path, body, is_enough=lambda raw: whole(raw)):
    """What comes over the socket until it is whole, or enough."""
    address = urllib.parse.urlsplit(url)
    body = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\n"
    raw = b""
    with socket.create_connection((address.hostname, address.port), timeout=20) as client:
        client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        while not is_enough(raw):
            more = client.recv(512)
            if not more:
                break
            raw += more
    return raw


def whole(raw):
    head, found, body = raw.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        return body.endswith(b"\r\n0\r\n\r\n")
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
    return bool(found and length) and len(body) >= int(length[0].split()[1])


def put(index, file, path, raw, counted, end, source, tells=None):
    """`counted` are prompt and generated; `tells`, what the bytes tell, where that is not the same."""
    out = DATA / f"{file}.http"
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(raw)
    status = int(raw.split()[1])
    true = dict(zip(("prompt", "completion"), counted))
    if status != 200:
        tells = {"prompt": None, "completion": None}
    entry = {
        "file": f"{file}.http",
        "path": path,
        "status": status,
        "kind": "stream" if b"text/event-stream" in raw else "whole",
        "true": true,
        "tells": (tells or true) | {"source": source},
        "end": end,
    }
    index.setdefault(file.split("/")[0], []).append(entry)
    print(len(raw), entry)


if __name__ == "__main__":
    main()
