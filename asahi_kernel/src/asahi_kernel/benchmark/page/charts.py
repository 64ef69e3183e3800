"""Charts: bars, intervals and ranges as inline SVG that stretches with the page; the words beside them are HTML."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10

from msgspec import Struct

from asahi_kernel.benchmark.page.wording import text


class Bar(Struct, frozen=True, kw_only=True):
    """One row: `value` on the scale of the chart, drawn in the colour of `kind`; `low` and `high` bound an interval."""

    name: str
    value: float | None
    shown: str
    kind: str = "asahi"
    low: float | None = None
    high: float | None = None


class Range(Struct, frozen=True, kw_only=True):
    """One row of points in ascending order, the first and last of which span a line."""

    name: str
    points: Sequence[float]
    shown: str
    kind: str = "asahi"


def bars(rows: Sequence[Bar], top: float, target: tuple[float, str] | None = None) -> str:
    """Horizontal bars from 0 to `top`; what is below 0 is drawn from the same side, in the colour of a loss."""
    lines = "\n".join(_bar(row, top or 1.0, target) for row in rows)
    note = f'<p class="key"><span class="mark"></span> {text(target[1])}</p>' if target else ""
    return f'<div class="chart">\n{lines}\n</div>{note}'


def ranges(rows: Sequence[Range], unit: str) -> str:
    """From the least to the greatest point of each row, on a logarithmic scale of whole decades."""
    found = [point for row in rows for point in row.points if point > 0]
    if not found:
        return ""
    low, high = floor(log10(min(found))), ceil(log10(max(found)))
    high = max(high, low + 1)

    def place(value: float) -> float:
        return 100 * (log10(max(value, 10**low)) - low) / (high - low)

    lines = "\n".join(_range(row, [place(point) for point in row.points], high - low) for row in rows)
    decades = range(low, high + 1)
    ticks = "".join(f"<span>{10.0**decade:g}</span>" for decade in decades)
    axis = f'<div class="row axis"><span></span><span class="ticks">{ticks}</span><span>{text(unit)}</span></div>'
    return f'<div class="chart ranges">\n{lines}\n{axis}\n</div>'


def _bar(row: Bar, top: float, target: tuple[float, str] | None) -> str:
    drawn = ""
    if row.value is not None:
        kind = "loss" if row.value < 0 else row.kind
        drawn = f'<rect class="{kind}" x="0" y="3" width="{_x(abs(row.value), top)}" height="14"/>'
    if row.low is not None and row.high is not None:
        low, high = _x(row.low, top), _x(row.high, top)
        drawn += f'<path class="whisker" d="M{low} 10H{high}M{low} 5V15M{high} 5V15"/>'
    if target is not None:
        drawn += f'<path class="target" d="M{_x(target[0], top)} 0V20"/>'
    return _row(row.name, drawn, row.shown)


def _range(row: Range, places: Sequence[float], decades: int) -> str:
    grid = "".join(f"M{100 * each / decades:.2f} 0V20" for each in range(decades + 1))
    drawn = f'<path class="grid" d="{grid}"/>'
    if places:
        drawn += f'<path class="span {row.kind}" d="M{places[0]:.2f} 10H{places[-1]:.2f}"/>'
        points = "".join(f"M{each:.2f} 3V17" for each in places)
        drawn += f'<path class="points {row.kind}" d="{points}"/>'
    return _row(row.name, drawn, row.shown)


def _row(name: str, drawn: str, shown: str) -> str:
    label = text(f"{name}: {shown}")
    svg = f'<svg viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label="{label}">{drawn}</svg>'
    return f'<div class="row"><span>{text(name)}</span>{svg}<span class="value">{text(shown)}</span></div>'


def _x(value: float, top: float) -> str:
    return f"{min(100.0, max(0.0, 100 * value / top)):.2f}"
