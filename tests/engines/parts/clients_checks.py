"""What people use to talk to an engine: each talks through the proxy to llama.cpp, and what it was told
is what was counted. A client of which this machine has no program is left out, and said so."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import anthropic
import openai
from gateway import Gateway, named
from llamacpp_checks import ASKED, CHAT, TOOLS, LlamaCpp, install

__all__ = ["install", "run"]

ROOM = {"max_tokens": 8}
BODY = json.dumps({**CHAT, **ROOM, "model": "tiny"})
STREAM_BODY = json.dumps({**CHAT, **ROOM, **ASKED, "model": "tiny"})


class Clients:
    def __init__(self, checks, gateway, folder):
        self.checks, self.gateway, self.folder = checks, gateway, folder

    def counted(self, what, prompt, generated, end="success/length"):
        ours = self.gateway.counted()
        self.checks.equal(f"{what}: counted", (ours["prompt"], ours["generated"]), (prompt, generated))
        self.checks.equal(f"{what}: end", named(ours, "end"), {end: 1})

    def told(self, what, usage, end="success/length"):
        self.counted(what, usage.prompt_tokens, usage.completion_tokens, end)

    def cut(self, what, least):
        ours = self.gateway.counted()
        self.checks.within(f"{what}: counted", ours["generated"], least, 6000)
        self.checks.equal(f"{what}: end", named(ours, "end"), {"aborted/decode": 1})


def run(binary, folder, servers, checks):
    servers.append(engine := LlamaCpp(folder, "generate"))
    servers.append(gateway := Gateway(folder, "proxy", binary, engine.url))
    clients = Clients(checks, gateway, folder)
    with_openai(clients)
    asyncio.run(with_openai_async(clients))
    with_anthropic(clients)
    with_curl(clients)
    with_node(clients)


# === Python ===


def with_openai(clients):
    name = f"openai {openai.__version__}"
    client = openai.OpenAI(base_url=f"{clients.gateway.url}/v1", api_key="none", max_retries=0)
    ask = client.chat.completions.create
    chat = {**CHAT, **ROOM, "model": "tiny"}
    models = [model.id for model in client.models.list()]
    clients.checks.equal(f"{name}, models", models, ["tiny"])
    clients.told(f"{name}, whole", ask(**chat).usage)
    clients.told(f"{name}, stream with usage", list(ask(**chat, **ASKED))[-1].usage)
    events = list(ask(**chat, stream=True))
    clients.checks.equal(f"{name}, stream: usage not asked for", [e.usage for e in events if e.usage], [])
    clients.counted(f"{name}, stream", 17, 8)
    with client.chat.completions.stream(**chat, stream_options={"include_usage": True}) as stream:
        parts = [event.chunk for event in stream if event.type == "chunk"]
    clients.told(f"{name}, helper", parts[-1].usage)
    tools = {"tools": TOOLS["tools"], "tool_choice": "required", "max_tokens": 60}
    more = {"extra_body": {"logit_bias": TOOLS["logit_bias"]}}
    answer = ask(**{**chat, **tools}, **more)
    call = answer.choices[0].message.tool_calls[0].function
    clients.checks.equal(f"{name}, tool", (call.name, json.loads(call.arguments)), ("look", {"where": "river"}))
    clients.told(f"{name}, tool", answer.usage)
    events = list(ask(**{**chat, **tools}, **more, **ASKED))
    parts = [call.function.arguments or "" for event in events for choice in event.choices
             for call in choice.delta.tool_calls or [] if call.index == 0]
    clients.checks.equal(f"{name}, tool in a stream", json.loads("".join(parts)), {"where": "river"})
    clients.told(f"{name}, tool in a stream", events[-1].usage)
    usage = client.completions.create(model="tiny", prompt="where", **ROOM).usage
    clients.told(f"{name}, completion", usage)
    usage = client.responses.create(model="tiny", input="where", max_output_tokens=8).usage
    clients.counted(f"{name}, responses", usage.input_tokens, usage.output_tokens, "success/stop")
    stream = ask(**{**chat, "max_tokens": 6000}, stream=True)
    for _ in zip(range(6), stream):
        pass
    stream.close()
    clients.cut(f"{name}, closed", 4)
    fails(clients, f"{name}, bad request", openai.BadRequestError, lambda: ask(model="tiny", messages=7))


async def with_openai_async(clients):
    name = f"openai {openai.__version__}, async"
    async with openai.AsyncOpenAI(base_url=f"{clients.gateway.url}/v1", api_key="none", max_retries=0) as client:
        ask = client.chat.completions.create
        chat = {**CHAT, **ROOM, "model": "tiny"}
        clients.told(f"{name}, whole", (await ask(**chat)).usage)
        events = [event async for event in await ask(**chat, **ASKED)]
        clients.told(f"{name}, stream", events[-1].usage)


def with_anthropic(clients):
    name = f"anthropic {anthropic.__version__}"
    client = anthropic.Anthropic(base_url=clients.gateway.url, api_key="none", max_retries=0)
    chat = {**CHAT, **ROOM, "model": "tiny"}

    def told(what, usage):
        prompt = usage.input_tokens + (usage.cache_read_input_tokens or 0)
        clients.counted(what, prompt, usage.output_tokens)

    told(f"{name}, whole", client.messages.create(**chat).usage)
    with client.messages.stream(**chat) as stream:
        "".join(stream.text_stream)
        told(f"{name}, stream", stream.get_final_message().usage)
    with client.messages.stream(**{**chat, "max_tokens": 6000}) as stream:
        for _ in zip(range(5), stream.text_stream):
            pass
    clients.cut(f"{name}, closed", 4)
    fails(clients, f"{name}, bad request", anthropic.BadRequestError,
          lambda: client.messages.create(model="tiny", messages=[{"role": "user", "content": "x" * 60000}],
                                         max_tokens=8), "failure/context_length")


def fails(clients, what, error, send, end="failure/invalid_request"):
    try:
        send()
        seen = None
    except error as raised:
        seen = type(raised)
    clients.checks.equal(what, seen, error)
    clients.checks.equal(f"{what}: end", named(clients.gateway.counted(), "end"), {end: 1})


# === curl ===


def with_curl(clients):
    if not shutil.which("curl"):
        return print("  no curl here")
    url = f"{clients.gateway.url}/v1/chat/completions"
    body = Path(clients.folder, "body.json")
    body.write_text(BODY)
    kinds = {
        "HTTP/1.1": ["-d", BODY],
        "HTTP/1.0": ["--http1.0", "-d", BODY],
        "HTTP/2": ["--http2-prior-knowledge", "-d", BODY],
        "HTTP/2 upgrade": ["--http2", "-d", BODY],
        "stream": ["-N", "-d", STREAM_BODY],
        "HTTP/2 stream": ["-N", "--http2-prior-knowledge", "-d", STREAM_BODY],
        "upload": ["-X", "POST", "-T", str(body)],
        "chunked upload": ["-X", "POST", "-T", str(body), "-H", "transfer-encoding: chunked"],
        "HTTP/2 upload": ["-X", "POST", "-T", str(body), "--http2-prior-knowledge"],
        "100-continue": ["-H", "expect: 100-continue", "--expect100-timeout", "20", "-d", BODY],
        "compressed": ["--compressed", "-d", BODY],
        "twice on one connection": ["-d", BODY, url],
    }
    head = ["curl", "-sS", "-m", "15", "-H", "content-type: application/json", "-w", "%{http_code}"]
    for name, arguments in kinds.items():
        done = subprocess.run([*head, *arguments, url], capture_output=True, text=True, timeout=30)
        times = 2 if name.startswith("twice") else 1
        clients.checks.equal(f"curl {name}", (done.returncode, done.stdout.count("}200") + done.stdout.count("\n200")),
                             (0, times))
        ours = clients.gateway.counted(times)
        seen = (ours["prompt"], ours["generated"], named(ours, "end"))
        clients.checks.equal(f"curl {name}: counted", seen, (17 * times, 8 * times, {"success/length": times}))


# === Node ===

# Twice: whole, and read as it comes.
FETCH = """
const [url, whole, stream] = process.argv.slice(1);
for (const body of [whole, stream]) {
    const answer = await fetch(url, { method: "POST", body, headers: { "content-type": "application/json" } });
    let text = "";
    for await (const part of answer.body.pipeThrough(new TextDecoderStream())) text += part;
    console.log(answer.status, text.match(/"completion_tokens":(\\d+)/)[1], text.endsWith("[DONE]\\n\\n"));
}
const leaves = new AbortController();
const long = JSON.stringify({ ...JSON.parse(stream), max_tokens: 6000 });
const answer = await fetch(url, { method: "POST", body: long, signal: leaves.signal });
await answer.body.getReader().read();
leaves.abort();
"""

OPENAI = """
import OpenAI from "openai";
const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const chat = JSON.parse(process.argv[3]);
console.log((await client.chat.completions.create(chat)).usage.completion_tokens);
let tokens;
for await (const part of await client.chat.completions.create({ ...chat, stream: true,
    stream_options: { include_usage: true } })) tokens = part.usage?.completion_tokens ?? tokens;
console.log(tokens);
"""


def with_node(clients):
    if not shutil.which("node"):
        return print("  no node here")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    name, url = f"node {version}, fetch", f"{clients.gateway.url}/v1/chat/completions"
    done = subprocess.run(
        ["node", "--input-type=module", "-e", FETCH, url, BODY, STREAM_BODY], capture_output=True, text=True, timeout=60
    )
    clients.checks.equal(name, (done.stdout, done.stderr), ("200 8 false\n200 8 true\n", ""))
    ours = clients.gateway.counted(3)
    clients.checks.equal(f"{name}: ends", named(ours, "end"), {"success/length": 2, "aborted/decode": 1})
    if package := os.environ.get("OPENAI_NODE"):
        script = Path(package, "ask.mjs")
        script.write_text(OPENAI)
        done = subprocess.run(["node", script, f"{clients.gateway.url}/v1", BODY], capture_output=True, text=True,
                              timeout=60)
        clients.checks.equal("openai of node", (done.stdout, done.stderr), ("8\n8\n", ""))
        ours = clients.gateway.counted(2)
        clients.checks.equal("openai of node: counted", (ours["prompt"], ours["generated"]), (34, 16))
