"""vLLM, its processes, and what it counts itself (`/metrics`)."""

import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
from pathlib import Path

from servers import Server, get, wait_for

SCRIPT = Path(__file__).resolve().parent.parent / "vllm"

START_SECONDS = 300

COUNTS = {
    "prompt": "vllm:prompt_tokens_total",
    "generated": "vllm:generation_tokens_total",
    "finished": "vllm:request_success_total",
    "refused": "vllm:admission_rejections_total",
    "running": "vllm:num_requests_running",
    "waiting": "vllm:num_requests_waiting",
    "queued": "vllm:request_queue_time_seconds_count",
    "queue seconds": "vllm:request_queue_time_seconds_sum",
}


class Vllm(Server):
    tries = 20

    def __init__(self, folder, name, *options):
        port = free_port()
        super().__init__(folder, name, "env", f"PORT={port}", str(SCRIPT), *options)
        self.name = "vLLM"
        self.url = f"http://127.0.0.1:{port}"
        self.processes = [self.process.pid]
        wait_for("vLLM's health", self.is_up, START_SECONDS)
        self.processes = [self.process.pid, *children(self.process.pid)]

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"vLLM has ended with {self.process.returncode}")
        try:
            return get(f"{self.url}/health") == ""
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.3)

    def core(self):
        """The process that has the model, and those below it."""
        [core] = [pid for pid in self.processes if "EngineCore" in command(pid)]
        return core

    def stop(self):
        super().stop()
        for pid in self.processes[1:]:
            if command(pid):
                os.kill(pid, signal.SIGKILL)

    def counters(self):
        text, counts = get(f"{self.url}/metrics"), {}
        for what, name in COUNTS.items():
            values = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.M)
            assert values, f"vLLM does not count {name}"
            counts[what] = sum(map(float, values))
        return {what: value if "seconds" in what else int(value) for what, value in counts.items()}

    def at_rest(self):
        """NB: it counts a moment after it has answered."""
        was = {}

        def is_same():
            nonlocal was
            time.sleep(0.06)
            was, before = self.counters(), was
            return was if was == before and not was["running"] and not was["waiting"] else None

        return wait_for("vLLM at rest", is_same, 60)

    def counted_since(self, before, _case=None, _answer=None):
        after = self.at_rest()
        return {what: after[what] - before[what] for what in after}

    def counted_at_rest(self, before):
        return self.counted_since(before)["generated"]


def children(pid):
    below = [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]
    return below + [further for child in below for further in children(child)]


def command(pid):
    """NB: its processes change their names; the command line shows it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def install():
    subprocess.run([SCRIPT, "install"], check=True)
