"""A sample of an org's last seven days: every request where there are few, else the newest of each twelve hours,
weighted by how many there were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from asahi_analytics.windows import series
from asahi_kernel.identity import first_id
from asahi_kernel.records import OWN, Decision, Event, EventQuery
from asahi_kernel.reports import ManyDecisions, Scope
from asahi_kernel.rollups import floor

if TYPE_CHECKING:
    from asahi_kernel.protocols import Storage

WEEK, SLICE = timedelta(days=7), timedelta(hours=12)
#: Requests of the whole week that are looked at, and with their decision.
MOST = 420


class Sampled(Struct, frozen=True):
    """One request with its decision. It stands for `weight` requests of the day `day`, 0 for the oldest."""

    event: Event
    decision: Decision | None
    weight: float
    day: int


async def sample(storage: Storage, org: str, now: datetime) -> list[Sampled]:
    """Of the week that ends with the hour of a time, so that slices are counted from sums alone. What Asahi asks of its
    own accord is no request."""
    end = floor(now, "hour") + timedelta(hours=1)
    edges = [end - WEEK + SLICE * each for each in range(WEEK // SLICE + 1)]
    counts = [
        sum(sums.requests for sums in groups.values()) for groups in await series(storage, Scope(org), edges, now)
    ]
    each = MOST if sum(counts) <= MOST else MOST // max(1, sum(map(bool, counts)))
    events: list[tuple[Event, float, int]] = []
    for at, count in enumerate(counts):
        if not count:
            continue
        # Pages are read from an id on: without it, an old slice is found by walking through all that came after it.
        query = EventQuery(start=edges[at], end=edges[at + 1], before=first_id(edges[at + 1]), limit=each)
        newest = [event for event in await storage.events.newest(org, query) if event.route != OWN]
        if not newest:
            continue
        events += [(event, count / len(newest), at * SLICE // timedelta(days=1)) for event in newest]
    decisions = await decisions_of(storage, org, [event.request_id for event, _, _ in events])
    return [Sampled(event, decisions.get(event.request_id), weight, day) for event, weight, day in events]


async def decisions_of(storage: Storage, org: str, request_ids: Sequence[str]) -> Mapping[str, Decision]:
    """By request id: at once where the storage can."""
    decisions = storage.decisions
    if isinstance(decisions, ManyDecisions):
        return await decisions.many(org, request_ids)
    found = {request_id: await decisions.find(org, request_id) for request_id in request_ids}
    return {request_id: each for request_id, each in found.items() if each is not None}
