"""How many series a page has, by what is on it: measured on pages with more and less of it."""

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deployed import end
from manifests import ROOT
from servers import Page, Server, wait_for

MODEL = "tiny-qwen"  # of the page below


def measured(binary, folder, servers):
    """The rows of the table in docs/operations.md."""

    def series(*arguments, until, **variables):
        variables = [f"{name}={value}" for name, value in variables.items()]
        free = ["--metrics-listen=127.0.0.1:0"]
        server = Server(folder, "counted", "env", *variables, binary, *arguments, *free)
        servers.append(server)
        page = server.says(r"metrics +(http://\S+)")
        # What comes last.
        last = (*until, "infermeter_process_threads")
        wait_for(last, lambda: all(f"\n{some}" in Page(page).text for some in last))
        # NB: that one is there only where a control group limits memory.
        count = sum(sample.name != "infermeter_process_memory_limit_bytes" for sample in Page(page).samples)
        end(server)
        return count

    def proxy(*arguments, engine="http://127.0.0.1:1", until=('infermeter_source_up{source="engine"}',)):
        return series(
            "proxy", "--gpu=off", f"--upstream={engine}", "--listen=127.0.0.1:0", *arguments, until=until
        )

    def gpus(count, what):
        return series(
            "exporter",
            "--engine=none",
            "--gpu-devices=all",
            f"--nvml-library={library}",
            f"--gpu-metrics={what}",
            until=("infermeter_engine_gpu_info",),
            FAKE_COUNT=count,
        )

    def more(*arguments):
        return proxy("--model=a", "--model=b", *arguments) - proxy("--model=a", *arguments)

    library = f"{folder}/counted.so"
    source = str(ROOT / "tests/gpu/driver.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
    text = (ROOT / "tests/data/pages/vllm-0.32/metrics.http").read_text().split("\n\n", 1)[1]
    one, two = serve(text), serve(with_another_rank(text))
    vllm = [f"--model={MODEL}", "--engine=vllm"]
    known = {"until": ("vllm:kv_cache_usage_perc", "infermeter_token_drift_total")}
    alone, with_state = proxy("--model=a"), proxy(*vllm, "--engine-page=off", engine=one, **known)
    merged = proxy(*vllm, engine=one, **known)
    two_states = proxy(*vllm, "--engine-page=off", engine=two, **known)
    return [
        ("a page, without models", alone - more()),
        ("each model", more()),
        ("the same with `--no-aliases`", more("--no-aliases")),
        ("each model with `--max-running`, more", more("--max-running=8") - more()),
        ("state and queue times of vLLM, one model and engine", with_state - alone),
        ("what vLLM tells beyond that, passed on (`--engine-page merge`)", merged - with_state),
        ("each data-parallel engine more, of ours", two_states - with_state),
        ("each GPU", gpus(2, "default") - gpus(1, "default")),
        ("the same with `--gpu-metrics extended`", gpus(2, "extended") - gpus(1, "extended")),
    ]


class Quiet(ThreadingHTTPServer):
    def handle_error(self, *_):
        """A proxy that ends leaves its answer."""


def serve(text):
    """An engine that has nothing but this page."""

    class Engine(BaseHTTPRequestHandler):
        def do_GET(self):
            body = text.encode() if self.path == "/metrics" else b""
            self.send_response(200 if body else 404)
            self.send_header("content-type", "text/plain")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = Quiet(("127.0.0.1", 0), Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def with_another_rank(text):
    lines = []
    for line in text.splitlines():
        other = line.replace('engine="0"', 'engine="1"')
        lines += [line] if other == line else [line, other]
    return "\n".join(lines) + "\n"


def table(rows):
    return "".join(f"| {what} | {count} |\n" for what, count in rows)
