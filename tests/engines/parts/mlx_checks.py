"""What is sent to mlx-lm. It counts nothing itself: the truth is its own tokenizer for prompts, and
for what was generated the usage of the same request, whole: it chooses the likeliest token always."""

import json
import socket
import subprocess
from pathlib import Path

from case import Case, check, check_cut
from gateway import Gateway, post
from servers import Server

SCRIPT = Path(__file__).resolve().parent.parent / "mlx"

TEXT = "tell me where the river goes"
CHAT = {"messages": [{"role": "user", "content": TEXT}]}
ASKED = {"stream": True, "stream_options": {"include_usage": True}}

# Several thousand tokens, so that it says that it is still alive before the first of them comes.
LONG = {"messages": [{"role": "user", "content": "the river goes over " * 1200}]}

CASES = [
    Case("chat", "/v1/chat/completions", {**CHAT, "max_tokens": 8}, "success/length", "usage"),
    Case("chat again, cached", "/v1/chat/completions", {**CHAT, "max_tokens": 30}, "success/length", "usage"),
    Case("chat stream with usage", "/v1/chat/completions", {**CHAT, **ASKED, "max_tokens": 30},
         "success/length", "usage"),
    Case("chat stream", "/v1/chat/completions", {**CHAT, "stream": True, "max_tokens": 30},
         "success/length", "usage"),
    Case("chat stream of one token", "/v1/chat/completions", {**CHAT, **ASKED, "max_tokens": 1},
         "success/length", "usage"),
    Case("chat stream, long prompt", "/v1/chat/completions", {**LONG, **ASKED, "max_tokens": 5},
         "success/length", "usage", sees=": keepalive"),
    Case("chat, stop string", "/v1/chat/completions", {**CHAT, "stop": ["OK"], "max_tokens": 300},
         "success/stop", "usage"),
    Case("chat stream with usage, stop string", "/v1/chat/completions",
         {**CHAT, **ASKED, "stop": ["OK"], "max_tokens": 300}, "success/stop", "usage"),
    # It knows no n, and answers with one choice.
    Case("chat, n = 2", "/v1/chat/completions", {**CHAT, "n": 2, "max_tokens": 8}, "success/length", "usage"),
    Case("completion", "/v1/completions", {"prompt": TEXT, "max_tokens": 8}, "success/length", "usage"),
    Case("completion stream with usage", "/v1/completions", {"prompt": TEXT, **ASKED, "max_tokens": 9},
         "success/length", "usage"),
    Case("completion stream with usage, to its end", "/v1/completions",
         {"prompt": TEXT, **ASKED, "max_tokens": 60}, "success/stop", "usage"),
    Case("completion stream", "/v1/completions", {"prompt": TEXT, "stream": True, "max_tokens": 60},
         "success/stop", "usage"),
    Case("bad request", "/v1/chat/completions", {"messages": 7}, "failure/invalid_request", status=400),
    Case("another model", "/v1/chat/completions", {**CHAT, "model": "other"}, "failure/not_found", status=404,
         model="other"),
    Case("not served", "/v1/responses", {"input": TEXT}, "failure/not_found", status=404),
]

# Lasts until it is cut; then nobody knows how many tokens it was.
MOST = 900
CUT = {**CHAT, "stream": True, "max_tokens": MOST}


class Mlx(Server):
    name = "mlx-lm"

    def __init__(self, folder):
        port = free_port()
        super().__init__(folder, self.name, "env", f"PORT={port}", str(SCRIPT))
        self.url = f"http://127.0.0.1:{port}"
        self.says(r"(httpd at .*)\.\.\.")

    def counters(self):
        return None

    def counted_since(self, _before, case, _answer):
        """Of an error nothing; else what the tokenizer and the same request, whole, say."""
        if case.status != 200:
            return {"prompt": 0, "generated": 0}
        body = {name: value for name, value in case.body.items() if not name.startswith("stream")}
        _, whole = post(self.url, case.path, json.dumps(body))
        return {"prompt": tokens(case.body), "generated": json.loads(whole)["usage"]["completion_tokens"]}

    def counted_at_rest(self, _before):
        return MOST


def tokens(body):
    """How many tokens a prompt has, by the tokenizer that the model was made with."""
    if "prompt" not in body:
        [message] = body["messages"]
        return count(f"{message['role']}: {message['content']}\nassistant:")
    return count(body["prompt"])


def count(text):
    code = (
        "import sys, tokenizers;"
        "read = tokenizers.Tokenizer.from_file(sys.argv[1]).encode(sys.stdin.read(), add_special_tokens=False);"
        "print(len(read.ids))"
    )
    folder = Path(subprocess.run([SCRIPT, "where"], check=True, capture_output=True, text=True).stdout.strip())
    done = subprocess.run(
        [folder / "venv/bin/python", "-c", code, folder / "tiny/tokenizer.json"],
        input=text, capture_output=True, text=True, check=True,
    )
    return int(done.stdout)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def install():
    subprocess.run([SCRIPT, "install"], check=True)


def run(binary, folder, servers, checks):
    servers.append(engine := Mlx(folder))
    servers.append(gateway := Gateway(folder, "gateway", binary, engine.url))
    for case in CASES:
        check(checks, case, gateway, engine)
    for after in (0, 1, 7, 40):
        path = "/v1/chat/completions"
        check_cut(checks, f"{path} left after {after}", path, CUT, b'"content": "', after, gateway, engine)
