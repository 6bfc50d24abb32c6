"""What a proxy's page says."""

import re
import urllib.request
from collections import Counter

SAMPLE = re.compile(r'^([\w:]+)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Page:
    """One scrape."""

    def __init__(self, url):
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        found = (SAMPLE.match(line) for line in text.splitlines() if not line.startswith("#"))
        self.samples = [
            (sample[1], dict(LABEL.findall(sample[2] or "")), float(sample[3])) for sample in found if sample
        ]

    def sum(self, name):
        """0 where there is none: some have no series before they count."""
        return int(sum(value for found, _, value in self.samples if found == name))

    def values(self, name, label):
        """Of one label of a family, where it counts something."""
        return {labels[label] for found, labels, value in self.samples if found == name and value}

    def counts(self):
        """What is compared, by a name of ours."""
        counts = Counter(
            received=self.sum("infermeter_requests_received_total"),
            ended=self.sum("vllm:request_total"),
            in_flight=self.sum("infermeter_requests_in_flight"),
            tokens=self.sum("vllm:generation_tokens_total"),
        )
        for name, labels, value in self.samples:
            if name == "infermeter_requests_total":
                counts[labels["outcome"]] += int(value)
        return counts

    def identity(self):
        """Holds at every scrape, exactly: all that was received has ended or is in flight."""
        counts = self.counts()
        return counts["received"] == counts["ended"] + counts["in_flight"]
