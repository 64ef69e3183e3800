"""The caches: how many requests each of them answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asahi_kernel.benchmark.page.charts import Bar, bars
from asahi_kernel.benchmark.page.wording import TIERS, section, share, table
from asahi_kernel.benchmark.table import KINDS

if TYPE_CHECKING:
    from asahi_kernel.benchmark.report import Report

_EXPECTED = {"repeat": ", should all hit", "near_miss": ", must not hit"}


def render(report: Report) -> str:
    """The section on caches."""
    cache, requests = report.caching, report.workload.requests
    rows = [_tier(report, tier, hits) for tier, hits in cache.by_tier.items()]
    rows.append(
        Bar(
            name="no cache",
            value=requests - cache.hits,
            shown=f"{requests - cache.hits:,} · {share(1 - cache.hit_rate)}",
            kind="baseline",
        )
    )
    kinds = table(
        ("requests", "asked", "hits", "share"),
        [
            (KINDS[kind] + _EXPECTED.get(kind, ""), f"{asked:,}", f"{hits:,}", share(hits / asked))
            for kind, asked in report.workload.kinds.items()
            for hits in (cache.by_kind.get(kind, 0),)
        ],
    )
    shared = f"<p>{cache.shared:,} of the exact hits shared a call under way.</p>" if cache.shared else ""
    return section("Answers from the caches", bars(rows, requests), shared, kinds)


def _tier(report: Report, tier: str, hits: int) -> Bar:
    name = TIERS[tier]
    if not hits and name not in report.caching.tiers:
        return Bar(name=f"tier {tier}, {name}", value=None, shown="not in use")
    return Bar(
        name=f"tier {tier}, {name}",
        value=hits,
        shown=f"{hits:,} · {share(hits / report.workload.requests)}",
    )
