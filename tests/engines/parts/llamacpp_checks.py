"""What is sent to llama.cpp, and what it counts itself (`/metrics`)."""

import json
import re
import subprocess
import threading
from pathlib import Path

from case import Case, check, check_cut, check_unmeasured
from gateway import Gateway, named, post
from servers import Page, Server, get, wait_for
from state_checks import drift, merged

SCRIPT = Path(__file__).resolve().parent.parent / "llamacpp"

SLOTS = 4  # of parts/llamacpp_serve.py

TEXT = "where does it go"
OTHER = "under the bridge when"  # as many tokens: which of two ends first is left to chance
CHAT = {"messages": [{"role": "user", "content": TEXT}]}
ASKED = {"stream": True, "stream_options": {"include_usage": True}}
SEA = {"grammar": 'root ::= " the sea"'}  # then there is only the end
LOOK = {"type": "object", "properties": {"where": {"enum": ["river"]}}, "required": ["where"]}
TOOLS = {
    "tools": [{"type": "function", "function": {"name": "look", "parameters": LOOK}}],
    "tool_choice": "required",
    "logit_bias": [["<tool_call>\n", 100]],
    "max_tokens": 60,  # one call, and the beginning of another: it would go on for ever
}

# Streams that last until they are cut, and what each event with content has once.
CUT = {
    "/v1/chat/completions": ({**CHAT, "stream": True, "max_tokens": 6000}, b'"content":"'),
    "/v1/completions": ({"prompt": TEXT, "stream": True, "max_tokens": 6000}, b'"text":"'),
    "/completion": ({"prompt": TEXT, "stream": True, "n_predict": 6000}, b'"content":"'),
    "/v1/messages": ({**CHAT, "stream": True, "max_tokens": 6000}, b'"text_delta"'),
    "/v1/responses": (
        {"input": TEXT, "stream": True, "max_output_tokens": 6000}, b'"response.output_text.delta"'
    ),
}

def half(engine, _answer):
    return engine // 2


def lines(answer):
    """Which of several choices goes first is left to chance."""
    return sorted(answer.split(b"\n"))


UNTOLD = {"prompt": (lambda *_: 0, "and tells nothing")}
ONE_OF_TWO = {"generated": (half, "and tells one choice")}
FIRST_OF_TWO = ONE_OF_TWO | {"prompt": (half, "and tells the first prompt")}
ONE_PROMPT = {"prompt": (half, "and tells two prompts as it tells one prompt twice, with n = 2")}

CASES = [
    Case("chat", "/v1/chat/completions", {**CHAT, "max_tokens": 8}, "success/length", "usage"),
    Case("chat again, cached", "/v1/chat/completions", {**CHAT, "max_tokens": 5}, "success/length", "usage"),
    Case("chat below no version", "/chat/completions", {**CHAT, "max_tokens": 5}, "success/length", "usage"),
    Case("chat stream", "/v1/chat/completions", {**CHAT, "stream": True, "max_tokens": 8},
         "success/length", "engine_frame"),
    Case("chat stream with usage", "/v1/chat/completions", {**CHAT, **ASKED, "max_tokens": 8},
         "success/length", "usage"),
    Case("chat stream of one token", "/v1/chat/completions", {**CHAT, "stream": True, "max_tokens": 1},
         "success/length", "engine_frame"),
    Case("chat stream to its end", "/v1/chat/completions", {**CHAT, **SEA, "stream": True},
         "success/stop", "engine_frame"),
    Case("chat stream, stop string", "/v1/chat/completions",
         {**CHAT, "stream": True, "stop": ["0|", "d"], "max_tokens": 90}, "success/stop", "engine_frame"),
    Case("chat stream, progress", "/v1/chat/completions",
         {**CHAT, "stream": True, "return_progress": True, "max_tokens": 6}, "success/length",
         "engine_frame", sees='"prompt_progress"'),
    Case("chat stream, log-probabilities", "/v1/chat/completions",
         {**CHAT, "stream": True, "logprobs": True, "top_logprobs": 2, "max_tokens": 6},
         "success/length", "engine_frame", sees='"logprobs"'),
    Case("chat, n = 2", "/v1/chat/completions", {**CHAT, "n": 2, "max_tokens": 6}, "success/length",
         "usage", differs=ONE_OF_TWO),
    Case("chat stream, n = 2", "/v1/chat/completions", {**CHAT, "n": 2, "stream": True, "max_tokens": 6},
         "success/length", "engine_frame", same=lines),
    Case("chat stream with usage, n = 2", "/v1/chat/completions", {**CHAT, **ASKED, "n": 2, "max_tokens": 6},
         "success/length", "usage", same=lines),
    Case("chat, another model's name", "/v1/chat/completions", {**CHAT, "model": "other-7b", "max_tokens": 3},
         "success/length", "usage", model="other"),
    Case("tool call", "/v1/chat/completions", {**CHAT, **TOOLS}, "success/length", "usage",
         sees='"tool_calls"'),
    Case("tool call, stream", "/v1/chat/completions", {**CHAT, **TOOLS, "stream": True},
         "success/length", "engine_frame", sees='"tool_calls"'),
    Case("tool call, stream with usage", "/v1/chat/completions", {**CHAT, **TOOLS, **ASKED},
         "success/length", "usage", sees='"tool_calls"'),
    Case("completion", "/v1/completions", {"prompt": TEXT, "max_tokens": 7}, "success/length", "usage"),
    Case("completion stream", "/v1/completions", {"prompt": TEXT, "stream": True, "max_tokens": 7},
         "success/length", "usage"),
    Case("completion, two prompts", "/v1/completions", {"prompt": [TEXT, OTHER], "max_tokens": 4},
         "success/length", "usage", differs=FIRST_OF_TWO),
    Case("completion stream, two prompts", "/v1/completions",
         {"prompt": [TEXT, OTHER], "stream": True, "max_tokens": 4}, "success/length", "usage",
         differs=ONE_PROMPT, same=lines),
    Case("native", "/completion", {"prompt": TEXT, "n_predict": 6}, "success/length", "engine_frame"),
    Case("native stream", "/completion", {"prompt": TEXT, "stream": True, "n_predict": 6},
         "success/length", "engine_frame"),
    Case("native stream to its end", "/completion", {"prompt": TEXT, "stream": True, **SEA},
         "success/stop", "engine_frame"),
    Case("native stream, stop string", "/completion",
         {"prompt": TEXT, "stream": True, "stop": ["0|", "d"], "n_predict": 90}, "success/stop", "engine_frame"),
    Case("native, n = 2", "/completion", {"prompt": TEXT, "n": 2, "n_predict": 6}, "success/length",
         "engine_frame"),
    Case("native stream, n = 2", "/completion", {"prompt": TEXT, "n": 2, "stream": True, "n_predict": 6},
         "success/length", "engine_frame", same=lines),
    Case("native, two prompts", "/completion", {"prompt": [TEXT, OTHER], "n_predict": 4},
         "success/length", "engine_frame"),
    Case("native stream, two prompts", "/completion",
         {"prompt": [TEXT, OTHER], "stream": True, "n_predict": 4}, "success/length",
         "engine_frame", same=lines),
    # NB: below no version it speaks its own format, not that of /v1/completions.
    Case("native by another name", "/completions", {"prompt": TEXT, "n_predict": 6}, "success/length",
         "engine_frame"),
    Case("native stream by another name", "/completions", {"prompt": TEXT, "stream": True, "n_predict": 6},
         "success/length", "engine_frame"),
    Case("messages", "/v1/messages", {**CHAT, "max_tokens": 6}, "success/length", "usage"),
    Case("messages stream", "/v1/messages", {**CHAT, "stream": True, "max_tokens": 6}, "success/length",
         "usage"),
    Case("messages stream, stop string", "/v1/messages",
         {**CHAT, "stream": True, "stop_sequences": ["0|", "d"], "max_tokens": 90}, "success/stop", "usage"),
    Case("responses", "/v1/responses", {"input": TEXT, "max_output_tokens": 6}, "success", "usage"),
    Case("responses stream", "/v1/responses", {"input": TEXT, "stream": True, "max_output_tokens": 6},
         "success", "usage"),
    Case("bad request", "/v1/chat/completions", {"messages": 7}, "failure/invalid_request", status=400),
    Case("bad native request", "/completion", {"n_predict": -7, "prompt": TEXT}, "failure/invalid_request",
         status=400),
    Case("too long for the context", "/v1/chat/completions",
         {"messages": [{"role": "user", "content": "river " * 9000}], "stream": True},
         "failure/context_length", status=400),
    Case("not supported", "/v1/embeddings", {"input": TEXT}, "failure/server_error", status=501),
]

EMBED = [
    Case("embeddings", "/v1/embeddings", {"input": TEXT}, "success"),
    Case("embeddings, native", "/embeddings", {"input": TEXT}, "success", differs=UNTOLD),
    Case("embeddings of two", "/v1/embeddings", {"input": [TEXT, OTHER]}, "success"),
]
RERANK = [
    Case("rerank", "/v1/rerank", {"query": TEXT, "documents": ["river", OTHER]}, "success"),
]


class LlamaCpp(Server):
    def __init__(self, folder, kind):
        super().__init__(folder, "llama.cpp", str(SCRIPT), kind)
        self.url = self.says(r"listens on (http://\S+)")

    def counters(self):
        text = get(f"{self.url}/metrics")
        read = {name: int(float(value)) for name, value in re.findall(r"^llamacpp:(\w+) (\S+)$", text, re.M)}
        # NB: what came from a cache is not among the prompt tokens there.
        prompt = read["prompt_tokens_total"] + read["prompt_tokens_cached_total"]
        return {
            "prompt": prompt,
            "generated": read["tokens_predicted_total"],
            "running": read["requests_processing"],
            "waiting": read["requests_deferred"],
        }

    def counted_since(self, before, _case, _answer):
        after = self.counters()
        return {what: after[what] - before[what] for what in after}

    def idle(self):
        now = self.counters()
        return None if now["running"] or now["waiting"] else now

    def counted_at_rest(self, before):
        """Tokens generated once nothing runs any more: after a client has left, it stops soon."""
        after = wait_for("an idle engine", self.idle)
        return after["generated"] - before["generated"]


def install():
    subprocess.run([SCRIPT, "install"], check=True)


def run(binary, folder, servers, checks):
    def pair(kind):
        servers.append(engine := LlamaCpp(folder, kind))
        servers.append(gateway := Gateway(folder, f"gateway of {kind}", binary, engine.url))
        return engine, gateway

    engine, gateway = pair("generate")
    drift(checks, engine, gateway, "/v1/chat/completions", {**CHAT, "max_tokens": 9})
    merged(checks, engine, gateway)
    for case in CASES:
        check(checks, case, gateway, engine)
    for after in (0, 1, 2, 7, 60):
        for path, (body, content) in CUT.items():
            check_cut(checks, f"{path} left after {after}", path, body, content, after, gateway, engine)
    queue(checks, engine, gateway)
    check_unmeasured(checks, "count of tokens", "/v1/messages/count_tokens", CHAT, gateway)
    check_unmeasured(checks, "tokenizer", "/tokenize", {"content": TEXT}, gateway)

    for kind, cases in {"embed": EMBED, "rerank": RERANK}.items():
        engine, gateway = pair(kind)
        for case in cases:
            check(checks, case, gateway, engine)
    crowd(checks, *pair("crowded"))


def queue(checks, engine, gateway):
    """More streams than there are slots: who runs and who waits, as both say at the same time."""
    body = json.dumps({**CHAT, "stream": True, "max_tokens": 4000})
    before = engine.counters()

    def flight():
        page, theirs = Page(gateway.page_url), engine.counters()
        ours = {"running": page.sum("vllm:num_requests_running"), "waiting": page.sum("vllm:num_requests_waiting")}
        theirs = {what: theirs[what] for what in ours}
        return ours if ours == theirs == {"running": SLOTS, "waiting": 3} else None

    answers = at_once(SLOTS + 3, gateway, body, lambda: wait_for("a full engine", flight))
    checks.that("full engine: running and waiting, as the engine says", True, f"{SLOTS} and 3")
    ours, theirs = gateway.counted(SLOTS + 3), engine.counted_since(before, None, None)
    checks.equal("full engine: statuses", {status for status, _ in answers}, {200})
    checks.equal("full engine: prompt", ours["prompt"], theirs["prompt"])
    checks.equal("full engine: generated", ours["generated"], theirs["generated"])


def at_once(count, gateway, body, meanwhile=lambda: None):
    """Sends the same chat from several clients at the same time."""
    answers = []
    clients = [
        threading.Thread(target=lambda: answers.append(post(gateway.url, "/v1/chat/completions", body)))
        for _ in range(count)
    ]
    for client in clients:
        client.start()
    meanwhile()
    for client in clients:
        client.join()
    return answers


def crowd(checks, engine, gateway):
    """Streams that take each other's place in the cache until an error ends them, after a 200."""
    before = engine.counters()
    body = json.dumps({**CHAT, "stream": True, "max_tokens": 400})
    answers = at_once(SLOTS, gateway, body)
    ours, theirs = gateway.counted(SLOTS), engine.counted_since(before, None, None)
    failed = sum(b"Context size has been exceeded" in answer for _, answer in answers)
    checks.within("errors within a stream: answers with one", failed, 1, SLOTS)
    checks.equal("errors within a stream: statuses", {status for status, _ in answers}, {200})
    broken = named(ours, "end").get("failure/stream_error", 0)
    checks.equal("errors within a stream: failures", broken, failed)
    checks.equal("errors within a stream: generated", ours["generated"], theirs["generated"])
