"""The contract of cache tiers that show what they hold: see `ListingTier`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from asahi_kernel.testing.contracts import KEY, OTHER_KEY, CacheTierContract
from asahi_kernel.testing.samples import ASK, HERE, PARIS, THERE
from asahi_kernel.tiers import CacheRow, ListingTier, TierStats
from asahi_kernel.types import Message, Request


class ListingTierContract(CacheTierContract):
    """What `CacheTierContract` asks, and rows."""

    backend: str = "memory"

    async def held(self, subject: Any, org: str) -> tuple[int, int, str]:
        """Entries, bytes and place of an org's."""
        stats: TierStats = await subject.stats(org)
        return stats.entries, stats.bytes, stats.backend

    async def rows(self, subject: Any, org: str = "here", before: str | None = None) -> list[CacheRow]:
        """All of an org."""
        return [row async for row in subject.rows(org, before)]

    async def test_it_lists(self, subject: Any) -> None:
        assert isinstance(subject, ListingTier)
        assert subject.tier == self.tier

    async def test_a_row_tells_what_was_put(self, subject: Any) -> None:
        before = datetime.now(UTC) - timedelta(seconds=1)
        await subject.put(KEY, ASK, HERE, PARIS)
        hit = await subject.get(KEY, ASK, HERE)
        (row,) = await self.rows(subject)
        assert (row.entry_id, row.completion, row.user) == (hit.entry_id, PARIS, "ann")
        assert (row.tier, row.query, row.hits) == (self.tier, "What is the capital of France?", 1)
        assert row.expires_at is not None
        assert before < row.created_at < datetime.now(UTC) < row.expires_at
        assert row.size_bytes > len(PARIS.text)
        assert 0 < hit.expires_in_s < (row.expires_at - before).total_seconds()

    async def test_rows_and_sums_are_an_orgs_own(self, subject: Any) -> None:
        await subject.put(KEY, ASK, HERE, PARIS)
        await subject.put(OTHER_KEY, ASK, THERE, PARIS)
        (row,) = await self.rows(subject)
        assert await self.held(subject, "here") == (1, row.size_bytes, self.backend)
        assert await self.held(subject, "nobody") == (0, 0, self.backend)
        assert await self.rows(subject, "nobody") == []

    async def test_rows_come_newest_first_and_go_on_where_they_stopped(self, subject: Any) -> None:
        for number in range(450):
            asked = Request(messages=(Message("user", f"What is number {number}?"),))
            await subject.put(number.to_bytes(32, "big"), asked, HERE, PARIS)
        rows = await self.rows(subject)
        ids = [row.entry_id for row in rows]
        assert len(ids) == 450
        assert ids == sorted(ids, reverse=True)
        assert [row.entry_id for row in await self.rows(subject, before=ids[399])] == ids[400:]

    async def test_a_cleared_tier_shows_nothing(self, subject: Any) -> None:
        await subject.put(KEY, ASK, HERE, PARIS)
        await subject.clear("here")
        assert await self.rows(subject) == []
        assert await self.held(subject, "here") == (0, 0, self.backend)

    async def test_a_sweep_spares_what_still_lives(self, subject: Any) -> None:
        await subject.put(KEY, ASK, HERE, PARIS)
        assert await subject.sweep("here") == 0
        assert len(await self.rows(subject)) == 1
