"""What infermeter's proxy shall cost, held against what it did cost."""

from dataclasses import dataclass
from statistics import median

from tables import Cells, is_disturbed, row, span


@dataclass
class Goal:
    about: str
    workload: str
    key: str
    must: float
    aim: float | None = None
    peer: str = "infermeter"
    base: str = "nginx"
    is_least: bool = False  # the ratio shall be as great, not as small

    def holds(self, ratio, bound):
        return ratio >= bound if self.is_least else ratio <= bound

    def verdict(self, ratio):
        if not self.holds(ratio, self.must):
            return "**not met**"
        return "met" if self.aim is None or not self.holds(ratio, self.aim) else "met, aim too"

    def bound(self, value):
        return "–" if value is None else f"{'≥' if self.is_least else '≤'} {value:.2f}"


GOALS = [
    Goal("CPU, 1000 paced streams", "b", "cpu_us", 1.0, 0.9),
    Goal("CPU, 200 paced streams", "b2", "cpu_us", 1.1, 0.95),
    Goal("CPU, backlog", "a16", "cpu_us", 1.05, 0.85),
    Goal("CPU, small JSON", "c", "cpu_us", 1.1, 0.9),
    Goal("RSS, 1000 open streams", "b", "rss_mib", 1.0, 0.5),
    Goal("chunk age p50, 1000 paced streams", "b", "age_us.p50", 1.0),
    Goal("chunk age p99, 1000 paced streams", "b", "age_us.p99", 1.0),
    Goal("chunk age p50, 200 paced streams", "b2", "age_us.p50", 1.0),
    Goal("chunk age p99, 200 paced streams", "b2", "age_us.p99", 1.0),
    Goal("CPU, 1000 paced streams", "b", "cpu_us", 1.5, None, "vllm-router", "infermeter", True),
    Goal("CPU, backlog", "a16", "cpu_us", 4.0, None, "vllm-router", "infermeter", True),
]


def table(rounds):
    """Of all workloads that were measured."""
    lines = ["## Goals", "", "Medians of the ratios within each round (least–most)."]
    lines += ["", row(["goal", "of", "must", "aim", "measured", ""]), "|---|---|---|---|---|---|"]
    for goal in GOALS:
        cells = Cells(rounds.get(goal.workload, []))
        ratios = cells.ratios(goal.peer, goal.base, goal.key)
        verdict = goal.verdict(median(ratios)) if ratios else "not measured"
        verdict += ", but disturbed" if ratios and is_disturbed(cells) else ""
        fields = [goal.about, f"{goal.peer} ÷ {goal.base}", goal.bound(goal.must), goal.bound(goal.aim)]
        lines.append(row([*fields, span(ratios), verdict]))
    return "\n".join(lines)
