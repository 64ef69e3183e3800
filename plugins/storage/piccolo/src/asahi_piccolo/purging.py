"""Erasing subjects: past requests forget who asked, or go; the sums of money and the ledger stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from asahi_kernel.records import Decision
from asahi_piccolo.database import BOOKS, Database, Row, Statement
from asahi_piccolo.keeping import SWEEPS
from asahi_piccolo.rollups import unnamed

_CHUNK = 2_000

_IDS_OF_USER = Statement("SELECT request_id FROM inference_events WHERE org_id = $1 AND user_id = $2 LIMIT $3")
_IDS_OF_ORG = Statement("SELECT request_id FROM inference_events WHERE org_id = $1 LIMIT $2")
_UNNAME = Statement(
    """UPDATE inference_events SET user_id = NULL, client_request_id = NULL, tags = '{}'
    WHERE request_id = ANY($1::text[])""",
    """UPDATE inference_events SET user_id = NULL, client_request_id = NULL, tags = '{}'
    WHERE request_id IN (SELECT value FROM json_each($1))""",
)
_DECISIONS = Statement(
    "SELECT request_id, record FROM decisions WHERE request_id = ANY($1::text[])",
    "SELECT request_id, record FROM decisions WHERE request_id IN (SELECT value FROM json_each($1))",
)
_REWRITE = Statement("UPDATE decisions SET record = $2 WHERE request_id = $1")
_ANSWERS_OF = Statement(
    "DELETE FROM idempotency_keys WHERE org_id = $1 AND request_id = ANY($2::text[])",
    "DELETE FROM idempotency_keys WHERE org_id = $1 AND request_id IN (SELECT value FROM json_each($2))",
)
_ANSWERS = Statement("DELETE FROM idempotency_keys WHERE org_id = $1")
_ENTRIES = Statement("DELETE FROM semantic_entries WHERE org_id = $1")
_NAMING = Statement(
    """SELECT (SELECT COUNT(*) FROM inference_events WHERE org_id = $1 AND user_id = $2)
        + (SELECT COUNT(*) FROM usage_rollups WHERE org_id = $1 AND user_id = $2) AS count"""
)
_LEFT = Statement(
    """SELECT (SELECT COUNT(*) FROM inference_events WHERE org_id = $1)
        + (SELECT COUNT(*) FROM decisions WHERE org_id = $1)
        + (SELECT COUNT(*) FROM idempotency_keys WHERE org_id = $1)
        + (SELECT COUNT(*) FROM usage_rollups WHERE org_id = $1 AND user_id <> '') AS count"""
)
_LAST_DESTROYED = Statement("SELECT MAX(erased_at) AS last FROM data_keys")
_KEYS_AFRESH = Statement("VACUUM FULL data_keys")

_decision = msgspec.json.Decoder(Decision).decode


class StoredPurge:
    """See `asahi_kernel.purging`. In small transactions, so that writers are not kept waiting."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._scrubbed: object = None

    async def user(self, org: str, user: str) -> Mapping[str, int]:
        """Events stay without a name, client's id and tags; sums are added to those that name nobody."""
        counts = {"inference_events": 0, "idempotency_keys": 0}
        while ids := _ids(await self._database.fetch(_IDS_OF_USER, org, user, _CHUNK)):
            decisions = await self._database.fetch(_DECISIONS, ids)
            async with self._database.transaction(BOOKS) as session:
                await session.many(_REWRITE, [_unnamed(row) for row in decisions])
                counts["idempotency_keys"] += await session.run(_ANSWERS_OF, org, ids)
                counts["inference_events"] += await session.run(_UNNAME, ids)
        async with self._database.transaction(BOOKS) as session:
            counts["usage_rollups"] = await unnamed(session, org, user)
        return counts

    async def org(self, org: str) -> Mapping[str, int]:
        """Events, attempts, decisions and kept answers go."""
        counts = {"inference_events": 0}
        while ids := _ids(await self._database.fetch(_IDS_OF_ORG, org, _CHUNK)):
            async with self._database.transaction(BOOKS) as session:
                for statement in SWEEPS:
                    gone = await session.run(statement, ids)
                counts["inference_events"] += gone
        async with self._database.transaction(BOOKS) as session:
            counts["idempotency_keys"] = await session.run(_ANSWERS, org)
            counts["semantic_entries"] = await session.run(_ENTRIES, org)
            counts["usage_rollups"] = await unnamed(session, org, None)
        return counts

    async def residues(self, org: str, user: str | None) -> int:
        """Looked for where they were."""
        rows = await (self._database.fetch(_LEFT, org) if user is None else self._database.fetch(_NAMING, org, user))
        return int(rows[0]["count"])

    async def scrub(self) -> None:
        """See the engine's. A destroyed key would open what it sealed as long as its old row lies about."""
        rows = await self._database.fetch(_LAST_DESTROYED)
        last = rows[0]["last"]
        if await self._database.scrub(_KEYS_AFRESH if last != self._scrubbed else None):
            self._scrubbed = last


def _ids(rows: Sequence[Row]) -> list[str]:
    return [row["request_id"] for row in rows]


def _unnamed(row: Row) -> tuple[str, str]:
    decision = msgspec.structs.replace(_decision(row["record"]), user_id=None)
    return row["request_id"], msgspec.json.encode(decision).decode()
