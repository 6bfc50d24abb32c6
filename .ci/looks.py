"""How numbers and colours look on a dashboard, about as Grafana shows them."""

import math
import re

PAGE, PANEL, EDGE, TEXT, FAINT, GRID = "#111217", "#181b1f", "#25282e", "#d5d6dd", "#8b8d96", "#2a2d33"

NAMED = {"green": "#73bf69", "yellow": "#f2cc0c", "red": "#f2495c", "blue": "#5794f2", "transparent": FAINT}
PALETTE = [
    "#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#96d98d", "#ffa6b0", "#c0d8ff",
]

THOUSANDS = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, "")]
COUNTS = [(1e9, " Bil"), (1e6, " Mil"), (1e3, " K"), (1, "")]
BINARY = [(1 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki"), (1, "")]
TIMES = [(3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs")]
SUFFIXES = {"watt": "W", "joule": "J", "hertz": "Hz", "Bps": "B/s"}


def color(name):
    return NAMED.get(name, name)


def digits(value, decimals):
    if decimals is not None:
        return f"{value:.{decimals}f}"
    text = f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}" if value else "0"
    return re.sub(r"\.?0+$", "", text) if "." in text else text


def scaled(value, steps, decimals, unit=""):
    size, prefix = next(((size, prefix) for size, prefix in steps if abs(value) >= size), steps[-1])
    return f"{digits(value / size, decimals)}{' ' if unit else ''}{prefix}{unit}"


def shown(value, unit, decimals=None):
    """A number with its unit."""
    if value is None or not math.isfinite(value):
        return "–"
    if unit == "percentunit":
        return f"{digits(value * 100, decimals)}%"
    if unit == "s":
        return scaled(value, TIMES, decimals) if value else "0 s"
    if unit in ("bytes", "gbytes"):
        return scaled(value * ((1 << 30) if unit == "gbytes" else 1), BINARY, decimals, "B")
    if unit == "decbytes":
        return scaled(value, THOUSANDS, decimals, "B")
    if unit in SUFFIXES:
        return scaled(value, THOUSANDS, decimals, SUFFIXES[unit])
    if unit == "celsius":
        return f"{digits(value, decimals)} °C"
    if unit == "reqps":
        return f"{digits(value, decimals)} req/s"
    if unit == "locale":
        return f"{value:,.0f}"
    if unit == "bool_yes_no":
        return "Yes" if value else "No"
    return scaled(value, COUNTS, decimals)


def at_threshold(value, thresholds):
    """The colour of a value."""
    found = FAINT
    for step in thresholds["steps"]:
        if step["value"] is None or value >= step["value"]:
            found = step["color"]
    return color(found)


def legend(target, labels):
    return re.sub(r"{{(\w+)}}", lambda name: labels.get(name[1], ""), target.said["legendFormat"]).strip()
