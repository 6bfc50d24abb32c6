"""A proxy under load, looked at again and again."""

import threading
import time
from statistics import median

from page import Page


class Watch:
    """Samples in a thread of its own, from `with` to its end."""

    def __init__(self, peer, seconds=1.0):
        self.peer, self.seconds = peer, seconds
        self.samples, self.scrapes, self.odd, self.error = [], 0, [], None
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.started = time.monotonic()
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()

    def run(self):
        try:
            while not self.is_over.wait(self.seconds):
                self.sample()
        except Exception as error:  # is told with all other results
            self.error = repr(error)

    def sample(self):
        server = self.peer.server
        # NB: before the scrape, which has a descriptor of its own.
        sample = {
            "at": time.monotonic() - self.started,
            "memory": server.memory(),
            "descriptors": server.descriptors(),
            "threads": server.threads(),
            "in_flight": None,
        }
        if self.peer.metrics:
            page = Page(self.peer.metrics)
            counts = page.counts()
            self.scrapes += 1
            sample["in_flight"] = counts["in_flight"]
            if not page.identity():
                self.odd.append(dict(counts))
        self.samples.append(sample)

    def median(self, key, start, end):
        """Of the samples between two times."""
        values = [sample[key] for sample in self.samples if start <= sample["at"] < end]
        return median(values) if values else None

    def table(self, step=5):
        lines = ["     s  in flight   RSS MiB  descriptors  threads"]
        due = 0
        for sample in self.samples:
            if sample["at"] >= due:
                due = sample["at"] + step
                flight = "–" if sample["in_flight"] is None else sample["in_flight"]
                lines.append(
                    f"{sample['at']:6.0f} {flight:>10} {sample['memory']:9.1f}"
                    f" {sample['descriptors']:12} {sample['threads']:8}"
                )
        return "\n".join(lines)
