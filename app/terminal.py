"""What a person types and sees: times, progress bars, tables. rich is only imported where something is shown."""

import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

import click


class Moment(click.ParamType):
    """A time as ms since 1970 UTC: ISO 8601, UTC where it has no offset, or how long ago."""

    name = "time"
    AGO: Final = MappingProxyType({"s": 1, "m": 60, "h": 3600, "d": 86400})

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read what was typed; fails as click does."""
        if re.fullmatch(r"[0-9]{1,9}[smhd]", value):
            return int((time.time() - int(value[:-1]) * self.AGO[value[-1]]) * 1000)
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: expected 2026-11-22T10:00, or 30m, 2h, 3d for so long ago", param, ctx)
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


class LastCall(click.DateTime):
    """When synthetic calls end: there must be room before it for their span, up to ten years, in Python's years."""

    YEARS: Final = range(1980, 9999)

    def __init__(self) -> None:
        super().__init__(["%Y-%m-%dT%H:%M:%S"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Read what was typed; fails as click does."""
        at: datetime = super().convert(value, param, ctx)
        if at.year not in self.YEARS:
            self.fail(f"{value!r} is not in the years {self.YEARS[0]} to {self.YEARS[-1]}.", param, ctx)
        return at


class Number(click.FloatRange):
    """A number in a range. click takes NaN for one that is in every range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read what was typed; fails as click does."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, if that is a terminal; yields what takes how many are done, and how many there are."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as shown:
        task = shown.add_task(title, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """A table on stdout. Raises BrokenPipeError where nobody reads on: rich's own answer to that is exit code 1."""
    from rich.console import Console
    from rich.table import Table

    shown, console = Table(*columns), Console(markup=False)
    for row in rows:
        shown.add_row(*map(str, row))
    with console.capture() as drawn:
        console.print(shown)
    click.echo(drawn.get(), nl=False)
