"""The times: percentiles of both sides, and of what Asahi itself takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asahi_kernel.benchmark.page.charts import Range, ranges
from asahi_kernel.benchmark.page.wording import TIERS, milliseconds, section, table, text

if TYPE_CHECKING:
    from asahi_kernel.benchmark.report import Percentiles, Report


def render(report: Report) -> str:
    """The section on times."""
    found = {"without Asahi": report.baseline.latency_ms, "with Asahi": report.asahi.latency_ms}
    found |= {f"hits of tier {tier}, {TIERS[tier]}": each for tier, each in report.tier_latency_ms.items()}
    found |= {"misses": report.miss_latency_ms, "Asahi's own work": report.overhead_ms}
    rows = [
        Range(
            name=name,
            points=_points(each),
            shown=f"p50 {milliseconds(each.p50)}",
            kind="baseline" if name == "without Asahi" else "asahi",
        )
        for name, each in found.items()
    ]
    figures = table(
        ("ms", "requests", "p50", "p90", "p95", "p99"),
        [
            (text(name), f"{each.count:,}", *map(milliseconds, (each.p50, each.p90, each.p95, each.p99)))
            for name, each in found.items()
        ],
    )
    mock = (
        "The mock waits only a small share of a model's reference latency, so these times show what Asahi takes and "
        "not what it saves. "
        if report.mock
        else ""
    )
    return section(
        "Times",
        ranges(rows, "ms"),
        '<p class="small">From left to right p50, p90, p95 and p99, on a logarithmic scale. '
        f"{mock}Times are comparable only within one run on one machine.</p>",
        figures,
    )


def _points(found: Percentiles) -> list[float]:
    return [each for each in (found.p50, found.p90, found.p95, found.p99) if each is not None]
