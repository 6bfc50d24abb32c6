"""What the dashboards have in common: their variables, their links, and how they are written."""

import json

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from .panels import DATASOURCE
from .promql import INSTANCE

# Of Grafana 10.0: later ones bring a dashboard up to date when they open it, earlier ones cannot.
SCHEMA = 38

TAG = "infermeter"


def board(uid, title, description, *rows, since="now-1h", refresh="30s", more_variables=()):
    """A row is its heading and its panels."""
    built = dashboard.Dashboard(title).uid(uid).description(description).tags([TAG]).readonly()
    built.timezone("browser").time(since, "now").refresh(refresh)
    built.timepicker(dashboard.TimePicker().refresh_intervals(["5s", "10s", "30s", "1m", "5m", "15m"]))
    built.tooltip(models.DashboardCursorSync.CROSSHAIR)
    for variable in (*variables(), *more_variables):
        built.with_variable(variable)
    others = dashboard.DashboardLink(title="infermeter").type(models.DashboardLinkType.DASHBOARDS)
    built.link(others.tags([TAG]).include_vars(True).keep_time(True).as_dropdown(False).tooltip("").url(""))
    for heading, *panels in rows:
        built.with_row(dashboard.Row(heading))
        for panel in panels:
            built.with_panel(panel)
    return numbered(built.build())


def variables():
    yield dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    # NB: no "all" that is a pattern, but every job that has infermeter: others have `process_…` too.
    yield choice("job", "Job", "infermeter_build_info", "job")
    yield choice("instance", "Instance", 'infermeter_build_info{job=~"$job"}', "instance", every=".+")
    yield choice("model", "Model", f"vllm:request_total{{{INSTANCE}}}", "model_name", every=".+")
    # Without variants there is no such label, and `.*` finds that too.
    yield choice("variant", "Variant", f"vllm:request_total{{{INSTANCE}}}", "variant", every=".*")


def choice(name, label, family, values_of, every=None):
    variable = dashboard.QueryVariable(name).label(label).datasource(DATASOURCE)
    query = f"label_values({family}, {values_of})"
    variable.query({"query": query, "refId": f"{name}-values"})
    variable.multi(True).include_all(True).refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable.sort(models.VariableSort.ALPHABETICAL_ASC)
    variable.current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return variable.all_value(every) if every else variable


def numbered(built):
    """NB: the library leaves identities of panels and queries to Grafana, which needs them here."""
    built.schema_version = SCHEMA
    for number, panel in enumerate(built.panels, 1):
        panel.id_val = number
        for place, query in enumerate(getattr(panel, "targets", None) or []):
            query.ref_id, query.datasource = chr(ord("A") + place), panel.datasource
    return built


def written(built):
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
