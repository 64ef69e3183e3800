"""The savings ledger as rows: one chain for each org, linked by the books under their lock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from asahi_kernel.ledger import Basis, Entry, Head, link
from asahi_kernel.records import Event
from asahi_piccolo.database import Database, Row, Session, Statement

LEDGER_COLUMNS = (
    "seq",
    "request_id",
    "org_id",
    "price_version",
    "usage",
    "cost_nano",
    "baseline_nano",
    "overhead_nano",
    "saved_nano",
    "prev_hash",
    "entry_hash",
)
_CHUNK = 2_000

_HEADS_OF = Statement(
    """SELECT l.org_id, l.seq, l.entry_hash FROM unnest($1::text[]) AS o(value) JOIN savings_ledger l
    ON l.org_id = o.value AND l.seq = (SELECT MAX(m.seq) FROM savings_ledger m WHERE m.org_id = o.value)""",
    """SELECT l.org_id, l.seq, l.entry_hash FROM json_each($1) o JOIN savings_ledger l
    ON l.org_id = o.value AND l.seq = (SELECT MAX(m.seq) FROM savings_ledger m WHERE m.org_id = o.value)""",
)
#: Hops from org to org along the index, so a long ledger of few orgs is not read through.
_HEADS = Statement(
    """WITH RECURSIVE o(org_id) AS (
        SELECT MIN(org_id) FROM savings_ledger
        UNION ALL
        SELECT (SELECT MIN(n.org_id) FROM savings_ledger n WHERE n.org_id > o.org_id) FROM o WHERE o.org_id IS NOT NULL
    )
    SELECT l.org_id, l.seq, l.entry_hash FROM o JOIN savings_ledger l
    ON l.org_id = o.org_id AND l.seq = (SELECT MAX(m.seq) FROM savings_ledger m WHERE m.org_id = o.org_id)"""
)
_ENTRIES = Statement("SELECT * FROM savings_ledger WHERE org_id = $1 AND seq > $2 ORDER BY seq LIMIT $3")

_encode = msgspec.json.Encoder().encode
_basis = msgspec.json.Decoder(Basis).decode


async def heads_of(session: Session, orgs: Sequence[str]) -> dict[str, Head]:
    """Where these orgs' chains end now."""
    rows = await session.fetch(_HEADS_OF, list(orgs))
    return {row["org_id"]: Head(row["seq"], row["entry_hash"]) for row in rows}


def linked(events: Sequence[Event], heads: dict[str, Head]) -> list[tuple[Any, ...]]:
    """Rows of the next entries, in the order of `LEDGER_COLUMNS`. Moves the heads."""
    rows = []
    for event in events:
        entry = link(heads.get(event.org_id, Head()), event)
        heads[event.org_id] = Head(entry.seq, entry.entry_hash)
        rows.append(_row(entry))
    return rows


class StoredLedger:
    """Reads in chunks, so that memory is bounded however long a chain is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def entries(self, org: str, after: int = 0) -> AsyncIterator[Entry]:
        """In the order of the chain."""
        while True:
            rows = await self._database.fetch(_ENTRIES, org, after, _CHUNK)
            for row in rows:
                yield _entry(row)
            if len(rows) < _CHUNK:
                return
            after = rows[-1]["seq"]

    async def heads(self) -> Mapping[str, Head]:
        """The last entry of every org's chain."""
        return {row["org_id"]: Head(row["seq"], row["entry_hash"]) for row in await self._database.fetch(_HEADS)}


def _row(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.seq,
        entry.request_id,
        entry.org_id,
        entry.price_version,
        _encode(entry.usage).decode(),
        entry.cost,
        entry.baseline_cost,
        entry.overhead_cost,
        entry.saved,
        entry.prev_hash,
        entry.entry_hash,
    )


def _entry(row: Row) -> Entry:
    return Entry(
        seq=row["seq"],
        request_id=row["request_id"],
        org_id=row["org_id"],
        price_version=row["price_version"],
        usage=_basis(row["usage"]),
        cost=row["cost_nano"],
        baseline_cost=row["baseline_nano"],
        overhead_cost=row["overhead_nano"],
        saved=row["saved_nano"],
        prev_hash=row["prev_hash"],
        entry_hash=row["entry_hash"],
    )
