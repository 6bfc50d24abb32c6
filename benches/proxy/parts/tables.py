"""Markdown out of the cells of all rounds."""

from statistics import median

from workloads import WORKLOADS


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

    def ratio(self, peer, base, key):
        """The median of the ratios within each round, since rounds differ more than peers do."""
        pairs = [(pick(cells.get(peer), key), pick(cells.get(base), key)) for cells in self.rounds]
        ratios = [one / other for one, other in pairs if one is not None and other]
        return median(ratios) if ratios else None


def pick(cell, key):
    for part in key.split("."):
        cell = cell.get(part) if cell is not None else None
    return cell


def table(name, rounds, order):
    """One workload."""
    workload, cells = WORKLOADS[name], Cells(rounds)
    streams = workload.unit == "chunk"
    unit, rate = ("chunk", "chunks_s") if streams else ("req", "req_s")
    header = ["peer", rate, f"CPU µs/{unit} median (min–max)", "CPU ÷ nginx", "CPU ÷ bare", f"{rate} ÷ direct"]
    if streams:
        header += ["chunk age µs p50 / p99", "TTFT µs p50 / p99", "client reads/chunk"]
    else:
        header += ["total µs p50 / p99"]
    header += ["RSS MiB", "waited %", "errors"]

    lines = [f"### workload {name} ({len(rounds)} rounds)", "", f"{workload.about[0].upper()}{workload.about[1:]}.", ""]
    lines += [row(header), "|" + "---|" * len(header)]
    for peer in sorted(cells.peers(), key=order.index):
        cpu = cells.of(peer, "cpu_us")
        spread = f"{median(cpu):.2f} ({min(cpu):.2f}–{max(cpu):.2f})" if cpu else "–"
        fields = [peer, whole(cells.median(peer, "per_second")), spread]
        fields += [two(cells.ratio(peer, base, "cpu_us")) for base in ("nginx", "bare")]
        fields.append(two(cells.ratio(peer, "direct", "per_second")))
        for times in ["age_us", "ttft_us"] if streams else ["total_us"]:
            fields.append(" / ".join(whole(cells.median(peer, f"{times}.{p}")) for p in ("p50", "p99")))
        if streams:
            reads = cells.median(peer, "reads_per_chunk")
            fields.append("–" if reads is None else f"{reads:.3f}")
        fields += [whole(cells.median(peer, "rss_mib")), whole(100 * cells.median(peer, "waited"))]
        fields.append(str(sum(cells.of(peer, "failed"))))
        lines.append(row(fields))
    return "\n".join([*lines, "", errors(rounds), *disturbed(cells)])


def disturbed(cells):
    """Whether the processor of the proxies was not theirs alone."""
    waited = [cells.median(peer, "waited") for peer in cells.peers() if peer != "direct"]
    if max(waited, default=0) < 0.2:
        return []
    return ["", "**Disturbed**: other programs used the processor of the proxies. Repeat it on a quiet machine."]


def errors(rounds):
    """Each of them, with its place."""
    found = [
        f"- {peer}, round {number}: {count} × {what}, of {cell['requests']} requests"
        for number, cells in enumerate(rounds, 1)
        for peer, cell in sorted(cells.items())
        for what, count in cell["errors"].items()
    ]
    # What is neither complete nor failed, and was not cut, is nowhere.
    found += [
        f"- {peer}, round {number}: {cell['requests']} requests, but {cell['complete']} complete"
        for number, cells in enumerate(rounds, 1)
        for peer, cell in sorted(cells.items())
        if cell["requests"] != cell["complete"] + cell["cut"] + cell["failed"]
    ]
    return "\n".join(["Errors:", "", *found]) if found else "No errors: every answer had all that was sent."


def row(fields):
    return f"| {' | '.join(fields)} |"


def whole(number):
    return "–" if number is None else f"{number:.0f}"


def two(number):
    return "–" if number is None else f"{number:.2f}"
