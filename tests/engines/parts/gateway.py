"""The proxy in front of an engine, a client of it, and what its page counts for one request."""

import http.client
import json
import re
import socket
import urllib.parse
from collections import Counter

from servers import Page, Server, get, wait_for

COUNTS = {
    "prompt": "vllm:prompt_tokens_total",
    "generated": "vllm:generation_tokens_total",
    "measured": "vllm:request_total",
}

# What differs from one answer to the next of the same engine: names, times, and what it remembers.
VARIES = re.compile(
    rb'(?P<name>"(?:id|created|created_at|completed_at|(?:item|response|request|call)_id|timings|time_ms|'
    rb'cached_tokens|cache_read_input_tokens|input_tokens|cache|processed|cache_n|tokens_cached|'
    rb'generation_settings|metrics)": ?)(?:"[^"]*"|[\d.e+-]+|\{[^{}]*\})|^: .*\n\n',
    re.MULTILINE,
)

# Of a connection, or of the moment.
NOT_PASSED = {"connection", "content-length", "date", "keep-alive", "transfer-encoding"}


class Gateway(Server):
    """`infermeter proxy`."""

    def __init__(self, folder, name, binary, engine, *options):
        super().__init__(
            folder, name, binary, "proxy", f"--upstream={engine}", "--listen=127.0.0.1:0",
            "--metrics-listen=127.0.0.1:0", *options,
        )
        self.url = self.says(r"service (http://\S+)")
        self.page_url = self.says(r"metrics (http://\S+/metrics)")
        self.model = json.loads(get(f"{engine}/v1/models"))["data"][0]["id"]
        # It asks the engine too, and does not wait for that with requests.
        wait_for("the model on the page", lambda: f'request_total{{model_name="{self.model}"}}' in Page(self.page_url).text)
        self.before = self.now()

    def stop(self):
        # It would wait for a last scrape.
        self.process.kill()
        self.process.wait()

    def now(self):
        page = Page(self.page_url)
        counts = Counter({what: int(page.sum(name)) for what, name in COUNTS.items()})
        for sample in page.samples:
            if sample.name == "infermeter_requests_total":
                counts["end", f"{sample.labels['outcome']}/{sample.labels['reason']}"] += int(sample.value)
            elif sample.name == "infermeter_token_accounting_total":
                counts["source", sample.labels["source"]] += int(sample.value)
            elif sample.name in COUNTS.values():
                counts["model", sample.labels["model_name"]] += int(sample.value)
        counts["in flight"] = int(page.sum("infermeter_requests_in_flight"))
        counts["received"] = int(page.sum("infermeter_requests_received_total"))
        return counts

    def has_more(self):
        """Whether a request has come since."""
        now = self.now()
        return now["in flight"] or now["measured"] > self.before["measured"]

    def counted(self, requests=1):
        """Waits for the end of some requests, and tells what was counted since the last time."""

        def ended():
            now = self.now()
            counts = Counter({what: now[what] - self.before[what] for what in now})
            ends = sum(count for what, count in counts.items() if what[0] == "end")
            return (now, counts) if now["in flight"] == 0 and ends >= requests else None

        self.before, counts = wait_for(f"the end of {requests} requests", ended)
        return counts


def named(counts, kind):
    """`{"success/stop": 1}`: what there is of the ends, or of the sources."""
    return {what[1]: count for what, count in counts.items() if what[0] == kind and count}


def post(url, path, body, headers=()):
    """One request on a connection of its own: the status, and the body whole."""
    return ask(url, path, body, headers)[:2]


def ask(url, path, body, headers=()):
    """The same, and the headers of the answer."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=120)
    try:
        connection.request("POST", path, body, {"content-type": "application/json", **dict(headers)})
        answer = connection.getresponse()
        return answer.status, answer.read(), headers_of(answer)
    finally:
        connection.close()


def headers_of(answer):
    pairs = ((name.lower(), value) for name, value in answer.getheaders())
    return sorted(pair for pair in pairs if pair[0] not in NOT_PASSED)


def without_what_varies(answer):
    """For two answers of the same engine to the same request."""
    return VARIES.sub(rb"\g<name>", answer)


def cut(url, path, body, content, after, has_come):
    """Leaves once it has seen so many events with content, of which each has `content` once, and
    not before `has_come` says that the request is there. Tells how many it has seen."""
    address = urllib.parse.urlsplit(url)
    head = f"POST {path} HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\n"
    read = b""
    with socket.create_connection((address.hostname, address.port), timeout=30) as client:
        client.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        wait_for("the request to be there", has_come)
        while (seen := read.count(content)) < after:
            more = client.recv(256)
            assert more, f"ended after {seen} events with content"
            read += more
    return seen
