"""Grafana's dashboard, made with Grafana's own builders; what is shown is one table of panels.

Rates are over Grafana's own interval, so that a panel is right at any zoom. Colours and scales are Grafana's,
but what a rule wakes somebody for is red.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, Threshold, ThresholdsMode

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="phonon-prometheus")
UID: Final = "phonon-events"
WIDTH: Final = 24
STAT_HEIGHT: Final = 4
GRAPH_HEIGHT: Final = 8


class Panel(NamedTuple):
    """One panel: queries are pairs of an expression and its legend. `most` ends the scale, from `red` on it is red."""

    title: str
    unit: str
    queries: Sequence[tuple[str, str]]
    about: str = ""
    stacked: bool = False
    most: float | None = None
    red: float | None = None


def rate(metric: str, *, by: str = "") -> str:
    """The rate of a counter, summed over all but the label."""
    return f"sum by ({by}) (rate({metric}[$__rate_interval]))" if by else f"sum(rate({metric}[$__rate_interval]))"


def quantiles(histogram: str) -> list[tuple[str, str]]:
    """Median and tail of a histogram."""
    buckets = rate(f"{histogram}_bucket", by="le")
    shown = {0.5: "half", 0.95: "95 %", 0.99: "99 %"}
    return [(f"histogram_quantile({share}, {buckets})", name) for share, name in shown.items()]


REFUSED: Final = rate('phonon_deliveries_total{status=~"5.."}')
NOW: Final = (
    Panel("Deliveries", "reqps", [(rate("phonon_deliveries_total"), "")]),
    Panel(
        "Refused",
        "percentunit",
        [(f"({REFUSED} or vector(0)) / {rate('phonon_deliveries_total')}", "")],
        "Share of deliveries answered 5xx.",
        red=0.01,
    ),
    Panel("Answer, 99 %", "s", quantiles("phonon_answer_seconds")[2:], red=2),
    Panel("Waiting in spools", "short", [("sum(phonon_spool_rows)", "")]),
    Panel(
        "Calls counted late",
        "s",
        [("max(phonon_lag_seconds)", "")],
        "Age of the last counted call while others wait.",
        red=60,
    ),
    Panel("Ready", "short", [("sum by (job) (phonon_ready)", "{{job}}")], "How many of each program are ready."),
)

ROWS: Final = {
    "Deliveries": (
        Panel(
            "Deliveries by status", "reqps", [(rate("phonon_deliveries_total", by="status"), "{{status}}")], "", True
        ),
        Panel("Time to answer", "s", quantiles("phonon_answer_seconds"), "From the request's headers to its answer."),
        Panel(
            "Time to acknowledgement",
            "s",
            quantiles("phonon_acknowledge_seconds"),
            "From the first produce to the last acknowledgement by all in-sync replicas.",
        ),
        Panel("In flight", "short", [("phonon_in_flight", "{{instance}}")]),
    ),
    "Events": (
        Panel("Events by topic", "cps", [(rate("phonon_events_total", by="topic"), "{{topic}}")], "", True),
        Panel(
            "Rejected parts by reason", "cps", [(rate("phonon_rejected_total", by="reason"), "{{reason}}")], "", True
        ),
        Panel("Anomalies by kind", "cps", [(rate("phonon_anomalies_total", by="kind"), "{{kind}}")], "", True),
        Panel("Errors in our own code", "cps", [(rate("phonon_failures_total", by="where"), "{{where}}")]),
    ),
    "Kafka and the spool": (
        Panel("Kafka healthy", "bool_yes_no", [("phonon_kafka_healthy", "{{instance}}")], most=1),
        Panel("Brokers connected", "short", [("phonon_kafka_brokers_up", "{{instance}}")]),
        Panel("Messages queued for Kafka", "short", [("phonon_kafka_queue_messages", "{{instance}}")]),
        Panel("Bytes queued for Kafka", "bytes", [("phonon_kafka_queue_bytes", "{{instance}}")]),
        Panel("Deliveries in the spool", "short", [("phonon_spool_rows", "{{instance}}")]),
        Panel(
            "Size of the spool",
            "bytes",
            [
                ("phonon_spool_bytes", "waiting {{instance}}"),
                ("phonon_spool_disk_bytes", "on disk {{instance}}"),
                ("phonon_spool_limit_bytes", "limit {{instance}}"),
            ],
        ),
        Panel("Age of the oldest in the spool", "s", [("phonon_spool_oldest_age_seconds", "{{instance}}")]),
        Panel(
            "Into and out of the spool",
            "cps",
            [
                (rate("phonon_spooled_total"), "spooled"),
                (rate("phonon_drained_total"), "drained"),
                (rate("phonon_set_aside_total"), "set aside"),
                (rate("phonon_refused_kept_total"), "refused and kept"),
            ],
        ),
        Panel("Spool writable", "bool_yes_no", [("phonon_spool_writable", "{{instance}}")], most=1),
        Panel("Files set aside", "short", [("phonon_spool_set_aside", "{{instance}}")]),
    ),
    "Workers": (
        Panel(
            "Calls counted",
            "cps",
            [
                (rate("phonon_flows_total"), "counted"),
                (rate("phonon_flows_duplicate_total"), "duplicates"),
                (rate("phonon_flows_late_total"), "too old"),
            ],
            "",
            True,
        ),
        Panel("Lag, seconds", "s", [("max by (partition) (phonon_lag_seconds)", "{{partition}}")]),
        Panel("Lag, records", "short", [("max by (partition) (phonon_lag_records)", "{{partition}}")]),
        Panel(
            "Delay of the metrics",
            "s",
            [("max by (partition) (phonon_emission_delay_seconds)", "{{partition}}")],
            "From Kafka's timestamp of a call to the flush that counts it. Unchanged while a partition has no calls.",
        ),
        Panel("Partition clock ahead of the worker's", "s", [("phonon_clock_ahead_seconds", "{{instance}}")]),
        Panel(
            "Partitions",
            "short",
            [
                ("sum by (state) (phonon_partitions)", "{{state}}"),
                ("sum by (instance) (phonon_partitions)", "{{instance}}"),
            ],
        ),
        Panel("State loaded", "percentunit", [("max by (partition) (phonon_recovery_ratio)", "{{partition}}")], most=1),
        Panel(
            "State",
            "short",
            [
                ("sum(phonon_dids)", "DIDs"),
                ("sum(phonon_buckets)", "DID minutes"),
                ("sum(phonon_dids_waiting)", "DIDs waiting to be written"),
                ("sum(phonon_groups)", "groups"),
            ],
        ),
        Panel(
            "Metrics written",
            "cps",
            [
                (rate("phonon_did_metrics_written_total"), "of DIDs"),
                (rate("phonon_group_metrics_written_total"), "of groups"),
            ],
        ),
        Panel("Flush time", "s", quantiles("phonon_flush_seconds")),
        Panel(
            "Irregularities",
            "cps",
            [
                (rate("phonon_records_rejected_total"), "not a flow record"),
                (rate("phonon_records_expired_total"), "expired unread"),
                (rate("phonon_gaps_reread_total"), "gaps reread"),
                (rate("phonon_partitions_lost_total"), "state dropped"),
                ("sum(phonon_groups_file_refused)", "groups file refused"),
                ("max(phonon_state_expires)", "state expires"),
            ],
        ),
    ),
    "Alerts": (
        Panel("Alerts firing", "short", [("sum(phonon_alerts_firing)", "")]),
        Panel("Alerts written", "cps", [(rate("phonon_alerts_total", by="state"), "{{state}}")]),
        Panel(
            "Alerts sent",
            "cps",
            [
                (rate("phonon_alerts_sent_total", by="address"), "{{address}}"),
                (rate("phonon_alert_tries_failed_total", by="address"), "{{address}}, failed attempts"),
                (rate("phonon_alerts_given_up_total", by="address"), "{{address}}, given up"),
                (rate("phonon_alerts_unreadable_total"), "unreadable"),
            ],
        ),
        Panel("Alerts waiting to be sent", "short", [("sum by (address) (phonon_alerts_waiting)", "{{address}}")]),
        Panel("Oldest alert waiting", "s", [("max by (address) (phonon_alerts_oldest_age_seconds)", "{{address}}")]),
    ),
}


def panels() -> list[Panel]:
    """All panels, in their order."""
    return [*NOW, *(panel for row in ROWS.values() for panel in row)]


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    built = (
        builders.Dashboard("phonon-events")
        .uid(UID)
        .tags(["phonon"])
        .description("The way from Phonon's deliveries to live metrics per DID. Made by `python -m deploy.documents`.")
        .readonly()
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
    )
    for shown in NOW:
        built.with_panel(_now(shown))
    for title, row in ROWS.items():
        built.with_row(builders.Row(title))
        for shown in row:
            built.with_panel(_over_time(shown))
    made: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(built.build()))
    for number, panel in enumerate(made["panels"], 1):
        panel["id"] = number  # so that links to a panel outlive what Grafana would number by itself
    return made


def _now(panel: Panel) -> stat.Panel:
    made = stat.Panel().title(panel.title).description(panel.about).unit(panel.unit).datasource(SOURCE)
    made.height(STAT_HEIGHT).span(WIDTH // len(NOW)).decimals(2 if panel.unit in ("s", "percentunit") else 0)
    made.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).graph_mode(BigValueGraphMode.AREA)
    steps = [Threshold(color="green", value=None)]
    if panel.red is not None:
        steps.append(Threshold(color="red", value=panel.red))
    made.thresholds(builders.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    for number, (expression, legend) in enumerate(panel.queries):
        made.with_target(_query(number, expression, legend))
    return made


def _over_time(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().title(panel.title).description(panel.about).unit(panel.unit).datasource(SOURCE)
    made.height(GRAPH_HEIGHT).span(WIDTH // 2).min(0).fill_opacity(10)
    if panel.most is not None:
        made.max(panel.most)
    if panel.stacked:
        made.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(30)
    made.legend(
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.TABLE)
        .placement(LegendPlacement.RIGHT)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )
    made.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    for number, (expression, legend) in enumerate(panel.queries):
        made.with_target(_query(number, expression, legend))
    return made


def _query(number: int, expression: str, legend: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(legend or "__auto").ref_id(chr(ord("A") + number))
