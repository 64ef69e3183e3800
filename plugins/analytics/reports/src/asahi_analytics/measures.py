"""What a rule of an org's own can look at: the metrics, and what each reads from the sums of a window."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from asahi_kernel.rollups import Sums, percentile

#: Requests below which a rate or a percentile says nothing, unless the rule says another number.
ENOUGH = 20


class Reading(Struct, frozen=True):
    """A value in dollars, milliseconds, tokens, requests, or as a fraction of one; None of nothing. It rests on
    `sample` requests, and with `unpriced` more it is only a lower bound, since nobody knows what those cost."""

    value: float | None
    sample: int
    unpriced: int = 0


class Metric(Struct, frozen=True, kw_only=True):
    """`money` is for readers with view_cost, `most` the highest threshold that makes sense, `detail` whether latencies
    are read."""

    read: Callable[[Sums], Reading]
    say: Callable[[float], str]
    words: str
    enough: int = 0
    money: bool = False
    most: float | None = None
    detail: bool = False
    scopes: tuple[str, ...] = ("org", "key", "user", "model", "task")


def _share(part: int, whole: int) -> Reading:
    return Reading(part / whole if whole else None, whole)


def _percent(value: float) -> str:
    return f"{100 * value:.4g} %"


METRICS: Mapping[str, Metric] = {
    "cost": Metric(
        read=lambda sums: Reading((sums.cost + sums.overhead_cost) / 1e9, sums.requests, sums.unpriced),
        say=lambda value: f"${value:.6g}",
        words="the cost",
        money=True,
    ),
    "error_rate": Metric(
        read=lambda sums: _share(sums.errors, sums.requests),
        say=_percent,
        words="the share of failed requests",
        enough=ENOUGH,
        most=1,
    ),
    "p95_latency": Metric(
        read=lambda sums: Reading(percentile(sums.sketch, 0.95), sums.requests),
        say=lambda value: f"{value:.4g} ms",
        words="the p95 latency",
        enough=ENOUGH,
        detail=True,
    ),
    "hit_rate": Metric(
        read=lambda sums: _share(sums.hits, sums.hits + sums.misses),
        say=_percent,
        words="the cache's hit rate",
        enough=ENOUGH,
        most=1,
    ),
    "false_hit_rate": Metric(
        read=lambda sums: _share(sums.errors, sums.requests),
        say=_percent,
        words="the share of wrong answers among cached ones that were checked",
        enough=ENOUGH,
        most=1,
        scopes=("org",),
    ),
    "budget_share": Metric(
        read=lambda sums: Reading(float(sums.cost + sums.overhead_cost), sums.requests, sums.unpriced),
        say=_percent,
        words="the used share of the fullest budget",
        money=True,
        most=10,
        scopes=("org", "key", "user"),
    ),
    "tokens": Metric(
        read=lambda sums: Reading(float(sums.input_tokens + sums.output_tokens), sums.requests),
        say=lambda value: f"{value:,.0f} tokens",
        words="the tokens",
    ),
    "requests": Metric(
        read=lambda sums: Reading(float(sums.requests), sums.requests),
        say=lambda value: f"{value:,.0f} requests",
        words="the number of requests",
    ),
}
