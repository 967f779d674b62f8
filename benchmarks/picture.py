"""The picture of the results: one bar a program, its length the median, a line over it the range. Plain SVG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from xml.sax.saxutils import escape

WIDTH, LABELS, FIGURES, ROW, TOP, BOTTOM = 760, 220, 130, 34, 44, 30
BAR, RANGE, TEXT = "#3b6ea5", "#111111", "#111111"


def write(path: Path, values: Mapping[str, Sequence[float]], caption: str) -> None:
    """Write the picture: name -> CPU µs a delivery of each turn."""
    path.write_text(svg(values, caption), encoding="utf-8")


def svg(values: Mapping[str, Sequence[float]], caption: str) -> str:
    """The picture as text."""
    scale = (WIDTH - LABELS - FIGURES) / max(max(turns) for turns in values.values())
    rows = [_row(place, name, turns, scale) for place, (name, turns) in enumerate(values.items())]
    height = TOP + ROW * len(rows) + BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="13" role="img" aria-label="CPU µs a delivery">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n'
        f"{_text(12, 24, 'CPU µs a delivery of 8 events, 64 connections (median, range)', bold=True)}\n"
        + "".join(rows)
        + f"{_text(12, height - 10, caption)}\n</svg>\n"
    )


def _row(place: int, name: str, turns: Sequence[float], scale: float) -> str:
    y, middle = TOP + ROW * place, median(turns)
    centre, low, high = y + ROW // 2 - 4, LABELS + scale * min(turns), LABELS + scale * max(turns)
    return (
        f"{_text(12, centre + 5, name)}\n"
        f'<rect x="{LABELS}" y="{y}" width="{scale * middle:.1f}" height="{ROW - 8}" fill="{BAR}"/>\n'
        f'<path d="M{low:.1f} {centre}H{high:.1f}" stroke="{RANGE}" stroke-width="2"/>\n'
        f"{_text(high + 8, centre + 5, f'{middle:,.0f} [{min(turns):,.0f}–{max(turns):,.0f}]')}\n"
    )


def _text(x: float, y: float, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{TEXT}"{weight}>{escape(text)}</text>'
