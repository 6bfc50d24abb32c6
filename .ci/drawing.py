"""Draws a dashboard from the answers of Prometheus, for docs/dashboards: about as Grafana would."""

import datetime
import io
import math
import re

import matplotlib
from matplotlib import dates, patches, ticker
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from boards import targets, units_of_columns
from looks import EDGE, FAINT, GRID, PAGE, PALETTE, PANEL, TEXT, at_threshold, color, legend, shown

COLUMN, ROW, GAP = 0.66, 0.385, 0.05  # inches: of the grid that panels lie on
DPI = 100
HEAT = LinearSegmentedColormap.from_list("heat", ["#2a1c10", "#a04a0c", "#ff9830", "#fff0d0"])

matplotlib.rcParams |= {"font.family": "DejaVu Sans", "font.size": 8, "text.color": TEXT, "axes.labelcolor": FAINT}


def drawn(board, asked, path):
    """The whole dashboard as one picture."""
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) + 1.3
    figure = Figure(figsize=(24 * COLUMN, height * ROW), dpi=DPI, facecolor=PAGE)
    FigureCanvasAgg(figure)  # which can measure words
    figure.text(0.006, 1 - 0.75 / height, board["title"], size=13, weight="bold", va="center")
    figure.text(0.994, 1 - 0.75 / height, board["description"], size=9, color=FAINT, va="center", ha="right")
    asked_of = {}
    for target in targets(board):
        asked_of.setdefault(target.panel["id"], []).append((target, asked.series(target)))
    for panel in board["panels"]:
        Place(figure, panel, height).draw(asked_of.get(panel["id"], []))
    written = io.BytesIO()
    figure.savefig(written, facecolor=PAGE)
    # A picture of few colours is small. NB: without k-means the grounds, which are most of it, get another hue.
    few = Image.open(written).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


class Place:
    """Where a panel lies, and its drawing."""

    def __init__(self, figure, panel, height):
        self.figure, self.panel = figure, panel
        place = panel["gridPos"]
        self.size = (place["w"] * COLUMN, place["h"] * ROW)  # inches
        self.left, self.top = place["x"] * COLUMN, (place["y"] + 1.3) * ROW
        self.whole = (24 * COLUMN, height * ROW)
        self.field = panel.get("fieldConfig", {}).get("defaults", {})
        self.unit, self.decimals = self.field.get("unit"), self.field.get("decimals")

    def draw(self, answers):
        if self.panel["type"] == "row":
            x, y = self.left / self.whole[0] + 0.006, 1 - (self.top + 0.6 * ROW) / self.whole[1]
            self.figure.text(x, y, f"▾  {self.panel['title']}", size=10, weight="bold", va="center")
            return
        box = self.box(GAP, GAP, GAP, GAP)
        corner = dict(boxstyle="round,pad=0,rounding_size=0.002", mutation_aspect=self.whole[0] / self.whole[1])
        frame = patches.FancyBboxPatch(
            box[:2], *box[2:], transform=self.figure.transFigure, zorder=-1,
            facecolor=PANEL, edgecolor=EDGE, linewidth=0.8, **corner,
        )
        self.figure.add_artist(frame)
        title = self.box(0.14, 0.1, 0, self.size[1] - 0.34)
        self.figure.text(title[0], title[1] + title[3] / 2, self.panel["title"], size=8.5, weight="bold", va="center")
        getattr(self, self.panel["type"])(answers)

    def box(self, left, top, right, bottom):
        """The panel less margins in inches, as parts of the figure."""
        x, y = self.left + left, self.whole[1] - self.top - self.size[1] + bottom
        width, height = self.size[0] - left - right, self.size[1] - top - bottom
        return x / self.whole[0], y / self.whole[1], width / self.whole[0], height / self.whole[1]

    def axes(self, left=0.14, top=0.42, right=0.14, bottom=0.12, visible=False):
        axes = self.figure.add_axes(self.box(left, top, right, bottom), facecolor="none")
        for side, spine in axes.spines.items():
            spine.set_visible(visible and side == "bottom")
            spine.set_color(GRID)
        axes.tick_params(length=0, colors=FAINT, labelsize=7)
        if not visible:
            axes.set(xticks=[], yticks=[])
        return axes

    def shown(self, value):
        return shown(value, self.unit, self.decimals)

    # === Kinds of panels ===

    def timeseries(self, answers):
        series = [(legend(t, labels), pairs) for t, found in answers for labels, pairs in found]
        series = [(name, pairs) for name, pairs in series if any(math.isfinite(v) for _, v in pairs)]
        if not series:
            return self.nothing()
        self.looks = [self.look(name, number) for number, (name, _) in enumerate(series)]
        handles = [
            Line2D([], [], color=look["color"], lw=2, ls=look["style"], label=name)
            for look, (name, _) in zip(self.looks, series)
        ]
        widest = max(len(name) for name, _ in series) * 0.075 + 0.4
        columns = max(1, min(len(series), int((self.size[0] - 0.3) / widest)))
        rows = math.ceil(len(series) / columns)
        bottom = 0.38 + 0.17 * rows
        axes = self.axes(left=0.66, bottom=bottom, visible=True)
        self.plot(axes, series)
        self.scale(axes)
        self.times(axes)
        self.figure.legend(
            handles=handles, loc="lower left", bbox_to_anchor=self.box(0.1, 0, 0, 0.06)[:2], ncol=columns,
            frameon=False, fontsize=7, labelcolor=TEXT, handlelength=1.2, handletextpad=0.5, columnspacing=1.2,
            labelspacing=0.25, borderaxespad=0, borderpad=0.2,
        )

    def plot(self, axes, series):
        custom = self.field["custom"]
        is_stacked = custom.get("stacking", {}).get("mode") == "normal"
        below = {}
        for (name, pairs), look in zip(series, self.looks):
            moments = [datetime.datetime.fromtimestamp(moment) for moment, _ in pairs]
            values = [value for _, value in pairs]
            if is_stacked and look["fill"]:
                floor = [below.get(moment, 0) for moment, _ in pairs]
                values = [low + (value if math.isfinite(value) else 0) for low, value in zip(floor, values)]
                below |= {moment: value for (moment, _), value in zip(pairs, values)}
            else:
                floor = [0] * len(values)
            axes.plot(moments, values, color=look["color"], lw=1.3, ls=look["style"], solid_joinstyle="round")
            if look["fill"]:
                axes.fill_between(moments, floor, values, color=look["color"], alpha=custom["fillOpacity"] / 100, lw=0)

    def look(self, name, number):
        look = {"color": PALETTE[number % len(PALETTE)], "style": "-", "fill": True}
        for override in self.panel["fieldConfig"]["overrides"]:
            if re.fullmatch(override["matcher"]["options"], name):
                for said in override["properties"]:
                    if said["id"] == "color":
                        look["color"] = color(said["value"]["fixedColor"])
                    elif said["id"] == "custom.lineStyle":
                        look |= {"style": (0, (4, 3)), "fill": False}
        return look

    def scale(self, axes):
        drawn_values = [value for line in axes.lines for value in line.get_ydata() if math.isfinite(value)]
        low, high = min(drawn_values), max(drawn_values)
        edge = (high - low) * 0.08 or abs(high) * 0.2 or 1
        soft = self.field["custom"].get("axisSoftMax")
        least, most = self.field.get("min"), self.field.get("max")
        high = most * 1.02 if most is not None else max(high + edge, soft or high)
        axes.set_ylim(low - edge if least is None else least, high)
        for step in self.field.get("thresholds", {}).get("steps", []):
            if step["value"] is not None and step["value"] <= axes.get_ylim()[1]:
                axes.axhline(step["value"], color=color(step["color"]), lw=1, ls=(0, (6, 4)), alpha=0.8)
        axes.grid(axis="both", color=GRID, lw=0.6)
        axes.set_axisbelow(True)
        steps = 5 if self.size[1] > 2.4 else 4
        axes.yaxis.set_major_locator(ticker.MaxNLocator(steps, integer=self.decimals == 0))
        axes.yaxis.set_major_formatter(lambda value, _: shown(value, self.unit, None))

    def times(self, axes):
        axes.margins(x=0)
        first, last = axes.get_xlim()  # in days
        room = max(2, int(self.size[0] / 0.8))
        minutes = (last - first) * 24 * 60
        every = next(step for step in (1, 2, 5, 10, 15, 30, 60) if minutes / step <= room or step == 60)
        axes.xaxis.set_major_locator(dates.MinuteLocator(byminute=range(0, 60, every)))
        axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))

    def heatmap(self, answers):
        [(_, found)] = answers
        rows = sorted((float(labels["le"]), dict(pairs)) for labels, pairs in found)
        moments = sorted({moment for _, values in rows for moment in values})
        cells, below = [], {}
        for _, values in rows:
            cells.append([max(0, values.get(moment, 0) - below.get(moment, 0)) for moment in moments])
            below = values
        used = [i for i, row in enumerate(cells) if any(cell > 0.01 for cell in row)]
        if not used:
            return self.nothing()
        first, last = max(0, used[0] - 1), min(len(rows) - 1, used[-1] + 1)
        # Windows overlap: one column for each.
        every = max(1, round(15 / (moments[1] - moments[0]))) if len(moments) > 1 else 1
        there = [[cell if cell > 0.01 else math.nan for cell in row[::every]] for row in cells[first : last + 1]]
        axes = self.axes(left=0.66, bottom=0.38, visible=True)
        edges = [datetime.datetime.fromtimestamp(moment) for moment in moments[::every]]
        edges.append(edges[-1] + (edges[-1] - edges[-2] if len(edges) > 1 else datetime.timedelta(seconds=15)))
        bounds = range(last - first + 2)
        axes.pcolormesh(edges, bounds, there, cmap=HEAT, norm=PowerNorm(0.5), edgecolors=PANEL, lw=0.6)
        names = [shown(le, "s") if math.isfinite(le) else "∞" for le, _ in rows[first : last + 1]]
        axes.set_yticks(bounds[1:], names)
        self.times(axes)

    def stat(self, answers):
        [(target, found)] = answers
        if not found:
            return self.nothing()
        axes = self.axes(left=0.1, right=0.1, bottom=0.08)
        axes.set(xlim=(0, 1), ylim=(0, 1))
        many = len(found) > 1
        has_line = not target.is_instant and not many
        for number, (labels, pairs) in enumerate(found):
            value = pairs[-1][1]
            tint = at_threshold(value, self.field["thresholds"])
            y = 1 - (number + 0.5) / len(found) if many else (0.66 if has_line else 0.5)
            axes.text(0.97 if many else 0.5, y, self.shown(value), color=tint, size=15 if many else 23, weight="bold",
                      ha="right" if many else "center", va="center")
            if many:
                axes.text(0.03, y, legend(target, labels), size=8, va="center")
            if has_line:
                values = [v for _, v in pairs if math.isfinite(v)]
                line = self.axes(left=GAP, right=GAP, top=self.size[1] * 0.66, bottom=GAP)
                line.plot(values, color=tint, lw=1)
                line.fill_between(range(len(values)), values, color=tint, alpha=0.15, lw=0)
                line.margins(x=0)
                line.set_ylim(min(0, min(values)), max(values) * 1.1 or 1)

    def gauge(self, answers):
        [(target, found)] = answers
        axes = self.axes(top=0.34, bottom=0.06)
        width = 2.6
        axes.set(xlim=(-width / 2, width * (len(found) - 0.5)), ylim=(-0.42, 1.08), aspect="equal")
        steps = self.field["thresholds"]["steps"]
        for number, (labels, pairs) in enumerate(found):
            value, middle = pairs[-1][1], (number * width, 0)

            def arc(low, high, radius, thick, tint):
                angles = 180 - 180 * high, 180 - 180 * low
                axes.add_patch(patches.Wedge(middle, radius, *angles, width=thick, facecolor=tint, lw=0))

            bounds = [step["value"] or 0 for step in steps] + [1]
            for low, high, step in zip(bounds, bounds[1:], steps):
                arc(low, high, 1.05, 0.06, color(step["color"]))
            arc(0, 1, 0.96, 0.3, GRID)
            tint = at_threshold(value, self.field["thresholds"])
            arc(0, min(max(value, 0), 1), 0.96, 0.3, tint)
            axes.text(*middle, self.shown(value), color=tint, size=9.5, weight="bold", ha="center", va="bottom")
            axes.text(middle[0], -0.26, legend(target, labels), size=6.5, color=FAINT, ha="center", va="center")

    def bargauge(self, answers):
        [(target, found)] = answers
        if not found:
            return self.nothing()
        found = sorted(found, key=lambda each: legend(target, each[0]))
        axes = self.axes()
        axes.set(xlim=(0, 1.22), ylim=(len(found), 0))
        for number, (labels, pairs) in enumerate(found):
            value = pairs[-1][1]
            tint = at_threshold(value, self.field["thresholds"])
            axes.text(0, number + 0.2, legend(target, labels), size=7.5, va="center")
            axes.barh(number + 0.62, 1, 0.42, color=GRID)
            axes.barh(number + 0.62, value, 0.42, color=tint)
            bold = {"size": 11, "weight": "bold", "ha": "right", "va": "center"}
            axes.text(1.22, number + 0.62, self.shown(value), color=tint, **bold)

    def piechart(self, answers):
        parts = [(legend(t, labels), pairs[-1][1]) for t, found in answers for labels, pairs in found]
        axes = self.axes(top=0.36, bottom=0.34)
        tints = PALETTE[: len(parts)]
        wedges, *_, inside = axes.pie(
            [value for _, value in parts], colors=tints, startangle=90, counterclock=False,
            autopct="%.0f%%", pctdistance=0.79, wedgeprops={"width": 0.42, "edgecolor": PANEL},
            textprops={"size": 9, "weight": "bold", "color": PAGE},
        )
        names = [f"{name}  {self.shown(value)}" for name, value in parts]
        corner = self.box(0.1, 0, 0.1, 0.08)
        self.figure.legend(
            wedges, names, loc="lower center", bbox_to_anchor=(corner[0] + corner[2] / 2, corner[1]), ncol=2,
            frameon=False, fontsize=7, labelcolor=TEXT, handlelength=0.8, handleheight=0.8, borderaxespad=0,
            borderpad=0.2,
        )

    def table(self, answers):
        organized = next(c["options"] for c in self.panel["transformations"] if c["id"] == "organize")
        headings = {name[-1]: heading for name, heading in organized["renameByName"].items()}
        rows, extra = {}, {}
        key = next(iter(answers[0][1][0][0]))
        for target, found in answers:
            for labels, pairs in found:
                rows.setdefault(labels[key], {})[target.said["refId"]] = pairs[-1][1]
                extra.setdefault(labels[key], {}).update({name: v for name, v in labels.items() if name != key})
        more = sorted({name for labels in extra.values() for name in labels})
        units = units_of_columns(self.panel)
        columns = [key, *more, *headings]
        axes = self.axes(top=0.4)
        axes.set(xlim=(0, len(columns) + 0.4), ylim=(max(len(rows), 2) + 1, 0))
        for place, column in enumerate(columns):
            x = place + (0.4 if place else 0.02)
            axes.text(x, 0.5, headings.get(column, column), size=8, color="#6e9fff", weight="bold", va="center")
        for number, (name, values) in enumerate(sorted(rows.items()), 1):
            axes.axhline(number, color=GRID, lw=0.8)
            for place, column in enumerate(columns):
                x = place + (0.4 if place else 0.02)
                if column == key:
                    text, tint = name, TEXT
                elif column in more:
                    text, tint = extra[name].get(column, ""), TEXT
                else:
                    look = self.column(headings[column])
                    text = shown(values.get(column), units.get(column, "short"), look.get("decimals"))
                    tint = at_threshold(values.get(column, 0), look["thresholds"]) if "thresholds" in look else TEXT
                axes.text(x, number + 0.5, text, size=9, color=tint, va="center")

    def column(self, heading):
        properties = {}
        for override in self.panel["fieldConfig"]["overrides"]:
            if override["matcher"]["options"] == heading:
                properties |= {said["id"]: said["value"] for said in override["properties"]}
        return properties

    def text(self, _):
        axes = self.axes(top=0.38)
        axes.set(xlim=(0, self.size[0] - 0.28), ylim=(self.size[1] - 0.5, 0))
        renderer = self.figure.canvas.get_renderer()
        y, line, space = 0.1, 0.175, 0.045
        for block in self.panel["options"]["content"].strip().split("\n- "):
            x, is_bold = 0.16, False
            axes.text(0.02, y, "•", size=8, va="center")
            for word in block.removeprefix("- ").split():
                is_bold = is_bold or word.startswith("**")
                weight = "bold" if is_bold else "normal"
                drawn_word = axes.text(x, y, word.replace("**", ""), size=8, weight=weight, va="center")
                width = drawn_word.get_window_extent(renderer).width / DPI
                if x + width > self.size[0] - 0.32:
                    x, y = 0.16, y + line
                    drawn_word.set_position((x, y))
                x += width + space
                is_bold = is_bold and "**" not in word.lstrip("*")
            y += line * 1.45

    def nothing(self):
        axes = self.axes()
        axes.text(0.5, 0.5, "No data", size=12, color=FAINT, ha="center", va="center")
