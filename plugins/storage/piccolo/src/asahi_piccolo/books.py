"""The books: settled requests are entered once, all of a batch or nothing, with their sums and their chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asahi_kernel.records import Event, Settled
from asahi_kernel.rollups import gather
from asahi_piccolo.database import BOOKS, Database, Statement
from asahi_piccolo.eventrows import (
    ATTEMPT_COLUMNS,
    DECISION_COLUMNS,
    EVENT_COLUMNS,
    attempt_rows,
    decision_rows,
    event_rows,
)
from asahi_piccolo.ledger import LEDGER_COLUMNS, heads_of, linked
from asahi_piccolo.rollups import add_rollups, apart

#: The ledger also knows what retention has taken from the events.
_KNOWN = Statement(
    "SELECT request_id FROM savings_ledger WHERE request_id = ANY($1::text[])",
    "SELECT request_id FROM savings_ledger WHERE request_id IN (SELECT value FROM json_each($1))",
)


class StoredBooks:
    """One writer at a time, over all processes. So what is there already can be looked up before anything is written,
    and everything else is loaded at the engine's best rate."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def post(self, settled: Sequence[Settled]) -> int:
        """See `asahi_kernel.protocols.Books`."""
        batch: dict[str, Settled] = {}
        for each in settled:
            batch.setdefault(each.event.request_id, each)
        if not batch:
            return 0
        async with self._database.transaction(BOOKS) as session:
            known = {row["request_id"] for row in await session.fetch(_KNOWN, list(batch))}
            new = [each for each in batch.values() if each.event.request_id not in known]
            if not new:
                return 0
            events = [each.event for each in new]
            heads = await heads_of(session, sorted({event.org_id for event in events}))
            entries, rollups, rows = await apart(len(new), lambda: _prepared(new, events, heads))
            for table, columns, values in rows:
                await session.load(table, columns, values)
            await session.load("savings_ledger", LEDGER_COLUMNS, entries)
            await add_rollups(session, rollups)
        return len(new)


def _prepared(new: Sequence[Settled], events: Sequence[Event], heads: dict[str, Any]) -> tuple[Any, Any, Any]:
    rows = (
        ("inference_events", EVENT_COLUMNS, list(event_rows(events))),
        ("provider_attempts", ATTEMPT_COLUMNS, list(attempt_rows(events))),
        ("decisions", DECISION_COLUMNS, list(decision_rows(each.decision for each in new))),
    )
    return linked(events, heads), gather(events), rows
