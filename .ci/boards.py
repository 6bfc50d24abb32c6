"""The dashboards below deploy/grafana, as files: what is in them, and what must hold of them."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import promql_parser

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy/grafana"

# What Prometheus itself adds to each target.
OF_PROMETHEUS = {"up": {"job", "instance"}}
# Of the target, of a static label or an upstream.
EVERYWHERE = {"job", "instance", "variant", "upstream"}

VARIABLES = ["datasource", "job", "instance", "model", "variant"]
SCHEMA = 38  # of Grafana 10.0
# Windows that are part of a question, such as "in the last hour".
WINDOWS = {"$__rate_interval", "$__range", "5m", "1h"}
RATE_WINDOWS = {"$__rate_interval", "$__range"}


@dataclass
class Target:
    """One expression of a panel."""

    board: str
    panel: dict
    said: dict

    @property
    def name(self):
        return f"{self.board} / {self.panel['title']} / {self.said['refId']}"

    @property
    def expression(self):
        return self.said["expr"]

    @property
    def is_instant(self):
        return self.said["instant"]

    @property
    def is_ratio(self):
        """Whether its values go from 0 to 1; a column of a table has a unit of its own."""
        unit = self.panel["fieldConfig"]["defaults"]["unit"]
        return "percentunit" == units_of_columns(self.panel).get(self.said["refId"], unit)


def units_of_columns(panel):
    names = {}
    for change in panel["transformations"]:
        names |= change["options"].get("renameByName", {})
    units = {}
    for override in panel["fieldConfig"]["overrides"]:
        unit = [p["value"] for p in override["properties"] if p["id"] == "unit"]
        units |= {column[-1]: unit[0] for column, name in names.items() if unit and name == override["matcher"]["options"]}
    return units


def read():
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def targets(board):
    return [Target(board["uid"], panel, said) for panel in board["panels"] for said in panel.get("targets", [])]


def filled(text, values):
    """What Grafana does before it asks: the longest names go first, as `$__range` is no `$__rate_…`."""
    for name in sorted(values, key=len, reverse=True):
        text = text.replace(f"${name}", values[name])
    return text


# === The catalogue ===


def catalogue():
    """The labels of each sample that can be on a page, as docs/metrics.md says."""
    samples = dict(OF_PROMETHEUS)
    for line in (ROOT / "docs/metrics.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 7 or cells[2] not in ("counter", "gauge", "histogram"):
            continue
        labels = EVERYWHERE | set(re.findall(r"`(\w+)`", cells[3]))
        for name in re.findall(r"`([\w:]+)`", f"{cells[0]} {cells[1]}"):
            if cells[2] == "histogram":
                samples |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
            else:
                samples[name] = labels
    return samples


ANY = {"job": "a", "instance": "a", "model": "a", "variant": "a", "gpu": "a", "__rate_interval": "1m", "__range": "1h"}


def selectors(expression):
    found = []

    def visit(node):
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(expression, visit)
    return found


def flaws_of_expression(text, samples):
    """What an expression asks for that there is not."""
    try:
        parsed = promql_parser.parse(filled(text, ANY))
    except ValueError as error:
        return [f"does not parse: {error}"]
    flaws = []
    for selector in selectors(parsed):
        known = samples.get(selector.name)
        if known is None:
            flaws.append(f"no such metric: {selector.name}")
            continue
        asked = {matcher.name for matcher in selector.matchers.matchers}
        flaws += [f"{selector.name} has no label {label}" for label in sorted(asked - known)]

    def grouped(node):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            known = set().union(*(samples.get(s.name, set()) for s in selectors(node.expr)))
            flaws.extend(f"no label {label} in {node}" for label in node.modifier.labels if label not in known)

    promql_parser.walk(parsed, grouped)
    windows = set(re.findall(r"\[([^\]]+)\]", text))
    flaws += [f"a window of its own: {window}" for window in windows - WINDOWS]
    rates = set(re.findall(r"\brate\([^\[]*\[([^\]]+)\]", text))
    flaws += [f"a rate over {window}" for window in rates - RATE_WINDOWS]
    return flaws


def strays(text):
    """Every part of an expression is about the job and the instance that are chosen."""
    try:
        found = selectors(promql_parser.parse(filled(text, ANY)))
    except ValueError:
        return  # told elsewhere
    for selector in found:
        chosen = {m.name: m.value for m in selector.matchers.matchers if m.op == promql_parser.MatchOp.Re}
        if {"job": ANY["job"], "instance": ANY["instance"]}.items() - chosen.items():
            yield f"{selector.name} is of another job or instance than is chosen"


# === What must hold ===


def flaws(boards):
    """Everything that is wrong with the files, in words."""
    samples = catalogue()
    variables = {board["uid"]: names_of_variables(board) for board in boards.values()}
    for stem, board in boards.items():
        for flaw in (*of_board(stem, board), *of_variables(board, samples), *of_layout(board)):
            yield f"{stem}: {flaw}"
        for panel in board["panels"]:
            if panel["type"] != "row":
                for flaw in (*of_panel(panel), *of_targets(panel, samples), *of_links(panel, variables)):
                    yield f"{stem}: {panel['title']}: {flaw}"


def names_of_variables(board):
    return [variable["name"] for variable in board["templating"]["list"]]


def of_board(stem, board):
    expected = {"uid": f"infermeter-{stem}", "editable": False, "schemaVersion": SCHEMA, "tags": ["infermeter"]}
    for key, value in expected.items():
        if board.get(key) != value:
            yield f"{key} is {board.get(key)!r}, not {value!r}"
    if "id" in board or "version" in board:
        yield "id and version belong to Grafana"
    if not board["title"].startswith("infermeter / ") or not board["description"].endswith("."):
        yield "no title, or no description"
    links = [link for link in board["links"] if link["type"] == "dashboards" and link["tags"] == ["infermeter"]]
    if len(links) != 1 or not (links[0]["includeVars"] and links[0]["keepTime"]):
        yield "no link to the others that keeps time and variables"
    titles = [panel["title"] for panel in board["panels"] if panel["type"] != "row"]
    yield from (f"two panels are called {title}" for title in {t for t in titles if titles.count(t) > 1})


def of_variables(board, samples):
    names = names_of_variables(board)
    if names[: len(VARIABLES)] != VARIABLES:
        yield f"variables are {names}"
    text = json.dumps(board["panels"])
    queries = {v["name"]: v["query"]["query"] for v in board["templating"]["list"] if v["type"] == "query"}
    everything = text + "".join(queries.values())
    for name in names:
        if not re.search(rf"\$({name}\b|{{{name}}})", everything):
            yield f"nothing asks for the variable {name}"
    used = set(re.findall(r"\$(\w+)", everything)) - {"__rate_interval", "__range"}
    yield from (f"there is no variable {name}" for name in used - set(names))
    for name, query in queries.items():
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        if not asked:
            yield f"{name}: {query}"
            continue
        yield from (f"{name}: {flaw}" for flaw in flaws_of_expression(asked[1], samples))
        family = selectors(promql_parser.parse(filled(asked[1], ANY)))[0].name
        if asked[2] not in samples.get(family, ()):
            yield f"{name}: {family} has no label {asked[2]}"


def of_layout(board):
    taken, ids = {}, [panel["id"] for panel in board["panels"]]
    if len(set(ids)) < len(ids):
        yield "two panels have one id"
    for panel in board["panels"]:
        place = panel["gridPos"]
        if place["x"] + place["w"] > 24:
            yield f"{panel['title']} is wider than the page"
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                if (x, y) in taken:
                    yield f"{panel['title']} lies on {taken[x, y]}"
                    return
                taken[x, y] = panel["title"]


def of_panel(panel):
    description = panel.get("description", "")
    sentences = len(re.findall(r"[.?!](?:\s|$)", description))
    if len(description) < 20 or not description.endswith(".") or sentences > 2:
        yield f"the description is not one or two sentences: {description!r}"
    if panel["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
        yield "another data source than the variable"
    if panel["type"] == "text":
        return
    defaults = panel["fieldConfig"]["defaults"]
    if not defaults.get("unit"):
        yield "no unit"
    if defaults.get("unit") == "percentunit" and (defaults.get("min"), defaults.get("max")) != (0, 1):
        yield "a ratio that does not go from 0 to 1"
    if not panel.get("targets"):
        yield "nothing is asked"


def of_targets(panel, samples):
    letters = [target["refId"] for target in panel.get("targets", [])]
    if letters != [chr(ord("A") + i) for i in range(len(letters))]:
        yield f"queries are called {letters}"
    for target in panel.get("targets", []):
        text, legend = target["expr"], target["legendFormat"]
        yield from flaws_of_expression(text, samples)
        yield from strays(text)
        if target["datasource"] != panel["datasource"]:
            yield "a query has another data source"
        if target["instant"] == target["range"]:
            yield "neither a moment nor a range"
        if target["range"] and not legend:
            yield "a line without a name"
        if 'phase="queue"' in text and legend != "no content yet":
            yield f"requests without content are called {legend!r}: not all of them wait"
        kept = {label for group in re.findall(r"\bby \(([^)]*)\)", text) for label in re.split(r",\s*", group)}
        yield from (f"no {label} is left of {text}" for label in re.findall(r"{{(\w+)}}", legend) if label not in kept)
        if panel["type"] == "heatmap":
            shape = r"sum by \(le\) \(increase\([\w:]+_bucket\{.*\}\[\$__rate_interval\]\)\)"
            if (target["format"], legend) != ("heatmap", "{{le}}") or not re.fullmatch(shape, text):
                yield f"no heat map: {text}"


def of_links(panel, variables):
    text = json.dumps(panel)
    for uid, arguments in re.findall(r'"/d/([\w-]+)\?([^"]*)"', text):
        if uid not in variables:
            yield f"a link to {uid}, which is not there"
            continue
        said = re.findall(r"var-(\w+)=", arguments) + re.findall(r"\$\{(\w+):queryparam\}", arguments)
        yield from (f"{uid} has no variable {name}" for name in said if name not in variables[uid])
        of = "__data.fields" if panel["type"] == "table" else "__field.labels"
        labels = re.findall(rf"\${{{of}\.(\w+)}}", arguments)
        if len(labels) != len(re.findall(r"var-\w+=", arguments)):
            yield f"a link whose values are not those of {of}"
        kept = "".join(re.findall(r"\bby \(([^)]*)\)", text))
        yield from (f"a link needs {label}, which no series has" for label in labels if label not in kept)
