"""The kinds of panels that there are, each with what all of its kind have in common."""

from grafana_foundation_sdk.builders import (
    bargauge, common, dashboard, gauge as gauges, heatmap as heatmaps, piechart, prometheus, stat as stats,
    table as tables, text as texts, timeseries,
)
from grafana_foundation_sdk.models import common as options, dashboard as models, heatmap as heat
from grafana_foundation_sdk.models import piechart as pie_options, prometheus as queries, text as text_options

from .promql import KV_FULL, KV_NEARLY_FULL

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "#8e8e8e"

# === What is asked ===


def over_time(expression, legend):
    return prometheus.Dataquery().expr(expression).legend_format(legend).range()


def now(expression, legend=""):
    return prometheus.Dataquery().expr(expression).legend_format(legend).instant()


def cells(expression):
    """A column of a table, with the labels as others."""
    return now(expression).format(queries.PromQueryFormat.TABLE)


# === How it looks ===


def steps(first, *others):
    """Colours from a value on: `steps("green", (0.85, "yellow"))`."""
    marks = [models.Threshold(color=first, value=None)]
    marks += [models.Threshold(color=color, value=value) for value, color in others]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(marks)


NEUTRAL = steps(BLUE)
KV = steps(GREEN, (KV_NEARLY_FULL, YELLOW), (KV_FULL, RED))


def fixed(color):
    return [models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})]


def dashed(color):
    style = {"fill": "dash", "dash": [8, 8]}
    return fixed(color) + [
        models.DynamicConfigValue(id_val="custom.lineStyle", value=style),
        models.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
        models.DynamicConfigValue(id_val="custom.stacking", value={"mode": "none", "group": "A"}),
    ]


def link(title, uid, of="__field.labels", **variables):
    """Leads from a value to another dashboard, with labels of its own: `link(…, gpu="gpu")`.

    NB: in a table, labels are columns: `of=ROW`.
    """
    chosen = "".join(f"&var-{name}=${{{of}.{label}}}" for name, label in variables.items())
    kept = [name for name in ("datasource", "job", "instance", "model", "variant") if name not in variables]
    kept = "".join(f"&${{{name}:queryparam}}" for name in kept)
    return dashboard.DashboardLink(title).url(f"/d/{uid}?${{__url_time_range}}{kept}{chosen}")


ROW = "__data.fields"


def last():
    return common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)


def described(panel, title, description, width, height):
    return panel.title(title).description(description).datasource(DATASOURCE).span(width).height(height)


def measured(panel, unit, asked, ratio=False, most=None, decimals=None, thresholds=None):
    """A panel of numbers; a ratio goes from 0 to 1, and thresholds give their colour."""
    panel.unit(unit)
    if ratio:
        panel.min(0).max(1)
    if most is not None:
        panel.min(0).max(most)
    if decimals is not None:
        panel.decimals(decimals)
    if thresholds is not None:
        panel.thresholds(thresholds)
        panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    for query in asked:
        panel.with_target(query)
    return panel


# === The panels ===


def stat(title, description, unit, query, width=4, height=4, thresholds=NEUTRAL, **more):
    """One number, as it is now; with its line, if it was asked over time."""
    is_line = not query.build().instant
    panel = described(stats.Panel(), title, description, width, height)
    panel.reduce_options(last()).color_mode(options.BigValueColorMode.VALUE)
    panel.graph_mode(options.BigValueGraphMode.AREA if is_line else options.BigValueGraphMode.NONE)
    panel.text_mode(options.BigValueTextMode.AUTO).no_value("–")
    return measured(panel, unit, [query], thresholds=thresholds, **more)


def gauge(title, description, query, width=4, height=4, thresholds=NEUTRAL):
    """A ratio on a dial, each series on its own."""
    panel = described(gauges.Panel(), title, description, width, height)
    panel.reduce_options(last()).show_threshold_markers(True).no_value("–")
    return measured(panel, "percentunit", [query], ratio=True, thresholds=thresholds)


def bars(title, description, query, width=6, height=8, thresholds=NEUTRAL, links=()):
    """A ratio as a bar, each series on its own."""
    panel = described(bargauge.Panel(), title, description, width, height)
    panel.reduce_options(last()).orientation(options.VizOrientation.HORIZONTAL)
    panel.display_mode(options.BarGaugeDisplayMode.BASIC).show_unfilled(True).no_value("–")
    panel.data_links(list(links))
    return measured(panel, "percentunit", [query], ratio=True, thresholds=thresholds)


def lines(
    title, description, unit, *asked, width=8, height=8, thresholds=None, stacked=False, links=(),
    soft_most=None, looks=(), least=0, **more,
):
    """Series over time. `looks` are pairs of a legend, as a pattern, and how its line looks."""
    panel = described(timeseries.Panel(), title, description, width, height)
    panel.line_width(1.5).fill_opacity(35 if stacked else 4).show_points(options.VisibilityMode.NEVER)
    panel.span_nulls(False).data_links(list(links))
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    panel.tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI).sort(options.SortOrder.DESCENDING))
    legend = common.VizLegendOptions().show_legend(True).placement(options.LegendPlacement.BOTTOM)
    panel.legend(legend.display_mode(options.LegendDisplayMode.LIST).calcs([]))
    if least is not None and not (more.get("ratio") or more.get("most")):
        panel.min(least)
    if stacked:
        panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL).group("A"))
    if soft_most is not None:
        panel.axis_soft_max(soft_most)
    if thresholds is not None:
        style = common.GraphThresholdsStyleConfig().mode(options.GraphTresholdsStyleMode.DASHED)
        panel.thresholds(thresholds).thresholds_style(style)
    for pattern, look in looks:
        panel.override_by_regexp(pattern, look)
    return measured(panel, unit, asked, **more)


def quantiles(title, description, ask, *more_lines, ranks=(0.5, 0.9, 0.99), unit="s", **more):
    """The quantiles of one thing in the colours of a traffic light."""
    asked = [over_time(ask(rank), f"P{rank * 100:g}") for rank in ranks]
    looks = [(f"P{rank * 100:g}", fixed(color)) for rank, color in zip(ranks, (GREEN, YELLOW, RED))]
    return lines(title, description, unit, *asked, *more_lines, looks=looks, **more)


def heatmap(title, description, unit, expression, width=12, height=9):
    """How many requests fell into which bucket, over time."""
    query = over_time(expression, "{{le}}").format(queries.PromQueryFormat.HEATMAP)
    panel = described(heatmaps.Panel(), title, description, width, height)
    color = heatmaps.HeatmapColorOptions().mode(heat.HeatmapColorMode.SCHEME).scheme("Oranges")
    panel.color(color.fill("dark-orange").scale(heat.HeatmapColorScale.EXPONENTIAL).exponent(0.5).steps(64))
    panel.calculate(False).cell_gap(1).show_legend().filter_values(heatmaps.FilterValueRange().le(1e-9))
    axis = heatmaps.YAxisConfig().unit(unit).axis_placement(options.AxisPlacement.LEFT)
    panel.y_axis(axis).rows_frame(heatmaps.RowsHeatmapOptions().layout(options.HeatmapCellLayout.AUTO))
    panel.cell_values(heatmaps.CellValues().unit("short")).show_tooltip()
    return measured(panel, unit, [query])


def pie(title, description, unit, *asked, width=6, height=8):
    """Parts of a whole."""
    panel = described(piechart.Panel(), title, description, width, height)
    panel.reduce_options(last()).pie_type(pie_options.PieChartType.DONUT)
    panel.display_labels([pie_options.PieChartLabels.PERCENT])
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    legend = piechart.PieChartLegendOptions().show_legend(True).placement(options.LegendPlacement.BOTTOM)
    values = [pie_options.PieChartLegendValues.VALUE]
    panel.legend(legend.display_mode(options.LegendDisplayMode.LIST).values(values))
    return measured(panel, unit, asked)


def table(title, description, key, columns, width=24, height=8, links=()):
    """A row for each value of the label `key`. A column is (heading, expression, unit, more looks);
    labels of the expressions beside the key are columns too."""
    panel = described(tables.Panel(), title, description, width, height).show_header(True)
    letters = [chr(ord("A") + i) for i in range(len(columns))]
    renamed = {f"Value #{letter}": column[0] for letter, column in zip(letters, columns)}
    organized = {"excludeByName": {"Time": True}, "renameByName": renamed, "indexByName": {}}
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(models.DataTransformerConfig(id_val="organize", options=organized))
    for heading, _, unit, *looks in columns:
        shape = [models.DynamicConfigValue(id_val="unit", value=unit)]
        if unit == "percentunit":
            shape += [models.DynamicConfigValue(id_val=edge, value=at) for edge, at in (("min", 0), ("max", 1))]
        panel.override_by_name(heading, shape + [value for look in looks for value in look])
    if links:
        built = [each.build().to_json() | {"targetBlank": False} for each in links]
        panel.override_by_name(key, [models.DynamicConfigValue(id_val="links", value=built)])
    return measured(panel, "short", [cells(column[1]) for column in columns])


def colored(first, *others):
    """Cells of a table in the colour of their value."""
    built = steps(first, *others).build().to_json()
    return [
        models.DynamicConfigValue(id_val="thresholds", value=built),
        models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
    ]


def decimals(number):
    return [models.DynamicConfigValue(id_val="decimals", value=number)]


def text(title, description, words, width=24, height=4):
    panel = described(texts.Panel(), title, description, width, height)
    return panel.mode(text_options.TextMode.MARKDOWN).content(words)
