"""What the pipeline gives back: the completion, what it cost, what it would have cost, and why."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias

from msgspec import Struct

from asahi_kernel.types import Chunk, Completion, Hit, Usage


class Bill(Struct, frozen=True, kw_only=True):
    """The money of one request in nUSD. `cost` None means that the price is unknown; `saved_by` sums to `saved`.
    `baseline_usage` is what `baseline_cost` is the price of."""

    cost: int | None = 0
    baseline_cost: int = 0
    baseline_usage: Usage = Usage()
    overhead_cost: int = 0
    saved: int = 0
    saved_by: Mapping[str, int] = {}
    baseline_model: str | None = None
    price_version: str | None = None

    @property
    def price_known(self) -> bool:
        return self.cost is not None


class Alternative(Struct, frozen=True, kw_only=True):
    """Another model that might have answered; money in nUSD."""

    model: str
    estimated_cost: int | None
    estimated_quality: float
    estimated_latency_ms: float
    savings_percent: float | None


class StepNote(Struct, frozen=True, kw_only=True):
    """One step of a request that was answered in several. `cost` is what it cost now, in nUSD: 0 where it was reused,
    None where the price is unknown. `worth` is what a reused one would have cost at its model's prices of today."""

    step_id: str
    step_type: str
    reused: bool
    model: str
    cost: int | None = 0
    worth: int = 0


class Route(Struct, frozen=True, kw_only=True):
    """The outcome of routing, as told to the caller."""

    mode: str
    reason: str
    task_type: str = "general"
    task_confidence: float = 0.1
    difficulty: str | None = None
    predicted_quality: float | None = None
    fallback_used: bool = False
    relaxed: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()


class Answer(Struct, frozen=True, kw_only=True):
    """The answer to one admitted request.

    `usage` is that of the answer (of the stored answer on a hit), `billed_tokens` what a provider billed now.
    `breakdown` is in milliseconds by stage. In a stream's last Answer `completion` holds the whole text too.
    """

    request_id: str
    timestamp: datetime
    completion: Completion
    usage: Usage
    bill: Bill
    route: Route
    hit: Hit | None = None
    cache_status: str = "miss"
    billed_tokens: int = 0
    techniques: tuple[str, ...] = ()
    latency_ms: float = 0.0
    ttft_ms: float | None = None
    breakdown: Mapping[str, float] = {}
    attempts: int = 0
    warnings: tuple[str, ...] = ()
    steps: tuple[StepNote, ...] = ()

    @property
    def tier(self) -> int:
        """The tier that it came from, 3 also where only steps of it were reused, or 0."""
        return self.hit.tier if self.hit else 3 * any(step.reused for step in self.steps)


StreamItem: TypeAlias = Chunk | Answer
