"""Events, attempts and decisions as rows, and back, without loss."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec

from asahi_kernel.records import Attempt, Decision, Event
from asahi_kernel.types import Usage
from asahi_piccolo.database import Row

_PLAIN = (
    "request_id",
    "client_request_id",
    "timestamp",
    "org_id",
    "user_id",
    "key_id",
    "route",
    "status",
    "error",
    "task_type",
    "difficulty",
    "routing_mode",
    "model_requested",
    "model_selected",
    "provider",
    "cache_hit",
    "cache_tier",
    "cache_similarity",
    "cache_entry_id",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "billed_tokens",
    "usage_source",
    "latency_ms",
    "ttft_ms",
    "baseline_model",
    "price_version",
    "routing_reason",
    "fallback_used",
    "quality_score",
    "agent_id",
    "agent_type",
    "workflow_id",
    "total_tokens",
)
_MONEY = ("cost", "baseline_cost", "overhead_cost", "saved")
_JSON = ("latency_breakdown", "baseline_usage", "saved_by", "techniques", "tags", "warnings")
_FACTS = ("cache_hit", "fallback_used")

EVENT_COLUMNS = (*_PLAIN, *(f"{name}_nano" for name in _MONEY), *_JSON, "attempts")
ATTEMPT_COLUMNS = (
    "request_id",
    "org_id",
    "n",
    "provider",
    "model",
    "outcome",
    "http_status",
    "latency_ms",
    "ttft_ms",
    "share",
    "billed",
    "provider_request_id",
    "cost_nano",
    "input_tokens",
    "output_tokens",
    "usage",
)
DECISION_COLUMNS = ("request_id", "org_id", "timestamp", "record")

_values = attrgetter(*_PLAIN, *_MONEY)
_documents = attrgetter(*_JSON)
_attempt_values = attrgetter(
    "n",
    "provider",
    "model",
    "outcome",
    "http_status",
    "latency_ms",
    "ttft_ms",
    "share",
    "billed",
    "provider_request_id",
    "cost",
    "usage.input_tokens",
    "usage.output_tokens",
)
_encode = msgspec.json.Encoder().encode
_decoders = {
    "latency_breakdown": msgspec.json.Decoder(dict[str, float]).decode,
    "baseline_usage": msgspec.json.Decoder(Usage).decode,
    "saved_by": msgspec.json.Decoder(dict[str, int]).decode,
    "techniques": msgspec.json.Decoder(tuple[str, ...]).decode,
    "tags": msgspec.json.Decoder(dict[str, str]).decode,
    "warnings": msgspec.json.Decoder(tuple[str, ...]).decode,
}
_usage = msgspec.json.Decoder(Usage).decode
_decision = msgspec.json.Decoder(Decision).decode
_EMPTY = {"{}": {}, "[]": (), "[0,0]": (0, 0)}


def event_rows(events: Iterable[Event]) -> Iterator[tuple[Any, ...]]:
    """Rows in the order of `EVENT_COLUMNS`."""
    for event in events:
        yield (*_values(event), *[_encode(each).decode() for each in _documents(event)], len(event.attempts))


def attempt_rows(events: Iterable[Event]) -> Iterator[tuple[Any, ...]]:
    """Rows in the order of `ATTEMPT_COLUMNS`."""
    for event in events:
        for attempt in event.attempts:
            yield (event.request_id, event.org_id, *_attempt_values(attempt), _encode(attempt.usage).decode())


def decision_rows(decisions: Iterable[Decision]) -> Iterator[tuple[Any, ...]]:
    """Rows in the order of `DECISION_COLUMNS`."""
    for each in decisions:
        yield each.request_id, each.org_id, each.timestamp, _encode(each).decode()


def event_of(row: Row, attempts: Sequence[Row]) -> Event:
    """The event of a row and of its attempts' rows, in order."""
    values = {name: row[name] for name in _PLAIN if name != "total_tokens"}
    values["timestamp"] = moment(row["timestamp"])
    for name in _FACTS:
        values[name] = bool(row[name])
    for name in _MONEY:
        values[name] = row[f"{name}_nano"]
    for name, decode in _decoders.items():
        values[name] = _EMPTY[text] if (text := row[name]) in _EMPTY else decode(text)
    return Event(**values, attempts=tuple(_attempt(each) for each in attempts))


def decision_of(row: Row) -> Decision:
    """The decision of a row."""
    return _decision(row["record"])


def moment(value: Any) -> datetime:
    """A time as the engine gives it: SQLite has text."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _attempt(row: Row) -> Attempt:
    return Attempt(
        n=row["n"],
        provider=row["provider"],
        model=row["model"],
        outcome=row["outcome"],
        http_status=row["http_status"],
        latency_ms=row["latency_ms"],
        ttft_ms=row["ttft_ms"],
        usage=_usage(row["usage"]),
        cost=row["cost_nano"],
        share=row["share"],
        billed=bool(row["billed"]),
        provider_request_id=row["provider_request_id"],
    )
