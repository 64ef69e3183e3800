"""The report of a run: what `--json` prints. Money in dollars, times in milliseconds."""

from __future__ import annotations

from msgspec import Struct


class Workload(Struct, frozen=True, kw_only=True):
    """What was replayed; `kinds` counts the requests by kind. `source` is a file's name, or `built-in workload`."""

    source: str
    built_in: bool
    requests: int
    seed: int
    concurrency: int
    kinds: dict[str, int]


class Percentiles(Struct, frozen=True, kw_only=True):
    """Nearest rank; None where nothing was measured."""

    count: int
    p50: float | None = None
    p90: float | None = None
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
    where there is too little to tell. `by_caching` (which `by_tier` splits) and `by_routing`, less `overhead`, are
    `dollars`; `by_false_hits` is the part of `by_caching` that wrong answers saved, `overhead` what Asahi's own calls
    cost, such as rechecks. `claimed` is what Asahi's own events say, and `claimed_by` the same by technique."""

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
    by_tier: dict[str, float]
    by_false_hits: float
    by_routing: float
    overhead: float
    claimed: float
    claimed_by: dict[str, float]


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


class TierTruth(Struct, frozen=True, kw_only=True):
    """The judged hits of one tier; the interval is Wilson's, of 95 %."""

    tier: int
    hits: int
    false_hits: int
    rate: float
    rate_low: float
    rate_high: float


class FalseHit(Struct, frozen=True, kw_only=True):
    """A question that was given the answer to another: `answers` is that other one, None where it cannot be told, each
    with what the workload says it means. `answer` is empty where the mock made it up."""

    id: str
    tier: int
    type: str
    prompt: str
    meaning: str
    answer: str
    answers: str | None
    answers_meaning: str | None


class Truth(Struct, frozen=True, kw_only=True):
    """What the workload knows. A hit is false when no request of the same meaning had been given that answer; `rate` is
    of the judged `hits`, None without one. `unjudged` hits gave an answer that no request of the run was given by a
    model. `proper` compares the rate with `bound`; `told` may end before `false_hit_ids`."""

    judged: int
    hits: int
    unjudged: int
    false_hits: int
    rate: float | None
    rate_low: float | None
    rate_high: float | None
    bound: float
    proper: bool
    by_tier: list[TierTruth]
    false_hit_ids: list[str]
    told: list[FalseHit]
    repeats: int
    missed_repeats: int


class Ledger(Struct, frozen=True, kw_only=True):
    """The answers' own sums beside those of the storage. `own_calls` is what Asahi spent on calls that no request
    waited for: the storage counts it against what was saved."""

    requests: int
    events: int
    cost: float
    stored_cost: float
    saved: float
    stored_saved: float
    own_calls: float
    agree: bool


class Target(Struct, frozen=True, kw_only=True):
    """A goal of the product beside what this run measured. `met` is None where the run cannot tell."""

    name: str
    target: str
    measured: str
    met: bool | None


class Machine(Struct, frozen=True, kw_only=True):
    """Where the run took place. Times are comparable only on one machine."""

    system: str
    processor: str
    cores: int
    python: str


class Configuration(Struct, frozen=True, kw_only=True):
    """What was configured, by name; `source` is the file."""

    source: str
    profile: str
    providers: list[str]
    tiers: list[str]
    rules: list[str]
    transforms: list[str]
    policies: list[str]
    models: int


class Circumstances(Struct, frozen=True, kw_only=True):
    """When, where and how; `command` does it again."""

    started: str
    duration_s: float
    command: str
    machine: Machine
    configuration: Configuration


class Report(Struct, frozen=True, kw_only=True):
    """The whole run. `good` is false after false hits beyond the bound, where books disagree, and where nothing could
    be compared."""

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
    tier_latency_ms: dict[str, Percentiles]
    miss_latency_ms: Percentiles
    overhead_ms: Percentiles
    baseline_books: Ledger
    asahi_books: Ledger
    targets: list[Target]
    circumstances: Circumstances
    notes: list[str]
