"""What a running process tells of itself: its CPU and memory in /proc, its figures in /metrics."""

import math
import os
from pathlib import Path
from urllib.request import urlopen


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads and children, from /proc."""
    return sum(_cpu_seconds(one) for one in (pid, *children(pid)))


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def _cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Memory that a process holds, MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def figure(address: str, name: str, label: str = "", *, within_seconds: float = 10) -> float:
    """The sum of a figure over its labels: 0 while there is none, nan, which equals nothing, where nobody answers."""
    try:
        with urlopen(address, timeout=within_seconds) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return math.nan
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name and label in line
    )
