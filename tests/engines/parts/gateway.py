"""The service in front of an engine, a client of it, and what its page counts for one request."""

import http.client
import socket
import urllib.parse
from collections import Counter

from servers import Page, Server, wait_for

COUNTS = {
    "prompt": "vllm:prompt_tokens_total",
    "generated": "vllm:generation_tokens_total",
    "measured": "vllm:request_total",
}


class Gateway(Server):
    """`examples/pass_through`."""

    def __init__(self, folder, name, binary, engine):
        address = urllib.parse.urlsplit(engine).netloc
        super().__init__(folder, name, binary, address, "127.0.0.1:0", "127.0.0.1:0")
        self.url = self.says(r"(http://\S+) passes on")
        self.page_url = self.says(r"curl (http://\S+/metrics)")
        self.before = self.now()

    def now(self):
        page = Page(self.page_url)
        counts = Counter({what: int(page.sum(name)) for what, name in COUNTS.items()})
        for sample in page.samples:
            if sample.name == "infermeter_requests_total":
                counts["end", f"{sample.labels['outcome']}/{sample.labels['reason']}"] += int(sample.value)
            elif sample.name == "infermeter_token_accounting_total":
                counts["source", sample.labels["source"]] += int(sample.value)
        counts["in flight"] = int(page.sum("infermeter_requests_in_flight"))
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
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)
    try:
        connection.request("POST", path, body, {"content-type": "application/json", **dict(headers)})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


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
