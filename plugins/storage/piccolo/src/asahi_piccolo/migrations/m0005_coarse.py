"""Sums by day over one user, key, agent type or task alone, added up from the fine ones that are there."""

from __future__ import annotations

from asahi_piccolo.records import joined

ID = "0005"
CREATES = ()
INDEXES = ()
#: Granularity → what its sums are told apart by.
_NAMES = {"day.u": "user_id", "day.k": "key_id", "day.a": "agent_type", "day.t": "model, task_type"}
_NUMBERS = (
    "requests",
    "hits",
    "misses",
    "errors",
    "unpriced",
    "input_tokens",
    "output_tokens",
    "cost_nano",
    "baseline_nano",
    "overhead_nano",
    "saved_nano",
    "cache_saved_nano",
    "latency_us",
    "quality_milli",
    "quality_count",
)


def _fill(name: str, by: str) -> str:
    kept = by.split(", ")
    texts = ("user_id", "key_id", "model", "task_type", "agent_type")
    told = ", ".join(column if column in kept else "''" for column in texts)
    sums = ", ".join(f"SUM({number})" for number in _NUMBERS)
    columns = ", ".join(("granularity, bucket, org_id", *texts, "cache_tier", *_NUMBERS))
    fine = f"'{name}', bucket, org_id, {told}, 0, {sums} FROM usage_rollups WHERE granularity = 'day'"
    return joined("INSERT INTO usage_rollups (", columns, ") SELECT", fine, "GROUP BY bucket, org_id,", by).postgres


FILLS = tuple(_fill(name, by) for name, by in _NAMES.items())
EMPTIES = ("DELETE FROM usage_rollups WHERE granularity IN ('day.u', 'day.k', 'day.a', 'day.t')",)
