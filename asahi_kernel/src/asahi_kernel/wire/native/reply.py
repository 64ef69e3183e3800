"""Encodes answers and errors for `POST /infer`: one JSON object, or server-sent events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import ceil

import msgspec
from msgspec import UNSET, Struct, UnsetType

from asahi_kernel.answer import Alternative, Answer, StepNote
from asahi_kernel.errors import AsahiError
from asahi_kernel.money import dollars

STAGES: Mapping[str, float] = {
    "admission": 0.0,
    "cache_lookup": 0.0,
    "routing": 0.0,
    "inference": 0.0,
    "post_processing": 0.0,
}

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Option(Struct, frozen=True, kw_only=True):
    """Another model that might have answered, in dollars."""

    model: str
    estimated_cost: float | None
    estimated_quality: float
    estimated_latency_ms: float
    savings_percent: float | None


class Cache(Struct, frozen=True, kw_only=True):
    """Where a stored answer came from; what does not apply is left out."""

    hit: bool
    tier: int
    similarity: float | UnsetType = UNSET
    entry_id: str | UnsetType = UNSET
    age_s: float | UnsetType = UNSET
    cached_query: str | UnsetType = UNSET
    steps_reused: int | UnsetType = UNSET
    steps_total: int | UnsetType = UNSET


class StepTold(Struct, frozen=True, kw_only=True):
    """One step of an answer that was made in several; its cost now in dollars."""

    step_id: str
    step_type: str
    reused: bool
    model: str
    cost: float | None


class Reply(Struct, frozen=True, kw_only=True):
    """The whole response object. Money in dollars, times in milliseconds."""

    request_id: str
    response_id: str
    timestamp: datetime
    response: str | UnsetType = UNSET
    model_used: str
    provider: str
    finish_reason: str
    routing_mode: str
    routing_reason: str
    task_type_detected: str
    task_confidence: float
    difficulty: str | None
    predicted_quality: float | None
    fallback_used: bool
    relaxed: tuple[str, ...]
    alternatives: tuple[Option, ...]
    tokens_input: int
    tokens_output: int
    tokens_total: int
    tokens_cached: int
    tokens_reasoning: int
    tokens_billed: int
    cost: float | None
    baseline_cost: float | None
    overhead_cost: float | None
    saved: float | None
    cost_savings_percent: float | None
    baseline_model: str | None
    price_version: str | None
    price_known: bool
    saved_by: Mapping[str, float | None]
    cache_hit: bool
    cache_tier: int
    cache: Cache
    optimization_techniques: tuple[str, ...]
    optimization: None
    features_used: tuple[str, ...]
    steps: tuple[StepTold, ...]
    latency_ms: float
    ttft_ms: float | None
    latency_breakdown: Mapping[str, float]
    attempts: int
    warnings: tuple[str, ...]


class Problem(Struct, frozen=True, kw_only=True):
    """An error as `application/problem+json`."""

    error: str
    message: str
    request_id: str
    details: Mapping[str, object]
    retry_after_seconds: int | UnsetType = UNSET
    type: str
    title: str
    status: int


def encode(answer: Answer) -> bytes:
    """The response object."""
    return _encode(_reply(answer, answer.completion.text))


def encode_delta(text: str) -> bytes:
    """One event with a piece of the answer."""
    return b'event: delta\ndata: {"text":' + _encode(text) + b"}\n\n"


def encode_done(answer: Answer) -> bytes:
    """The last event of a good stream: the response object without the text."""
    return b"event: done\ndata: " + _encode(_reply(answer, UNSET)) + b"\n\n"


def encode_error_event(error: AsahiError, request_id: str) -> bytes:
    """The last event of a failed stream."""
    return b"event: error\ndata: " + problem(error, request_id) + b"\n\n"


def problem(error: AsahiError, request_id: str) -> bytes:
    """The body of a failed call; a field at fault is named in `details.param`."""
    details = error.details if error.param is None else {"param": error.param, **error.details}
    return _encode(
        Problem(
            error=error.code,
            message=error.message,
            request_id=request_id,
            details=details,
            retry_after_seconds=UNSET if error.retry_after is None else ceil(error.retry_after),
            type="about:blank",
            title=error.code.replace("_", " ").capitalize(),
            status=error.status,
        )
    )


def _reply(answer: Answer, text: str | UnsetType) -> Reply:
    completion, route, usage, bill, hit = answer.completion, answer.route, answer.usage, answer.bill, answer.hit
    return Reply(
        request_id=answer.request_id,
        response_id=f"resp-{answer.request_id}",
        timestamp=answer.timestamp,
        response=text,
        model_used=completion.model,
        provider=completion.provider,
        finish_reason=completion.finish_reason,
        routing_mode=route.mode,
        routing_reason=route.reason,
        task_type_detected=route.task_type,
        task_confidence=route.task_confidence,
        difficulty=route.difficulty,
        predicted_quality=route.predicted_quality,
        fallback_used=route.fallback_used,
        relaxed=route.relaxed,
        alternatives=tuple(_option(other) for other in route.alternatives),
        tokens_input=usage.input_tokens,
        tokens_output=usage.output_tokens,
        tokens_total=usage.total_tokens,
        tokens_cached=usage.cached_tokens,
        tokens_reasoning=usage.reasoning_tokens,
        tokens_billed=answer.billed_tokens,
        cost=dollars(bill.cost),
        baseline_cost=dollars(bill.baseline_cost),
        overhead_cost=dollars(bill.overhead_cost),
        saved=dollars(bill.saved),
        cost_savings_percent=_percent(answer),
        baseline_model=bill.baseline_model,
        price_version=bill.price_version,
        price_known=bill.price_known,
        saved_by={technique: dollars(amount) for technique, amount in bill.saved_by.items()},
        cache_hit=hit is not None,
        cache_tier=answer.tier,
        cache=_cache(answer),
        optimization_techniques=answer.techniques,
        optimization=None,
        features_used=(),
        steps=tuple(map(_step, answer.steps)),
        latency_ms=answer.latency_ms,
        ttft_ms=answer.ttft_ms,
        latency_breakdown={**STAGES, **answer.breakdown, "total": answer.latency_ms},
        attempts=answer.attempts,
        warnings=answer.warnings,
    )


def _option(other: Alternative) -> Option:
    return Option(
        model=other.model,
        estimated_cost=dollars(other.estimated_cost),
        estimated_quality=other.estimated_quality,
        estimated_latency_ms=other.estimated_latency_ms,
        savings_percent=other.savings_percent,
    )


def _step(step: StepNote) -> StepTold:
    return StepTold(
        step_id=step.step_id, step_type=step.step_type, reused=step.reused, model=step.model, cost=dollars(step.cost)
    )


def _cache(answer: Answer) -> Cache:
    hit, steps = answer.hit, answer.steps
    reused = sum(step.reused for step in steps) if steps else UNSET
    total = len(steps) if steps else UNSET
    if hit is None:
        return Cache(hit=False, tier=answer.tier, steps_reused=reused, steps_total=total)
    return Cache(
        hit=True,
        tier=hit.tier,
        similarity=UNSET if hit.similarity is None else hit.similarity,
        entry_id=hit.entry_id,
        age_s=hit.age_s,
        steps_reused=reused,
        steps_total=total,
    )


def _percent(answer: Answer) -> float | None:
    bill = answer.bill
    if not bill.price_known or not bill.baseline_cost:
        return None
    return round(100 * bill.saved / bill.baseline_cost, 2)
