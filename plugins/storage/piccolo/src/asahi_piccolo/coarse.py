"""Coarse sums: beside the sums over all dimensions stand some over few, so that an answer reads few rows however many
users, keys and tasks there are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from asahi_kernel.rollups import Dimension, Granularity


class Coarse(Struct, frozen=True, kw_only=True):
    """Sums over some dimensions alone, under granularities of their own, so that no other reader sees them. Those
    without `documents` have neither savings by technique nor latencies."""

    dimensions: frozenset[Dimension]
    names: Mapping[Granularity, str]
    documents: bool = False


#: What totals, percentiles and trends are read from.
WHOLE: Mapping[Granularity, str] = {"minute": "mins", "hour": "hours", "day": "days"}
#: From the most general on. The others are by day alone: what is read by hour and minute is a day at most, and each of
#: them is written to at every request.
COARSE = (
    Coarse(dimensions=frozenset({"model", "cache_tier"}), names=WHOLE, documents=True),
    Coarse(dimensions=frozenset({"user_id"}), names={"day": "day.u"}),
    Coarse(dimensions=frozenset({"key_id"}), names={"day": "day.k"}),
    Coarse(dimensions=frozenset({"agent_type"}), names={"day": "day.a"}),
    Coarse(dimensions=frozenset({"model", "task_type"}), names={"day": "day.t"}),
)


def beside(granularity: Granularity) -> Iterator[Coarse]:
    """The coarse sums of a granularity."""
    return (each for each in COARSE if granularity in each.names)


def kept_under(granularity: Granularity, by: Collection[Dimension], *, documents: bool) -> str:
    """The granularity under which stand the fewest sums that tell these dimensions apart."""
    told = set(by) - {"bucket"}
    for each in beside(granularity):
        if told <= each.dimensions and (each.documents or not documents):
            return each.names[granularity]
    return granularity
