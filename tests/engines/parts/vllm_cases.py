"""What is sent to vLLM, one request at a time."""

import re

from case import Case

CHAT_PATH, PROMPT_PATH = "/v1/chat/completions", "/v1/completions"

TEXT = "where does it go"
STILL = {"temperature": 0}
CHAT = {"messages": [{"role": "user", "content": TEXT}], **STILL}
PROMPT = {"prompt": TEXT, **STILL}
STREAM = {"stream": True}
ASKED = {"stream": True, "stream_options": {"include_usage": True}}
RUNNING = {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
TWO = {"n": 2, "temperature": 0.8, "seed": 7}  # it refuses several choices at temperature 0
END = {"min_tokens": 5, "logit_bias": {"1": 100}}  # the token that ends an answer
MESSAGES = {"model": "tiny", **CHAT}

LOOK = {"type": "object", "properties": {"where": {"enum": ["river"]}}, "required": ["where"]}
TOOL = {
    "tools": [{"type": "function", "function": {"name": "look", "parameters": LOOK}}],
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "max_tokens": 60,
}


def half(engine, _answer):
    return engine // 2


TWICE = {"prompt": (half, "once for each choice")}


def anyhow(answer):
    """Which of several choices goes first is left to chance; and what ends one before others go on
    lacks the fingerprint, which was told with the usage, at the end of all."""
    return sorted(re.sub(rb',"system_fingerprint":"[^"]*"', b"", answer).split(b"\n"))


def chat(name, body, end="success/length", source="usage", **more):
    return Case(f"chat {name}", CHAT_PATH, {**CHAT, "max_tokens": 9, **body}, end, source, **more)


def completion(name, body, end="success/length", source="usage", **more):
    return Case(f"completion {name}", PROMPT_PATH, {**PROMPT, "max_tokens": 9, **body}, end, source, **more)


CASES = [
    kind(name, {**body, **how}, **more)
    for kind in (chat, completion)
    for name, body, more in (
        ("", {}, {}),
        ("of one token,", {"max_tokens": 1}, {}),
        ("to its end,", END, {"end": "success/stop"}),
        ("stop string,", {"stop": ["go", "zzz"], "max_tokens": 90}, {}),
        ("n = 2,", TWO, {"differs": TWICE, "same": anyhow}),
        ("log-probabilities,", {"logprobs": True if kind is chat else 2}, {"sees": '"logprobs":{'}),
        ("token ids,", {"return_token_ids": True}, {"sees": '"token_ids":['}),
        ("echo,", {"echo": True, **({"add_generation_prompt": True} if kind is chat else {})}, {}),
    )
    for name, how, more in (
        (f"{name} whole", {}, more),
        (f"{name} stream", STREAM, more),
        (f"{name} stream with usage", ASKED, more),
        (f"{name} stream with a running usage", RUNNING, more),
    )
]
for case in CASES:
    if "stop string" in case.name:
        case.end = "success"
    if "running usage" in case.name:
        case.source = None

CASES += [
    completion("of two prompts", {"prompt": [TEXT, "under the bridge"]}),
    completion("of two prompts, stream", {"prompt": [TEXT, "under the bridge"], **STREAM}, same=anyhow),
    completion("of two prompts, stream with usage", {"prompt": [TEXT, "over it"], **ASKED}, same=anyhow),
    completion("of token ids", {"prompt": [20, 30, 40, 50]}),
    completion("of token ids, stream", {"prompt": [20, 30, 40, 50], **STREAM}),
    chat("tool call", TOOL, "success", sees='"tool_calls":[{'),
    chat("tool call, stream", {**TOOL, **STREAM}, "success", sees='"tool_calls":[{'),
    chat("tool call, stream with usage", {**TOOL, **ASKED}, "success", sees='"tool_calls":[{'),
    chat("stream, asked for no usage", {**STREAM, "stream_options": {"include_usage": False}}),
    chat("stream, options of nothing", {**STREAM, "stream_options": {}}),
    chat("stream, options null", {**STREAM, "stream_options": None}),
    chat("stream, model named", {**STREAM, "model": "tiny"}),
    chat("stream, JSON", {**STREAM, "response_format": {"type": "json_object"}}, "success"),
    Case("responses", "/v1/responses", {"input": TEXT, "max_output_tokens": 9, **STILL}, "success", "usage"),
    Case("responses stream", "/v1/responses", {"input": TEXT, "max_output_tokens": 9, **STILL, **STREAM},
         "success", "usage"),
    Case("messages", "/v1/messages", {**MESSAGES, "max_tokens": 9}, "success/length", "usage"),
    Case("messages stream", "/v1/messages", {**MESSAGES, "max_tokens": 9, **STREAM}, "success/length", "usage"),
    chat("bad", {"messages": 7}, "failure/invalid_request", None, status=400),
    chat("bad, stream", {"temperature": -3, **STREAM}, "failure/invalid_request", None, status=400),
    chat("options without a stream", {"stream_options": {"include_usage": True}}, "failure/invalid_request",
         None, status=400),
    chat("over the context, stream", {"max_tokens": 5000, **STREAM}, "failure", None, status=400),
    chat("prompt over the context", {"messages": [{"role": "user", "content": TEXT * 900}]},
         "failure/context_length", None, status=400),
    chat("another model", {"model": "other-7b"}, "failure/not_found", None, status=404, model="other"),
    chat("another model, stream", {"model": "other-7b", **STREAM}, "failure/not_found", None, status=404,
         model="other"),
    Case("not served", "/v1/embeddings", {"input": TEXT}, "failure/not_found", None, status=404),
]

# Streams that last until they are cut, and what each event with content has once.
LONG = {"max_tokens": 1900, **STREAM, "ignore_eos": True}
CUT = {
    CHAT_PATH: ({**CHAT, **LONG}, b'"delta":{"content":"'),
    PROMPT_PATH: ({**PROMPT, **LONG}, b'"text":"'),
    "/v1/messages": ({**MESSAGES, "max_tokens": 1900, **STREAM}, b'"text_delta"'),
    "/v1/responses": (
        {"input": TEXT, "max_output_tokens": 1900, **STILL, **STREAM}, b'"response.output_text.delta"}'
    ),
}
