"""Budgets as rows. A cap is a cap: what is spent and held is compared and added to in one statement for each budget, in
one order for all, so that two requests never wait for each other in a ring."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from asahi_kernel.repositories.budgets import Ask, Budget, Settlement, Window
from asahi_piccolo.database import Database, Row, Session, Statement
from asahi_piccolo.eventrows import moment

_SAVE = Statement(
    """INSERT INTO budgets (budget_id, org_id, level, subject, "window", limit_nano, action, alert_at, created_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (org_id, level, subject, "window") DO UPDATE SET limit_nano = EXCLUDED.limit_nano,
        action = EXCLUDED.action, alert_at = EXCLUDED.alert_at, created_by = EXCLUDED.created_by
    RETURNING *"""
)
_OF_ORG = Statement("SELECT * FROM budgets WHERE org_id = $1 ORDER BY budget_id")
_REMOVE = Statement("DELETE FROM budgets WHERE org_id = $1 AND budget_id = $2")
_OWN = Statement("SELECT budget_id FROM budgets WHERE org_id = $1 AND budget_id = $2")
_WINDOW = Statement("SELECT * FROM budget_windows WHERE budget_id = $1 AND window_start = $2")
_OPEN = Statement(
    """INSERT INTO budget_windows (budget_id, window_start, spent_nano, held_nano) VALUES ($1, $2, 0, 0)
    ON CONFLICT (budget_id, window_start) DO NOTHING"""
)
_HOLD = Statement(
    """UPDATE budget_windows SET held_nano = held_nano + $3
    WHERE budget_id = $1 AND window_start = $2 AND (spent_nano + held_nano + $3 <= $4 OR $3 = 0)"""
)
_HOLD_ANYHOW = Statement(
    "UPDATE budget_windows SET held_nano = held_nano + $3 WHERE budget_id = $1 AND window_start = $2"
)
_CHARGE = Statement(
    """UPDATE budget_windows SET spent_nano = spent_nano + $3, held_nano = held_nano - $4
    WHERE budget_id = $1 AND window_start = $2"""
)
_HELD_BY = Statement(
    """SELECT * FROM budget_reservations WHERE request_id = $1 AND org_id = $2 ORDER BY budget_id FOR UPDATE""",
    """SELECT * FROM budget_reservations WHERE request_id = $1 AND org_id = $2 ORDER BY budget_id""",
)
_RESERVE = Statement(
    """INSERT INTO budget_reservations (request_id, budget_id, org_id, window_start, amount_nano, lease_until, state)
    VALUES ($1, $2, $3, $4, $5, $6, 'held')
    ON CONFLICT (request_id, budget_id) DO UPDATE SET amount_nano = budget_reservations.amount_nano
        + EXCLUDED.amount_nano, lease_until = EXCLUDED.lease_until
    WHERE budget_reservations.state = 'held'"""
)
_END = Statement("UPDATE budget_reservations SET state = $3 WHERE request_id = $1 AND budget_id = $2 AND state = $4")
_DEAD = Statement(
    """SELECT * FROM budget_reservations WHERE state = 'held' AND lease_until <= $1
    ORDER BY budget_id, request_id LIMIT $2 FOR UPDATE SKIP LOCKED""",
    """SELECT * FROM budget_reservations WHERE state = 'held' AND lease_until <= $1
    ORDER BY budget_id, request_id LIMIT $2""",
)
_CHUNK = 500


class _Refused(Exception):
    """Rolls the whole reservation back."""


class StoredBudgets:
    """See `asahi_kernel.repositories.budgets`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, budget: Budget) -> Budget:
        """In place of one of the same scope."""
        async with self._database.transaction() as session:
            scope = (budget.budget_id, budget.org_id, budget.level, budget.subject, budget.window)
            alerts = msgspec.json.encode(budget.alert_at).decode()
            rows = await session.fetch(_SAVE, *scope, budget.limit, budget.action, alerts, budget.created_by)
        return _budget(rows[0])

    async def of_org(self, org: str) -> Sequence[Budget]:
        """In the order of their ids."""
        return [_budget(row) for row in await self._database.fetch(_OF_ORG, org)]

    async def remove(self, org: str, budget_id: str) -> bool:
        """Whether it was there."""
        async with self._database.transaction() as session:
            return await session.run(_REMOVE, org, budget_id) > 0

    async def windows(self, org: str, asks: Sequence[Ask]) -> Sequence[Window]:
        """Of the org's own budgets."""
        own = {budget.budget_id for budget in await self.of_org(org)}
        found = []
        for ask in asks:
            if ask.budget_id in own:
                rows = await self._database.fetch(_WINDOW, ask.budget_id, ask.window_start)
                spent, held = (rows[0]["spent_nano"], rows[0]["held_nano"]) if rows else (0, 0)
                found.append(Window(budget_id=ask.budget_id, window_start=ask.window_start, spent=spent, held=held))
        return found

    async def reserve(
        self, org: str, request_id: str, amount: int, asks: Sequence[Ask], lease_until: datetime
    ) -> str | None:
        """All or nothing."""
        try:
            async with self._database.transaction() as session:
                rows = await session.fetch(_HELD_BY, request_id, org)
                held = {row["budget_id"]: row["amount_nano"] for row in rows if row["state"] == "held"}
                over = {row["budget_id"] for row in rows if row["state"] != "held"}
                for ask in sorted(asks, key=lambda each: each.budget_id):
                    if ask.budget_id not in over:
                        more = max(0, amount - held.get(ask.budget_id, 0))
                        await _hold(session, org, request_id, ask, more, lease_until)
        except _Refused as refused:
            return str(refused)
        return None

    async def settle(self, org: str, request_id: str, cost: int) -> Settlement:
        """Once."""
        found = {"held": 0, "expired": 0}
        async with self._database.transaction() as session:
            for row in await session.fetch(_HELD_BY, request_id, org):
                state = row["state"]
                if state in found and await session.run(_END, request_id, row["budget_id"], "settled", state):
                    found[state] += 1
                    given_back = row["amount_nano"] if state == "held" else 0
                    await session.run(_CHARGE, row["budget_id"], moment(row["window_start"]), cost, given_back)
        return Settlement(found["held"], found["expired"])

    async def release(self, org: str, request_id: str) -> int:
        """How many budgets held it."""
        async with self._database.transaction() as session:
            rows = [row for row in await session.fetch(_HELD_BY, request_id, org) if row["state"] == "held"]
            return await _give_back(session, rows, "settled")

    async def expire(self, now: datetime) -> int:
        """In small transactions, so that requests are not kept waiting."""
        gone = 0
        while True:
            async with self._database.transaction() as session:
                rows = await session.fetch(_DEAD, now, _CHUNK)
                gone += await _give_back(session, rows, "expired")
            if len(rows) < _CHUNK:
                return gone


async def _hold(session: Session, org: str, request_id: str, ask: Ask, more: int, lease_until: datetime) -> None:
    if not await session.fetch(_OWN, org, ask.budget_id):
        raise _Refused(ask.budget_id)
    await session.run(_OPEN, ask.budget_id, ask.window_start)
    if ask.limit is None:
        fits = await session.run(_HOLD_ANYHOW, ask.budget_id, ask.window_start, more)
    else:
        fits = await session.run(_HOLD, ask.budget_id, ask.window_start, more, ask.limit)
    if not fits:
        raise _Refused(ask.budget_id)
    await session.run(_RESERVE, request_id, ask.budget_id, org, ask.window_start, more, lease_until)


async def _give_back(session: Session, rows: Sequence[Row], state: str) -> int:
    ended = 0
    for row in rows:
        if await session.run(_END, row["request_id"], row["budget_id"], state, "held"):
            ended += 1
            await session.run(_CHARGE, row["budget_id"], moment(row["window_start"]), 0, row["amount_nano"])
    return ended


def _budget(row: Row) -> Budget:
    return Budget(
        budget_id=row["budget_id"],
        org_id=row["org_id"],
        level=row["level"],
        subject=row["subject"],
        window=row["window"],
        limit=row["limit_nano"],
        action=row["action"],
        alert_at=msgspec.json.decode(row["alert_at"], type=tuple[float, ...]),
        created_by=row["created_by"],
    )
