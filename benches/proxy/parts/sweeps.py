"""One quantity after the other is made greater, and the load on the proxy stays the same: 10 chunks at each
millisecond, so that a chunk that costs more than another is seen, and a busier processor is not."""

import json
import subprocess
import time
import urllib.request
from dataclasses import dataclass

from workloads import load_command

# Streams begin over the first three of them, and all run until the end.
SECONDS, RAMP = 10, 3
MODELS = 64


@dataclass
class Point:
    x: int
    connections: int
    chunks: int
    gap_ms: int
    models: int = 1

    def ramp(self):
        """With one gap more, so that not all streams write at the same moments."""
        return RAMP + self.gap_ms / 1000

    def options(self):
        streams = max(1, round(1000 * SECONDS / (self.chunks * self.gap_ms)))
        return [
            "--text", f"chunks={self.chunks} gap_ms={self.gap_ms} per_write=1", "--models", str(self.models),
            "--connections", str(self.connections), "--count", str(streams * self.connections),
            "--ramp-ms", str(round(1000 * self.ramp())),
        ]  # fmt: skip


@dataclass
class Sweep:
    about: str
    unit: str
    points: list


def sweeps(files):
    """A stream through a proxy needs two of `files`."""
    most = min(10_000, (files - 200) // 2)
    by_streams = [(10, 1), (100, 10), (1000, 100), (most, 1000)]
    return {
        "chunks": Sweep(
            "10 streams at a time, each so long; what the request costs is in it", "chunks per stream",
            [Point(chunks, 10, chunks, 1) for chunks in (10, 100, 1000, 10_000)],
        ),
        "models": Sweep(
            "100 streams of 10 chunks at a time, for so many models in turn; what the request costs is in it", "models",
            [Point(models, 100, 10, 10, models) for models in (1, 4, 16, MODELS)],
        ),
        "streams": Sweep(
            "so many streams are open, each the slower the more there are", "open streams",
            [Point(count, count, 1000 * SECONDS // gap, gap) for count, gap in by_streams],
        ),
    }  # fmt: skip


def measure(peer, engine, point, processor):
    """What a chunk costs while all streams run: neither their beginning nor their end is in it."""
    command = load_command(peer.address, processor, *point.options())
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        try:
            time.sleep(point.ramp() + 0.5)
            before = chunks(engine), *peer.server.time()
            time.sleep(SECONDS - point.ramp() - 1)
            sent, ran, waited = (
                after - early for after, early in zip((chunks(engine), *peer.server.time()), before, strict=True)
            )
            memory = peer.server.memory()
            seen = json.loads(load.communicate()[0])
        finally:
            load.kill()
    peer.server.check()
    return {
        "cpu_us": 1e6 * ran / sent if sent else None,
        "waited": waited / (ran + waited) if ran else 0,
        "rss_mib": memory,
        **seen,
    }


def chunks(engine):
    """That it has written so far."""
    with urllib.request.urlopen(f"http://{engine}/simulator/totals", timeout=10) as answer:
        return json.load(answer)["chunks"]
