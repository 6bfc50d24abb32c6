"""Pods of several namespaces, and a Prometheus that scrapes them as its operator has it done."""

import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from manifests import pod, the
from servers import Prometheus, Server

PODS = {
    "busy-0": "llm",
    "busy-1": "llm",
    "calm-0": "calm",
    "idle-0": "idle",
    "stalled-0": "stalled",
    "prefill-0": "prefill",
    "held-0": "held",
}
# NB: two that differ, so that it is seen whose number is taken.
RATES = {"busy-0": 12, "busy-1": 30, "calm-0": 0.5, "idle-0": 0}
# Behind the others an engine that says nothing to requests: what its page tells of them, how many
# there are, and the proxy's flags.
SILENT = {
    "stalled-0": ({"running": 0, "waiting": 1}, 1, []),
    "prefill-0": ({"running": 1, "waiting": 0}, 1, []),
    "held-0": ({"running": 1, "waiting": 0}, 3, ["--max-running=1"]),
}
MODEL = "iquest-coder-40b"
LONGEST_SECONDS = 240  # a request


def start(binary, folder, servers, name):
    """Starts a pod, and says where its page is."""
    free = ["--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", f"--label=model={MODEL}"]
    if name in SILENT:
        told, requests, flags = SILENT[name]
        upstream = f"--upstream=http://{silent_engine(told)}"
        command = ["proxy", upstream, "--engine=vllm", f"--model={MODEL}", "--gpu=off", *flags, *free]
    else:
        command = ["demo", f"--rate={RATES[name]}", "--gpu=off", *free]
    server = Server(folder, name, binary, *command)
    servers.append(server)
    page = server.says(r"metrics +http://(\S+)/metrics")
    if name in SILENT:
        service = server.says(r"service (http://\S+)")
        for _ in range(requests):
            threading.Thread(target=ask, args=(service,), daemon=True).start()
    return page


def silent_engine(told):
    """An engine with vLLM's page, of which requests get no answer."""
    labels = f'{{engine="0",model_name="{MODEL}"}}'
    lines = [
        f"# TYPE vllm:num_requests_{name} gauge\nvllm:num_requests_{name}{labels} {number}.0\n"
        for name, number in told.items()
    ]
    page = "".join(lines).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            is_page = self.path == "/metrics"
            self.send_response(200 if is_page else 404)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.send_header("content-length", str(len(page) if is_page else 0))
            self.end_headers()
            self.wfile.write(page if is_page else b"")

        def do_POST(self):
            threading.Event().wait(LONGEST_SECONDS)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return "127.0.0.1:%d" % server.server_port


def ask(service):
    body = b'{"stream": true, "messages": [{"role": "user", "content": "Is anybody there?"}]}'
    request = urllib.request.Request(
        f"{service}/v1/chat/completions", body, {"content-type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=LONGEST_SECONDS).read()
    except OSError:
        pass  # it ends with the proxy


class Operator(Prometheus):
    """A Prometheus as its operator sets it up."""

    def __init__(self, folder, pages, objects, rule):
        monitor = the(objects, "PodMonitor")["spec"]
        endpoint = monitor["podMetricsEndpoints"][0]
        job = pod(objects)["metadata"]["labels"][monitor["jobLabel"]]

        def target(name, page):
            labels = {"namespace": PODS[name], "pod": name, "container": "infermeter"}
            return {"targets": [page], "labels": {**labels, "endpoint": endpoint["port"]}}

        def scrape(name, relabelings):
            return {
                "job_name": name,
                "metrics_path": endpoint["path"],
                "relabel_configs": [{"target_label": "job", "replacement": job}, *relabelings],
                "static_configs": [target(*one) for one in pages.items()],
            }

        as_it_comes = {
            **scrape("as-it-comes", []),
            "metric_relabel_configs": [
                {
                    "source_labels": ["__name__"],
                    "regex": "infermeter_requests_received_total",
                    "action": "keep",
                },
                {"source_labels": ["__name__"], "target_label": "__name__", "replacement": "as_it_comes"},
            ],
        }
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [scrape("operator", endpoint["relabelings"]), as_it_comes],
        }
        # JSON is YAML.
        Path(folder, "rules.yml").write_text(json.dumps(rule["spec"]))
        self.start(folder, config)
