"""A sample of an org's last seven days: every request where there are few, else the newest of each six hours, weighted
by how many there were."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from asahi_analytics.windows import series
from asahi_kernel.records import OWN, Decision, Event, EventQuery
from asahi_kernel.reports import Scope

if TYPE_CHECKING:
    from asahi_kernel.protocols import Storage

WEEK, SLICE = timedelta(days=7), timedelta(hours=6)
#: Requests of the whole week that are looked at, and with their decision.
MOST = 420


class Sampled(Struct, frozen=True):
    """One request with its decision. It stands for `weight` requests of the day `day`, 0 for the oldest."""

    event: Event
    decision: Decision | None
    weight: float
    day: int


async def sample(storage: Storage, org: str, now: datetime) -> list[Sampled]:
    """Of the week that ends at a time. What Asahi asks of its own accord is no request."""
    edges = [now - WEEK + SLICE * each for each in range(WEEK // SLICE + 1)]
    counts = [
        sum(sums.requests for sums in groups.values()) for groups in await series(storage, Scope(org), edges, now)
    ]
    each = MOST if sum(counts) <= MOST else MOST // max(1, sum(map(bool, counts)))
    found: list[Sampled] = []
    for at, count in enumerate(counts):
        if not count:
            continue
        query = EventQuery(start=edges[at], end=edges[at + 1], limit=each)
        events = [event for event in await storage.events.newest(org, query) if event.route != OWN]
        for event in events:
            decision = await storage.decisions.find(org, event.request_id)
            found.append(Sampled(event, decision, count / len(events), at * SLICE // timedelta(days=1)))
    return found
