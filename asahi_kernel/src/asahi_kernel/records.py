"""The values that stay: what is stored about a request once it is over."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, TypeAlias

from msgspec import Struct

from asahi_kernel.tracing import Parent
from asahi_kernel.types import Findings, Usage

Status: TypeAlias = Literal["ok", "denied", "failed", "aborted", "unknown"]


#: The route of what Asahi asks of its own accord, such as a recheck: it costs, but is nobody's request.
OWN = "recheck"


class Attempt(Struct, frozen=True, kw_only=True):
    """One call to one provider. `outcome` is `ok`, or a word for what went wrong; `cost` is nUSD, None if unpriced.

    `usage` is what the call is billed for. `share` is what was asked of the ordinary price, in thousandths.
    """

    n: int
    provider: str
    model: str
    outcome: str
    http_status: int | None = None
    latency_ms: float = 0.0
    ttft_ms: float | None = None
    usage: Usage = Usage()
    cost: int | None = 0
    share: int = 1_000
    billed: bool = False
    provider_request_id: str = ""


class Event(Struct, frozen=True, kw_only=True):
    """One request, whatever its attempts, joins and fallbacks. Money is nUSD; `cost` None means the price is unknown.

    Tokens are those of the answer, also on hits; `billed_tokens` are what a provider billed now, `baseline_usage` what
    the baseline is the price of. On hits `model_selected` and `provider` name who produced the stored answer. `parent`
    is the caller's span, which sinks are told of; storage keeps none.
    """

    request_id: str
    timestamp: datetime
    org_id: str
    route: str
    status: Status
    client_request_id: str | None = None
    user_id: str | None = None
    key_id: str | None = None
    error: str | None = None
    task_type: str = "general"
    difficulty: str | None = None
    routing_mode: str = "autopilot"
    model_requested: str | None = None
    model_selected: str = ""
    provider: str = ""
    cache_hit: bool = False
    cache_tier: int = 0
    cache_similarity: float | None = None
    cache_entry_id: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    billed_tokens: int = 0
    usage_source: str = "provider"
    latency_ms: float = 0.0
    ttft_ms: float | None = None
    latency_breakdown: Mapping[str, float] = {}
    cost: int | None = 0
    baseline_cost: int = 0
    overhead_cost: int = 0
    saved: int = 0
    baseline_model: str | None = None
    baseline_usage: Usage = Usage()
    price_version: str | None = None
    saved_by: Mapping[str, int] = {}
    techniques: tuple[str, ...] = ()
    tags: Mapping[str, str] = {}
    routing_reason: str = ""
    fallback_used: bool = False
    attempts: tuple[Attempt, ...] = ()
    quality_score: float | None = None
    agent_id: str | None = None
    agent_type: str | None = None
    workflow_id: str | None = None
    warnings: tuple[str, ...] = ()
    parent: Parent | None = None

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Lookup(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One cache tier's turn."""

    tier: int
    asked: bool = True
    hit: bool = False
    reason: str = ""
    similarity: float | None = None
    ms: float = 0.0


class Considered(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A model as it was considered: the estimates that its fate rested on, without its profile. `cost` is nUSD."""

    name: str
    quality: float
    latency_ms: float
    cost: int | None = None
    interval: tuple[float, float] | None = None


class RuleNote(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One rule's turn: whom it dropped and why. `order` names who was left, where the rule reordered them."""

    rule: str
    dropped: Mapping[str, str] = {}
    order: tuple[str, ...] = ()


class Decision(Struct, frozen=True, kw_only=True):
    """Why a request was answered as it was, beside its event, which has the money and the attempts. Holds no prompt and
    no answer."""

    request_id: str
    org_id: str
    user_id: str | None
    timestamp: datetime
    mode: str
    task_type: str
    required: Mapping[str, float | None]
    lookups: tuple[Lookup, ...]
    candidates: tuple[Considered, ...]
    rules: tuple[RuleNote, ...]
    chosen: str | None
    reason: str
    sources: Mapping[str, str] = {}
    findings: Findings | None = None


class Settled(Struct, frozen=True):
    """A request that is over: what goes through the journal to storage and to the sinks."""

    event: Event
    decision: Decision


class EventQuery(Struct, frozen=True, kw_only=True):
    """Which past requests to list, newest first: those in `[start, end)` that match every filter given. `before` is the
    request id that the previous page ended with; ids sort by time."""

    start: datetime | None = None
    end: datetime | None = None
    model: str | None = None
    user_id: str | None = None
    key_id: str | None = None
    tier: int | None = None
    status: Status | None = None
    workflow_id: str | None = None
    before: str | None = None
    limit: int = 50


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A record that storage cannot take, set apart so that the others go through."""

    source: str
    payload: bytes
    error: str
    timestamp: datetime


class Observation(Struct, frozen=True, kw_only=True):
    """A judgement of a past answer: `quality` is 0..5, `weight` 1 for a person or a judge, less for a mere sign.

    `task` and `difficulty` are those of the request's own event; a request that was never routed has no difficulty.
    """

    request_id: str
    org: str
    user: str | None
    model: str
    task: str
    difficulty: str | None
    quality: float
    weight: float = 1.0
    timestamp: datetime


class Claim(Struct, frozen=True, kw_only=True):
    """An `Idempotency-Key` as one org used it on one route; `fingerprint` is the SHA-256 of the body. `lease_s` is how
    long its answer may take to make: past that its maker is dead, and the key may be claimed again. The answer is that
    of `user`."""

    org_id: str
    route: str
    key: str
    fingerprint: bytes
    request_id: str
    lease_s: float = 150.0
    user: str | None = None


class Kept(Struct, frozen=True, kw_only=True):
    """The answer to a claimed request. `status` 0 means that it is still being made."""

    fingerprint: bytes
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


class Totals(Struct, kw_only=True):
    """Sums over an org's events; money in nUSD. `misses` are answers that no tier had."""

    requests: int = 0
    errors: int = 0
    cost: int = 0
    baseline_cost: int = 0
    overhead_cost: int = 0
    saved: int = 0
    cache_saved: int = 0
    latency_ms: float = 0.0
    quality: float = 0.0
    quality_count: int = 0
    unpriced: int = 0
    cost_by_model: dict[str, int] = {}
    requests_by_model: dict[str, int] = {}
    saved_by: dict[str, int] = {}
    hits_by_tier: dict[int, int] = {}
    misses: int = 0
