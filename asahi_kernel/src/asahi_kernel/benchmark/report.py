"""The report of a run: what `--json` prints. Money in dollars, times in milliseconds."""

from __future__ import annotations

from msgspec import Struct


class Workload(Struct, frozen=True, kw_only=True):
    """What was replayed; `kinds` counts the requests by kind."""

    source: str
    requests: int
    seed: int
    concurrency: int
    kinds: dict[str, int]


class Percentiles(Struct, frozen=True, kw_only=True):
    """Nearest rank; None where nothing was measured."""

    count: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Side(Struct, frozen=True, kw_only=True):
    """One contestant's bill over all requests. `quality` is the mean of the models' priors (0..5), judged by nobody;
    `cost` holds what failed requests cost, and `unpriced` requests are in no sum."""

    models: dict[str, int]
    cost: float
    failed_cost: float
    input_tokens: int
    output_tokens: int
    unpriced: int
    errors: dict[str, int]
    quality: float | None
    latency_ms: Percentiles


class Saving(Struct, frozen=True, kw_only=True):
    """Over the requests that both sides answered at a known price. The interval is a bootstrap over requests; None
    where there is too little to tell. `claimed` is what Asahi's own events say."""

    compared: int
    baseline_cost: float
    cost: float
    dollars: float
    dollars_low: float | None
    dollars_high: float | None
    percent: float | None
    percent_low: float | None
    percent_high: float | None
    confidence: float = 0.95
    resamples: int
    by_caching: float
    by_routing: float
    claimed: float


class TypeSaving(Struct, frozen=True, kw_only=True):
    """The compared requests of one task type."""

    type: str
    requests: int
    baseline_cost: float
    cost: float
    percent: float | None


class Caching(Struct, frozen=True, kw_only=True):
    """Hits by tier and by kind of request; `shared` hits waited for an identical request under way."""

    tiers: list[str]
    hits: int
    hit_rate: float
    by_tier: dict[str, int]
    by_kind: dict[str, int]
    shared: int


class Truth(Struct, frozen=True, kw_only=True):
    """What the workload knows. A hit is false when no request of the same meaning had been given that answer."""

    judged: int
    false_hits: int
    false_hit_ids: list[str]
    repeats: int
    missed_repeats: int


class Ledger(Struct, frozen=True, kw_only=True):
    """The answers' own sums beside those of the storage."""

    requests: int
    events: int
    cost: float
    stored_cost: float
    saved: float
    stored_saved: float
    agree: bool


class Report(Struct, frozen=True, kw_only=True):
    """The whole run. `good` is false after a false hit, where books disagree, and where nothing could be compared."""

    version: str
    mock: bool
    good: bool
    workload: Workload
    baseline_model: str
    baseline: Side
    asahi: Side
    saving: Saving
    types: list[TypeSaving]
    caching: Caching
    truth: Truth
    hit_latency_ms: Percentiles
    miss_latency_ms: Percentiles
    overhead_ms: Percentiles
    baseline_books: Ledger
    asahi_books: Ledger
    notes: list[str]
