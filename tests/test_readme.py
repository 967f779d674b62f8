"""The README's tables are held to the code's own lists: settings, statuses, topics, metrics, commands."""

import re
from pathlib import Path

from app.cli import cli
from app.metrics import METRICS
from app.notify import measures as of_notify
from app.problems import ADVICE
from schemas import SCHEMAS
from schemas.settings import NAMES
from schemas.topics import TOPICS, topic_name
from streams.measures import REGISTRY

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose header row begins with these words, cells stripped."""
    lines = iter(README.splitlines())
    for line in lines:
        if line.startswith(f"| {heading} "):
            next(lines)
            break
    else:
        raise AssertionError(f"no table {heading}")
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def test_every_setting_is_listed_with_its_default_and_meaning() -> None:
    expected = [
        [f"`{name}`", f"`{f.metadata['default']}`" if f.metadata["default"] else "", f.metadata["doc"]]
        for name, f in NAMES.items()
    ]
    assert [[cell.strip() for cell in row] for row in table("name | default | meaning")] == expected


def test_every_status_is_listed_with_what_the_sender_should_do() -> None:
    listed = {int(status): advice for status, _, advice in table("status | when | the sender should")}
    assert listed == {200: "stop", 202: "stop"} | dict(ADVICE)


def test_every_topic_is_listed_with_its_record_and_key() -> None:
    listed = [(name, re.split("[:`]", record[1:])[0], key) for name, record, key in table("topic | record | key")]
    expected = [(f"`{topic_name('phonon', topic.record)}`", topic.schema, topic.key or "none") for topic in TOPICS]
    assert listed == expected


def test_every_metric_is_listed_with_its_labels_type_and_meaning() -> None:
    def row(name: str, labels: tuple[str, ...], type_: str, help_: str) -> list[str]:
        return [f"`{name}`" + (f" by {', '.join(labels)}" if labels else ""), type_, help_]

    assert table("metric of the receiver |") == [row(m.name, m.labels, m.type, m.help) for m in METRICS]
    for heading, registry in (("a worker", REGISTRY), ("notify", of_notify.REGISTRY)):
        exposed = []
        for collector in registry._collector_to_names:
            metric = next(iter(collector.describe()))  # type: ignore[attr-defined]
            name = metric.name + ("_total" if metric.type == "counter" else "")
            exposed.append(row(name, collector._labelnames, metric.type, metric.documentation))  # type: ignore[attr-defined]
        assert table(f"metric of {heading} |") == exposed


def test_every_figure_of_a_window_is_explained() -> None:
    window = SCHEMAS["DidMetrics"]["fields"][2]["type"]["items"]
    figures = {field["name"] for field in window["fields"]} - {"name", "seconds", "start", "end"}
    explained = {name for cell, _ in table("field | meaning") for name in re.findall(r"`(\w+)`", cell)}
    assert explained == figures


def test_every_command_is_listed() -> None:
    listed = {name for cell, _ in table("command | does") for name in re.findall(r"`phonon-events (\w+)", cell)}
    assert listed == set(cli.commands)


def test_every_module_has_its_place_in_the_layout() -> None:
    block = README.partition("## How it is built\n\n```\n")[2].partition("```")[0]
    for package in ("schemas", "app", "streams"):
        listed = re.search(rf"(?ms)^{package}/.*?(?=^\S|\Z)", block[block.index(f"{package}/ ") :])
        assert listed
        first_columns = re.findall(r"(?m)^  (\S.*?)(?:  |$)", listed[0])
        names = {name.strip("/ ") for column in first_columns for name in column.split(",")}
        there = {
            path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
        }
        assert names == {name for name in there if not name.startswith("__")}
