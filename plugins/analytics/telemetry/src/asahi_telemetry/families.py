"""The metrics there are: name, kind, labels, and what a value is counted in."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
#: Money is counted in nUSD and told in dollars, times in µs and told in ms: sums stay whole numbers.
NANO, MICRO, ONE = 1_000_000_000, 1_000, 1
_LATENCY = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)
_OVERHEAD = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)
_TOKENS = (10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000)


class Family(Struct, frozen=True, kw_only=True):
    """One metric. `scale` is how many of what is counted make one of what is told. `by_org` ones have the label `org`
    too where `observability.org_label` says so. `untyped` ones have a gauge of the same name beside them, which
    OpenMetrics does not allow for a counter. `known` are label values that are told from the start, as 0: without a
    sample before it `increase()` does not see the first of a kind, and a share of nothing is no answer."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    scale: int = ONE
    bounds: tuple[float, ...] = ()
    by_org: bool = False
    untyped: bool = False
    known: tuple[tuple[str, ...], ...] = ()

    @property
    def width(self) -> int:
        """Numbers in one series: a bucket each, the one above all bounds, and the sum."""
        return len(self.bounds) + 2 if self.bounds else 1


def _counter(
    name: str,
    help: str,
    *labels: str,
    scale: int = ONE,
    by_org: bool = False,
    known: tuple[tuple[str, ...], ...] = (),
) -> Family:
    return Family(name=name, kind="counter", help=help, labels=labels, scale=scale, by_org=by_org, known=known)


def _gauge(name: str, help: str, *labels: str, scale: int = ONE, by_org: bool = False) -> Family:
    return Family(name=name, kind="gauge", help=help, labels=labels, scale=scale, by_org=by_org)


def _histogram(name: str, help: str, bounds: tuple[float, ...], *labels: str, scale: int = MICRO) -> Family:
    return Family(name=name, kind="histogram", help=help, labels=labels, scale=scale, bounds=bounds)


_MODEL = ("model",)
_TIERS = (("1",), ("2",), ("3",))
_LEVELS = (("key",), ("user",), ("org",))
_ALERTS = tuple(
    ("raised", kind)
    for kind in (
        "cost_spike",
        "daily_cost_spike",
        "latency_spike",
        "error_rate",
        "cache_degradation",
        "quality_drop",
        "token_overrun",
        "false_hits",
        "price_unknown",
        "provider_down",
        "audit_gap",
        "ledger_mismatch",
    )
)
#: Faults by which something is lost for good.
_LOSSES = tuple(
    ("fault", part) for part in ("kafka.dropped", "kafka.refused", "traces.dropped", "sentry.dropped", "mail.refused")
)
ALL = (
    _counter("asahi_requests_total", "Requests.", "model", "task_type", "cache_tier", "status", by_org=True),
    _counter("asahi_cost_dollars_total", "What vendors billed.", *_MODEL, scale=NANO, by_org=True),
    _counter("asahi_baseline_dollars_total", "The same at the baseline.", *_MODEL, scale=NANO, by_org=True),
    _counter("asahi_overhead_dollars_total", "What Asahi spent itself.", *_MODEL, scale=NANO, by_org=True),
    Family(
        name="asahi_savings_dollars_total",
        kind="counter",
        help="Savings without what they cost: see asahi_savings_dollars.",
        labels=("technique",),
        scale=NANO,
        by_org=True,
        untyped=True,
    ),
    _gauge("asahi_savings_dollars", "Savings, net: may fall.", "technique", scale=NANO, by_org=True),
    _histogram("asahi_latency_ms", "From request to answer.", _LATENCY, "model", "cache_tier"),
    _histogram("asahi_overhead_ms", "Time in Asahi itself, by stage.", _OVERHEAD, "stage"),
    _histogram("asahi_ttft_ms", "From request to the first byte of a vendor's answer.", _LATENCY, "model"),
    _counter("asahi_cache_hits_total", "Requests that a cache tier answered.", "tier", by_org=True, known=_TIERS),
    _counter(
        "asahi_cache_misses_total",
        "Answered requests that a cache tier did not answer.",
        "tier",
        by_org=True,
        known=_TIERS,
    ),
    _gauge("asahi_cache_hit_rate", "Hits of all that were answered by this tier or a later one, since ever.", "tier"),
    _gauge("asahi_cache_entries", "Entries held in the processes.", "tier"),
    _gauge("asahi_cache_bytes", "Bytes held in the processes.", "tier"),
    _histogram("asahi_token_count", "Tokens of an answered request.", _TOKENS, "direction", scale=ONE),
    _gauge("asahi_quality_score", "Mean predicted quality, 0 to 5.", *_MODEL),
    _counter("asahi_errors_total", "Failed requests, faults of parts.", "error_type", "component", known=_LOSSES),
    _counter("asahi_provider_attempts_total", "Calls of vendors.", "provider", "outcome"),
    _gauge("asahi_breaker_state", "0 closed, 1 to be probed, 2 resting.", "provider"),
    _counter("asahi_budget_refusals_total", "Requests that a budget refused.", "level", known=_LEVELS),
    _counter(
        "asahi_rate_limited_total",
        "Requests that a rate limit or quota refused.",
        "level",
        known=(("key",), ("org",), ("day",)),
    ),
    _counter(
        "asahi_budget_overshoot_dollars_total", "Billed beyond what was held.", "level", scale=NANO, known=_LEVELS
    ),
    _counter("asahi_alerts_total", "Alerts by what became of them.", "state", "anomaly_type", known=_ALERTS),
    _gauge("asahi_journal_bytes", "Journal on the disk that storage does not hold yet."),
    _gauge("asahi_journal_lag_seconds", "Age of the oldest settled request that is not in storage."),
    _gauge("asahi_journal_pending", "Settled requests that are not in storage."),
    _gauge("asahi_dead_letters", "Records that storage cannot take."),
    _counter("asahi_unpriced_requests_total", "Requests whose price is unknown.", by_org=True, known=((),)),
    _gauge("asahi_event_loop_lag_ms", "How late the event loop was at most in the last seconds."),
    _gauge("asahi_inflight", "Requests under way."),
    _gauge("asahi_queue_depth", "Requests that wait for a place."),
    _gauge("asahi_workers", "Processes that are added up here."),
    _gauge("asahi_build_info", "Always 1.", "version", "profile"),
)
BY_NAME = {family.name: family for family in ALL}
