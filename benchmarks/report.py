"""How results are told: tables for the terminal and for a file, and the machine that they hold for."""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

Rows = Sequence[tuple[str, ...]]
WIDTH = 110


def console() -> Console:
    """The terminal; what is no terminal is as wide as the tables need."""
    found = Console()
    return found if found.is_terminal else Console(width=WIDTH)


def machine() -> str:
    """What it ran on, without names of hosts."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    cpu = f", {found[1]}" if found else ""
    return f"{os.cpu_count()} cores{cpu}; {platform.system()}; Python {platform.python_version()}"


def as_table(title: str, columns: Sequence[str], rows: Rows) -> Table:
    """For the terminal."""
    table = Table(title=title)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def as_markdown(title: str, columns: Sequence[str], rows: Rows) -> str:
    """For results.md."""
    lines = [" | ".join(columns), " | ".join(["---", *["---:"] * (len(columns) - 1)]), *map(" | ".join, rows)]
    return f"## {title}\n\n" + "\n".join(f"| {line} |" for line in lines) + "\n"
