"""Pods of several namespaces, and a Prometheus that scrapes them as its operator has it done."""

import json
import socket
import threading
import urllib.request
from pathlib import Path

from manifests import pod, the
from servers import Prometheus, Server

PODS = {"busy-0": "llm", "busy-1": "llm", "calm-0": "calm", "idle-0": "idle", "stalled-0": "stalled"}
# NB: two that differ, so that it is seen whose number is taken.
RATES = {"busy-0": 12, "busy-1": 30, "calm-0": 0.5, "idle-0": 0}
LONGEST_SECONDS = 240  # a request


def start(binary, folder, servers, name):
    """Starts a pod, and says where its page is."""
    free = ["--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", "--label=model=iquest-coder-40b"]
    if name == "stalled-0":
        command = ["proxy", f"--upstream=http://{nobody_answers()}", "--gpu=off", *free]
    else:
        command = ["demo", f"--rate={RATES[name]}", "--gpu=off", *free]
    server = Server(folder, name, binary, *command)
    servers.append(server)
    page = server.says(r"metrics +http://(\S+)/metrics")
    if name == "stalled-0":
        service = server.says(r"service (http://\S+)")
        threading.Thread(target=ask, args=(service,), daemon=True).start()
    return page


def nobody_answers():
    """An engine that takes connections, and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    taken = []

    def take():
        while True:
            taken.append(listener.accept())

    threading.Thread(target=take, daemon=True).start()
    return "127.0.0.1:%d" % listener.getsockname()[1]


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
