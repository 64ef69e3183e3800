"""Spans: the trace of one settled request, laid out from its event. No prompt and no answer is in an event, so none is
in a trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from asahi_kernel.tracing import span_id, trace_id

if TYPE_CHECKING:
    from asahi_kernel.records import Attempt, Event
    from asahi_kernel.tracing import Parent

_STAGES = {
    "admission": "asahi.admit",
    "cache_lookup": "asahi.recall",
    "routing": "asahi.route",
    "post_processing": "asahi.settle",
}
_VENDORS = "inference"
_SCOPE = InstrumentationScope("asahi_telemetry")
_EMBEDDINGS = "/v1/embeddings"


class Layout:
    """Lays out events as spans. `org` is what an org is called in them."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def spans(self, event: Event, org: str) -> Iterator[ReadableSpan]:
        """The server span, its stages in their order, and a client span for each call of a vendor. Stages follow each
        other; calls too, from the beginning of theirs, for an event has how long they took and not when they began."""
        start = round(event.timestamp.timestamp() * 1e9)
        root = self._context(event, "root")
        end = start + round(event.latency_ms * 1e6)
        bad = Status(StatusCode.ERROR, event.error) if event.status == "failed" else Status(StatusCode.UNSET)
        yield self._span(
            f"POST {event.route}", root, _remote(event.parent), SpanKind.SERVER, start, end, _told(event, org), bad
        )
        at = start
        for stage, spent_ms in event.latency_breakdown.items():
            spent = round(spent_ms * 1e6)
            if stage == _VENDORS:
                yield from self._attempts(event, root, at)
            else:
                name = _STAGES.get(stage, f"asahi.{stage}")
                yield self._span(name, self._context(event, stage), root, SpanKind.INTERNAL, at, at + spent, {})
            at += spent

    def _attempts(self, event: Event, root: SpanContext, at: int) -> Iterator[ReadableSpan]:
        operation = "embeddings" if event.route == _EMBEDDINGS else "chat"
        for attempt in event.attempts:
            end = at + round(attempt.latency_ms * 1e6)
            bad = Status(StatusCode.UNSET if attempt.outcome == "ok" else StatusCode.ERROR)
            told = _called(attempt, operation, fallback=event.fallback_used)
            context = self._context(event, f"attempt {attempt.n}")
            yield self._span(f"{operation} {attempt.model}", context, root, SpanKind.CLIENT, at, end, told, bad)
            at = end

    def _context(self, event: Event, part: str) -> SpanContext:
        return SpanContext(
            int(trace_id(event.request_id, event.parent), 16),
            int(span_id(event.request_id, part), 16),
            is_remote=False,
            trace_flags=TraceFlags(TraceFlags.SAMPLED),
            trace_state=_state(event.parent),
        )

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        start: int,
        end: int,
        attributes: dict[str, Any],
        status: Status | None = None,
    ) -> ReadableSpan:
        return ReadableSpan(
            name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes={key: value for key, value in attributes.items() if value is not None},
            kind=kind,
            status=status or Status(StatusCode.UNSET),
            start_time=start,
            end_time=end,
            instrumentation_scope=_SCOPE,
        )


def _remote(parent: Parent | None) -> SpanContext | None:
    """The caller's span."""
    if parent is None:
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    trace, span = int(parent.trace_id, 16), int(parent.span_id, 16)
    return SpanContext(trace, span, is_remote=True, trace_flags=flags, trace_state=_state(parent))


def _state(parent: Parent | None) -> TraceState | None:
    return TraceState.from_header([parent.state]) if parent is not None and parent.state else None


def _told(event: Event, org: str) -> dict[str, Any]:
    return {
        "http.request.method": "POST",
        "http.route": event.route,
        "asahi.request_id": event.request_id,
        "asahi.org": org,
        "asahi.status": event.status,
        "asahi.task_type": event.task_type,
        "asahi.mode": event.routing_mode,
        "asahi.cache.tier": event.cache_tier,
        "asahi.cache.similarity": event.cache_similarity,
        "asahi.cost_usd": None if event.cost is None else event.cost / 1e9,
        "asahi.baseline_cost_usd": event.baseline_cost / 1e9,
        "asahi.saved_usd": event.saved / 1e9,
        "asahi.price_version": event.price_version,
        "asahi.fallback": event.fallback_used,
        "error.type": event.error,
    }


def _called(attempt: Attempt, operation: str, *, fallback: bool) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": attempt.provider,
        "gen_ai.request.model": attempt.model,
        "gen_ai.response.id": attempt.provider_request_id or None,
        "gen_ai.usage.input_tokens": attempt.usage.input_tokens,
        "gen_ai.usage.output_tokens": attempt.usage.output_tokens,
        "http.response.status_code": attempt.http_status,
        "error.type": None if attempt.outcome == "ok" else attempt.outcome,
        "asahi.attempt": attempt.n,
        "asahi.fallback": fallback,
        "asahi.cost_usd": None if attempt.cost is None else attempt.cost / 1e9,
    }
