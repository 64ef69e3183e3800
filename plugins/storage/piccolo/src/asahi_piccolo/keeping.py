"""Price books, dead letters, retention and answers by `Idempotency-Key`, as rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from asahi_kernel.keyring import Erased
from asahi_kernel.ledger import Book
from asahi_kernel.money import Prices
from asahi_kernel.records import Claim, DeadLetter, Kept
from asahi_kernel.repositories.subjects import subject_of
from asahi_kernel.rollups import KEPT
from asahi_piccolo.coarse import beside
from asahi_piccolo.database import BOOKS, Database, Row, Statement

if TYPE_CHECKING:
    from asahi_kernel.keyring import Keyring
    from asahi_kernel.vault import Sealer

_DAY = timedelta(days=1)
_CHUNK = 5_000

_SAVE_BOOK = Statement(
    """INSERT INTO price_versions (version, effective_from, source, prices) VALUES ($1, $2, $3, $4)
    ON CONFLICT (version) DO NOTHING"""
)
_BOOK = Statement("SELECT * FROM price_versions WHERE version = $1")
_BOOKS = Statement("SELECT * FROM price_versions ORDER BY id")
_COUNT_LETTERS = Statement("SELECT COUNT(*) AS count FROM dead_letters")
#: Hops from org to org along an index.
_ORGS = Statement(
    """WITH RECURSIVE o(org_id) AS (
        SELECT MIN(org_id) FROM inference_events
        UNION ALL
        SELECT (SELECT MIN(n.org_id) FROM inference_events n WHERE n.org_id > o.org_id) FROM o
        WHERE o.org_id IS NOT NULL
    ) SELECT org_id FROM o WHERE org_id IS NOT NULL"""
)
_OLD = Statement("SELECT request_id FROM inference_events WHERE org_id = $1 AND timestamp < $2 LIMIT $3")
#: Forget requests; how many events went is what the last one says.
SWEEPS = (
    Statement(
        "DELETE FROM provider_attempts WHERE request_id = ANY($1::text[])",
        "DELETE FROM provider_attempts WHERE request_id IN (SELECT value FROM json_each($1))",
    ),
    Statement(
        "DELETE FROM decisions WHERE request_id = ANY($1::text[])",
        "DELETE FROM decisions WHERE request_id IN (SELECT value FROM json_each($1))",
    ),
    Statement(
        "DELETE FROM inference_events WHERE request_id = ANY($1::text[])",
        "DELETE FROM inference_events WHERE request_id IN (SELECT value FROM json_each($1))",
    ),
)
_SWEEP_ROLLUPS = Statement("DELETE FROM usage_rollups WHERE org_id = $1 AND granularity = $2 AND bucket < $3")
#: Of two callers one inserts, and what is past its day is taken over by one.
_CLAIM = Statement(
    """INSERT INTO idempotency_keys (org_id, route, idempotency_key, fingerprint, state, status, headers, body,
        request_id, expires_at)
    VALUES ($1, $2, $3, $4, 'running', 0, '[]', $5, $6, $7)
    ON CONFLICT (org_id, route, idempotency_key) DO UPDATE SET
        fingerprint = EXCLUDED.fingerprint, state = 'running', status = 0, headers = '[]', body = EXCLUDED.body,
        request_id = EXCLUDED.request_id, expires_at = EXCLUDED.expires_at
    WHERE idempotency_keys.expires_at <= $8"""
)
_KEPT = Statement("SELECT * FROM idempotency_keys WHERE org_id = $1 AND route = $2 AND idempotency_key = $3")
_KEEP = Statement(
    """INSERT INTO idempotency_keys (org_id, route, idempotency_key, fingerprint, state, status, headers, body,
        request_id, expires_at)
    VALUES ($1, $2, $3, $4, 'done', $5, $6, $7, $8, $9)
    ON CONFLICT (org_id, route, idempotency_key) DO UPDATE SET
        fingerprint = EXCLUDED.fingerprint, state = 'done', status = EXCLUDED.status, headers = EXCLUDED.headers,
        body = EXCLUDED.body, request_id = EXCLUDED.request_id, expires_at = EXCLUDED.expires_at
    WHERE idempotency_keys.state = 'running' OR idempotency_keys.request_id = EXCLUDED.request_id"""
)
_RELEASE = Statement(
    "DELETE FROM idempotency_keys WHERE org_id = $1 AND route = $2 AND idempotency_key = $3 AND request_id = $4"
)
_EXPIRED = Statement("DELETE FROM idempotency_keys WHERE expires_at <= $1")

_prices = msgspec.json.Decoder(dict[str, Prices]).decode


class StoredPrices:
    """Every set of prices that was ever used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, book: Book) -> None:
        """One of that version that is there already stays as it is."""
        prices = msgspec.json.encode(book.prices).decode()
        async with self._database.transaction() as session:
            await session.run(_SAVE_BOOK, book.version, book.effective_from, book.source, prices)

    async def find(self, version: str) -> Book | None:
        """The set of that version."""
        rows = await self._database.fetch(_BOOK, version)
        return _book(rows[0]) if rows else None

    async def all(self) -> Sequence[Book]:
        """In the order they came."""
        return [_book(row) for row in await self._database.fetch(_BOOKS)]


class StoredDeadLetters:
    """Records that could not be stored, sealed."""

    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer

    async def save(self, letters: Sequence[DeadLetter]) -> None:
        """Keep them. Their payload may be any bytes."""
        rows = [
            (each.source, self._sealer.seal("", "dead_letters", "payload", each.source, each.payload), each.error)
            for each in letters
        ]
        async with self._database.transaction() as session:
            moments = [each.timestamp for each in letters]
            given = [(*row, moment) for row, moment in zip(rows, moments, strict=True)]
            await session.load("dead_letters", ("source", "payload", "error", "timestamp"), given)

    async def count(self) -> int:
        """How many there are."""
        return int((await self._database.fetch(_COUNT_LETTERS))[0]["count"])


class StoredRetention:
    """Forgets in small transactions, so that writers are not kept waiting."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def orgs(self) -> Sequence[str]:
        """Whoever has events."""
        return [row["org_id"] for row in await self._database.fetch(_ORGS)]

    async def sweep(self, org: str, before: datetime) -> int:
        """Delete an org's old events, attempts and decisions, and the finer rollups that are past their time."""
        gone = 0
        while ids := [row["request_id"] for row in await self._database.fetch(_OLD, org, before, _CHUNK)]:
            async with self._database.transaction(BOOKS) as session:
                for statement in SWEEPS:
                    count = await session.run(statement, ids)
                gone += count
        now = datetime.now(UTC)
        async with self._database.transaction(BOOKS) as session:
            for granularity, age in KEPT.items():
                for name in (granularity, *(each.names[granularity] for each in beside(granularity))):
                    await session.run(_SWEEP_ROLLUPS, org, name, now - age)
            await session.run(_EXPIRED, now)
        return gone


class StoredIdempotency:
    """Claims are rows, so that they hold over all workers. Bodies are sealed under the key of who asked."""

    def __init__(self, database: Database, keyring: Keyring, clock: Callable[[], datetime] | None = None) -> None:
        self._database = database
        self._keyring = keyring
        self._clock = clock or (lambda: datetime.now(UTC))

    async def claim(self, claim: Claim) -> Kept | None:
        """See `asahi_kernel.protocols.Idempotency`."""
        name = (claim.org_id, claim.route, claim.key)
        while True:
            now = self._clock()
            async with self._database.transaction() as session:
                given = (claim.fingerprint.hex(), b"", claim.request_id, now + timedelta(seconds=claim.lease_s), now)
                claimed = await session.run(_CLAIM, *name, *given)
                rows = () if claimed else await session.fetch(_KEPT, *name)
            if claimed:
                self._keyring.expect(claim.org_id, subject_of(claim.org_id, claim.user))
                return None
            if not rows:
                continue
            try:
                return await self._kept(claim, rows[0])
            except Erased:
                async with self._database.transaction() as session:
                    await session.run(_RELEASE, *name, rows[0]["request_id"])

    async def keep(self, claim: Claim, kept: Kept) -> None:
        """Keep the answer under its claim."""
        key = await self._keyring.sealing(claim.org_id, subject_of(claim.org_id, claim.user))
        body = key.seal(claim.org_id, "idempotency_keys", "body", claim.request_id, kept.body)
        headers = json.dumps([[name.decode("latin-1"), value.decode("latin-1")] for name, value in kept.headers])
        async with self._database.transaction() as session:
            name = (claim.org_id, claim.route, claim.key, kept.fingerprint.hex())
            await session.run(_KEEP, *name, kept.status, headers, body, claim.request_id, self._clock() + _DAY)

    async def release(self, claim: Claim) -> None:
        """Give the claim back."""
        async with self._database.transaction() as session:
            await session.run(_RELEASE, claim.org_id, claim.route, claim.key, claim.request_id)

    async def _kept(self, claim: Claim, row: Row) -> Kept:
        fingerprint = bytes.fromhex(row["fingerprint"])
        if row["state"] == "running":
            return Kept(fingerprint=fingerprint)
        sealed = bytes(row["body"])
        key = await self._keyring.opening(claim.org_id, sealed)
        body = key.unseal(claim.org_id, "idempotency_keys", "body", row["request_id"], sealed)
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in json.loads(row["headers"])]
        return Kept(fingerprint=fingerprint, status=row["status"], headers=tuple(pairs), body=body)


def _book(row: Row) -> Book:
    return Book(
        version=row["version"],
        effective_from=row["effective_from"],
        source=row["source"],
        prices=_prices(row["prices"]),
    )
