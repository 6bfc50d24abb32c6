#!/usr/bin/env python3
"""Writes the rules of deploy/prometheus as an object for the Prometheus operator.

    .ci/prometheus_rule.py [--check]

With --check nothing is written, and it fails if the file is not what would be.
"""

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
FROM = "deploy/prometheus/rules"
TO = ROOT / "deploy/kubernetes/components/rules/prometheusrule.yaml"
HEAD = f"""\
# Written from {FROM}: .ci/prometheus_rule.py. The comments are there.
# If your operator selects by a label (kube-prometheus-stack: release), add it.
"""


class Dumper(yaml.SafeDumper):
    """Texts of several lines stay that."""


def text(dumper, value):
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def render():
    files = sorted((ROOT / FROM).glob("*.yaml"))
    assert files, f"there are no rules in {FROM}"
    groups = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    names = [group["name"] for group in groups]
    assert len(set(names)) == len(names), f"groups of one name: {names}"
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "infermeter"},
        "spec": {"groups": groups},
    }
    Dumper.add_representer(str, text)
    return HEAD + yaml.dump(rule, Dumper=Dumper, sort_keys=False, width=1000, allow_unicode=True)


def main():
    written = render()
    if sys.argv[1:] == ["--check"]:
        if not TO.exists() or TO.read_text() != written:
            sys.exit(f"{TO.relative_to(ROOT)} is not what the rules say: run .ci/prometheus_rule.py")
        return
    assert not sys.argv[1:], __doc__
    TO.write_text(written)


if __name__ == "__main__":
    main()
