"""What is asked of each peer, and what it has cost."""

import json
import subprocess
from dataclasses import dataclass, field

from peers import OURS


@dataclass
class Workload:
    about: str
    text: str
    connections: int
    options: list = field(default_factory=list)
    unit: str = "chunk"


WORKLOADS = {
    "a16": Workload(
        "streams of 1000 chunks without delay, 32 connections, 16 events a write",
        "chunks=1000 gap_ms=0 per_write=16", 32, ["--seconds", "3"],
    ),
    "b2": Workload(
        "streams of 100 chunks at 20 ms, 200 connections, two each",
        "chunks=100 gap_ms=20 per_write=1", 200, ["--count", "400", "--ramp-ms", "2000"],
    ),
    "b": Workload(
        "streams of 100 chunks at 20 ms, 1000 connections, two each",
        "chunks=100 gap_ms=20 per_write=1", 1000, ["--count", "2000", "--ramp-ms", "2000"],
    ),
    "c": Workload(
        "small JSON, not streamed, 64 connections",
        "chunks=16", 64, ["--seconds", "3", "--plain"], unit="request",
    ),
}


def load_command(address, processor, *options):
    return ["taskset", "-c", str(processor), str(OURS / "load"), "--address", address, *options]


def load(address, processor, *options):
    """Runs the load generator to its end."""
    done = subprocess.run(load_command(address, processor, *options), stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def open_connections(peer, workload, processor):
    """A stream on each of them, all at once: while others had their turns, some peers have closed those to the engine."""
    connections = str(workload.connections)
    options = ["--connections", connections, "--count", connections, "--ramp-ms", "500"]
    load(peer.address, processor, "--text", "chunks=1 gap_ms=1000 per_write=1", *options)


def measure(peer, name, processor):
    """One cell: what the load has seen, and what the peer has used for it."""
    workload = WORKLOADS[name]
    open_connections(peer, workload, processor)
    peer.server.forget_peak()
    ran, waited = peer.server.time()
    seen = load(
        peer.address, processor, "--text", workload.text,
        "--connections", str(workload.connections), *workload.options,
    )
    peer.server.check()
    ran, waited = peer.server.time()[0] - ran, peer.server.time()[1] - waited
    units = seen["chunks" if workload.unit == "chunk" else "complete"]
    return {
        "peer": peer.name,
        "workload": name,
        "per_second": units / seen["seconds"],
        "cpu_us": ran / units * 1e6 if units else None,
        "cpu_share": ran / seen["seconds"],
        "waited": waited / (ran + waited) if ran else 0,
        "rss_mib": peer.server.memory("VmHWM"),
        **seen,
    }
