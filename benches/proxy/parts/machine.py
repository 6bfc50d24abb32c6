"""Where it was measured, and what."""

import datetime
import os
import platform
import subprocess
from pathlib import Path

import peers


def head(title, chosen, names, binaries, stolen):
    """The start of a report; those of `names` that are not `chosen` were not measured."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True)
    said = [
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        f"{model[0].partition(':')[2].strip() if model else 'a processor'}, {os.cpu_count()} processors",
        f"Linux {platform.release()}",
        compiler.stdout.strip(),
        f"load average {os.getloadavg()[1]:.1f}",
        f"{stolen:.1f} s stolen by the host",
    ]
    lines = [f"# {title}", "", "; ".join(said) + ".", "", "| peer | version |", "|---|---|"]
    for name in names:
        shown = peers.version(name, binaries) if name in chosen else "not measured"
        lines.append(f"| {name} | {shown} |")
    return "\n".join(lines)


def steal():
    """Seconds that the host gave to others, of all processors."""
    return int(Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")
