"""Writes answers of a running vLLM into tests/data/usage: of each request one without usage, one with
the final usage, and one with a running usage too.

    tests/engines/parts/record_usage.py http://127.0.0.1:8000 MODEL

Run it by hand; it replaces what it wrote before. The three must tell the same events in the same
order, which several choices need not: they are asked again until they do.
"""

import json
import re
import socket
import sys
import urllib.parse
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "data" / "usage"
TRIES = 60

PROMPT = {"prompt": "The for statement is used"}
QUESTION = {"role": "user", "content": "Tell me about the import statement and the class definition."}
CHAT = {"messages": [QUESTION]}
OPEN = {
    "messages": [QUESTION, {"role": "assistant", "content": "It is"}],
    "add_generation_prompt": False,
    "continue_final_message": True,
}
LOOK = {
    "name": "look",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
        "additionalProperties": False,
    },
}
TOOL = {
    "tools": [{"type": "function", "function": LOOK}],
    "tool_choice": {"type": "function", "function": {"name": "look"}},
}
# vLLM refuses several choices at temperature 0.
TWO = {"n": 2, "temperature": 0.8}

REQUESTS = {
    "chat": {**CHAT, "max_tokens": 3},
    "chat-n2": {**CHAT, **TWO, "max_tokens": 2},
    "chat-stop": {**CHAT, "max_tokens": 12, "stop": ["dict"]},
    "chat-tool": {**CHAT, **TOOL, "max_tokens": 14},
    "chat-logprobs": {**CHAT, "max_tokens": 2, "logprobs": True, "top_logprobs": 1},
    "chat-echo": {**OPEN, "max_tokens": 2, "echo": True},
    "chat-token-ids": {**CHAT, "max_tokens": 2, "return_token_ids": True},
    "chat-one": {**CHAT, "max_tokens": 1},
    "completions": {**PROMPT, "max_tokens": 3},
    "completions-n2": {**PROMPT, **TWO, "max_tokens": 2},
    "completions-two-prompts": {"prompt": [PROMPT["prompt"], "The class"], "max_tokens": 2},
    "completions-stop": {**PROMPT, "max_tokens": 15, "stop": ["entries"]},
    "completions-logprobs": {**PROMPT, "max_tokens": 2, "logprobs": 1},
    "completions-echo": {**PROMPT, "max_tokens": 2, "echo": True},
}

# As the proxy writes it: the first member.
ASKED = {
    "plain": "",
    "final": '"stream_options":{"include_usage":true},',
    "running": '"stream_options":{"include_usage":true,"continuous_usage_stats":true},',
}


def main(url, model):
    for name, request in REQUESTS.items():
        path = "/v1/chat/completions" if name.startswith("chat") else "/v1/completions"
        body = json.dumps({"model": model, "temperature": 0, "seed": 7, "stream": True, **request})
        for _ in range(TRIES):
            answers = {
                kind: ask(url, path, "{" + option + body[1:]) for kind, option in ASKED.items()
            }
            told = [choices(answer) for answer in answers.values()]
            if told[0] and told[0] == told[1] == told[2]:
                break
        else:
            sys.exit(f"{name}: the answers differ, or there are none")
        for kind, answer in answers.items():
            (DATA / f"vllm-{name}-{kind}.http").write_bytes(answer)
        print(name, len(told[0]), "events")


def ask(url, path, body):
    """What came, as it was on the wire."""
    body = body.encode()
    host = urllib.parse.urlsplit(url)
    with socket.create_connection((host.hostname, host.port), timeout=120) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: {host.netloc}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        return b"".join(iter(lambda: connection.recv(65536), b""))


def choices(answer):
    lines = [line[6:] for line in answer.split(b"\n") if line.startswith(b"data: {")]
    events = [json.dumps(json.loads(line)["choices"]) for line in lines]
    # Tool calls have names of their own.
    return [re.sub(r'"id": "[^"]*"', "", event) for event in events if event != "[]"]


if __name__ == "__main__":
    main(*sys.argv[1:])
