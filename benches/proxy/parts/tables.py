"""Markdown out of the cells of all rounds."""

from statistics import median

from peers import NAMES
from workloads import WORKLOADS

QUANTILES = ("p50", "p99")


class Cells:
    """All rounds of one workload: `cells[round][peer]`."""

    def __init__(self, rounds):
        self.rounds = rounds

    def peers(self):
        return list(dict.fromkeys(peer for cells in self.rounds for peer in sorted(cells)))

    def of(self, peer, key):
        return [value for cells in self.rounds if (value := pick(cells.get(peer), key)) is not None]

    def median(self, peer, key):
        values = self.of(peer, key)
        return median(values) if values else None

    def ratios(self, peer, base, key):
        """Those within each round, since rounds differ more than peers do."""
        pairs = [(pick(cells.get(peer), key), pick(cells.get(base), key)) for cells in self.rounds]
        return [one / other for one, other in pairs if one is not None and other]

    def ratio(self, peer, base, key):
        ratios = self.ratios(peer, base, key)
        return median(ratios) if ratios else None


def pick(cell, key):
    for part in key.split("."):
        cell = cell.get(part) if cell is not None else None
    return cell


def table(name, rounds):
    """One workload."""
    workload, cells = WORKLOADS[name], Cells(rounds)
    streams = workload.unit == "chunk"
    unit, rate, times = ("chunk", "chunks_s", "age_us") if streams else ("req", "req_s", "total_us")
    age = "chunk age" if streams else "total"
    header = ["peer", rate, f"CPU µs/{unit}", "CPU ÷ nginx (least–most)", "CPU ÷ bare"]
    header += [f"{age} µs p50 / p99", f"{age} ÷ nginx p50 / p99"]
    header += ["TTFT µs p50 / p99", "client reads/chunk"] if streams else []
    header += ["RSS MiB", "RSS ÷ nginx", "waited %", "errors"]

    lines = [f"## {name} ({len(rounds)} rounds)", "", f"{workload.about[0].upper()}{workload.about[1:]}.", ""]
    lines += [row(header), "|" + "---|" * len(header)]
    for peer in sorted(cells.peers(), key=NAMES.index):
        fields = [peer, whole(cells.median(peer, "per_second")), two(cells.median(peer, "cpu_us"))]
        fields += [span(cells.ratios(peer, "nginx", "cpu_us")), two(cells.ratio(peer, "bare", "cpu_us"))]
        fields.append(both(cells, peer, times))
        fields.append(" / ".join(two(cells.ratio(peer, "nginx", f"{times}.{quantile}")) for quantile in QUANTILES))
        if streams:
            fields.append(both(cells, peer, "ttft_us"))
            fields.append(two(cells.median(peer, "reads_per_chunk")))
        fields += [whole(cells.median(peer, "rss_mib")), two(cells.ratio(peer, "nginx", "rss_mib"))]
        fields += [whole(100 * cells.median(peer, "waited")), str(sum(cells.of(peer, "failed")))]
        lines.append(row(fields))
    return "\n".join([*lines, "", told(errors(rounds)), *disturbed(cells)])


def disturbed(cells):
    if not is_disturbed(cells):
        return []
    return ["", "**Disturbed**: other programs used the processor of the proxies. Repeat it on a quiet machine."]


def is_disturbed(cells):
    """Whether the processor of the proxies was not theirs alone."""
    waited = [cells.median(peer, "waited") for peer in cells.peers() if peer != "direct"]
    return max(waited, default=0) >= 0.2


def errors(rounds):
    """Each of them, with its place."""
    found = [
        f"{peer}, round {number}: {count} × {what}, of {cell['requests']} requests"
        for number, cells in enumerate(rounds, 1)
        for peer, cell in sorted(cells.items())
        for what, count in cell["errors"].items()
    ]
    # What is neither complete nor failed, and was not cut, is nowhere.
    found += [
        f"{peer}, round {number}: {cell['requests']} requests, but {cell['complete']} complete"
        for number, cells in enumerate(rounds, 1)
        for peer, cell in sorted(cells.items())
        if cell["requests"] != cell["complete"] + cell["cut"] + cell["failed"]
    ]
    return found


def told(errors):
    if not errors:
        return "No errors: every answer had all that was sent."
    return "\n".join(["Errors:", "", *(f"- {error}" for error in errors)])


def both(cells, peer, times):
    return " / ".join(whole(cells.median(peer, f"{times}.{quantile}")) for quantile in QUANTILES)


def row(fields):
    return f"| {' | '.join(fields)} |"


def span(ratios):
    return f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else "–"


def whole(number):
    return "–" if number is None else f"{number:.0f}"


def two(number):
    return "–" if number is None else f"{number:.2f}"
