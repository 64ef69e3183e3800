"""The contract of storages: what was settled is entered once, adds up, and is seen by its own org only."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import msgspec

from asahi_kernel.identity import new_id
from asahi_kernel.ledger import Book, Head, fault
from asahi_kernel.money import Prices
from asahi_kernel.records import Attempt, Claim, DeadLetter, Event, EventQuery, Kept, Settled
from asahi_kernel.reports import ManyDecisions
from asahi_kernel.rollups import (
    BY_BUCKET,
    GRANULARITIES,
    Dimension,
    Granularity,
    SingleRollups,
    Span,
    Sums,
    count,
    floor,
    group,
    merge,
)
from asahi_kernel.testing.contracts import Contract
from asahi_kernel.testing.samples import decision, event
from asahi_kernel.types import Usage

BOOK = Book(
    version="book-1",
    effective_from="2026-01-01",
    source="test",
    prices={"model-a": Prices(input=10**9, output=2 * 10**9)},
)
DAY = timedelta(days=1)


def settled(*events: Event) -> list[Settled]:
    """Events with their decisions."""
    return [Settled(each, decision(each)) for each in events]


def billed(org: str = "here", **fields: object) -> Event:
    """A request of one billed call at the prices of `BOOK`, all of whose money adds up."""
    usage = Usage(8, 2)
    attempt = Attempt(n=1, provider="mock", model="model-a", outcome="ok", usage=usage, cost=12, billed=True)
    given: dict[str, object] = {
        "attempts": (attempt,),
        "input_tokens": 8,
        "output_tokens": 2,
        "billed_tokens": 10,
        "latency_ms": 41.5,
        "quality_score": 3.8,
        "baseline_model": "model-a",
        "baseline_usage": Usage(10, 10),
        "price_version": BOOK.version,
        "tags": {"team": "Ünïcode ✓"},
    }
    return event(org, **(given | fields))


def claim(**fields: object) -> Claim:
    """A claim to one key."""
    given: dict[str, object] = {"org_id": "here", "route": "/infer", "key": "k", "fingerprint": b"f"}
    return Claim(request_id=new_id(), **(given | fields))  # type: ignore[arg-type]


class StorageContract(Contract):
    """For a storage opened empty."""

    async def test_it_answers_a_ping(self, subject: Any) -> None:
        await subject.ping()

    async def test_events_and_decisions_are_found_by_their_own_org_only(self, subject: Any) -> None:
        one = billed(client_request_id="mine", cache_similarity=0.5, warnings=("w",), techniques=("routing",))
        assert await subject.books.post(settled(one)) == 1
        assert await subject.events.find("here", one.request_id) == one
        assert (await subject.decisions.find("here", one.request_id)) == decision(one)
        assert await subject.events.find("there", one.request_id) is None
        assert await subject.decisions.find("there", one.request_id) is None
        if isinstance(subject.decisions, ManyDecisions):
            wanted = [one.request_id, new_id()]
            assert await subject.decisions.many("here", wanted) == {one.request_id: decision(one)}
            assert await subject.decisions.many("there", wanted) == await subject.decisions.many("here", []) == {}

    async def test_posting_twice_counts_once(self, subject: Any) -> None:
        one, two = billed(), billed()
        assert await subject.books.post(settled(one, one)) == 1
        assert await subject.books.post(settled(one, two)) == 1
        assert (await subject.events.totals("here", None)).requests == 2
        assert [entry.seq async for entry in subject.ledger.entries("here")] == [1, 2]

    async def test_totals_are_sums_over_the_org(self, subject: Any) -> None:
        hit = event(cache_hit=True, cache_tier=1, cost=0, baseline_cost=30, saved=30, saved_by={"exact_cache": 30})
        await subject.books.post(settled(event(), event(status="failed", cost=None), hit, event("there")))
        totals = await subject.events.totals("here", None)
        assert (totals.requests, totals.errors, totals.unpriced) == (3, 1, 1)
        assert (totals.cost, totals.baseline_cost, totals.saved) == (12, 90, 66)
        assert (totals.hits_by_tier, totals.misses, totals.cache_saved) == ({1: 1}, 1, 30)
        assert totals.saved_by == {"routing": 36, "exact_cache": 30}

    async def test_a_window_is_half_open(self, subject: Any) -> None:
        first, second = billed(), billed()
        second = msgspec.structs.replace(second, timestamp=first.timestamp + timedelta(seconds=1))
        await subject.books.post(settled(second, first))
        found = [each async for each in subject.events.between("here", first.timestamp, second.timestamp)]
        assert found == [first]
        assert [each async for each in subject.events.between("here", first.timestamp, second.timestamp + DAY)] == [
            first,
            second,
        ]
        assert (await subject.events.totals("here", second.timestamp)).requests == 1

    async def test_totals_since_any_moment_are_exact(self, subject: Any) -> None:
        """Also across minutes, hours and days."""
        newest = billed().timestamp
        ages = (0, 1, 59, 61, 3_599, 3_601, 90_000, 200_000)
        events = [billed(timestamp=newest - timedelta(seconds=age)) for age in ages]
        await subject.books.post(settled(*events))
        for age in ages:
            totals = await subject.events.totals("here", newest - timedelta(seconds=age))
            assert totals.requests == sum(each <= age for each in ages), age

    async def test_pages_are_newest_first_and_end(self, subject: Any) -> None:
        events = [billed(model_selected=f"model-{number % 2}") for number in range(7)]
        await subject.books.post(settled(*events, billed("there")))
        ids = sorted((each.request_id for each in events), reverse=True)
        first = await subject.events.newest("here", EventQuery(limit=4))
        rest = await subject.events.newest("here", EventQuery(limit=4, before=first[-1].request_id))
        assert [each.request_id for each in [*first, *rest]] == ids
        odd = await subject.events.newest("here", EventQuery(model="model-1"))
        assert {each.model_selected for each in odd} == {"model-1"}
        assert len(odd) == 3

    async def test_rollups_equal_the_sum_of_the_events(self, subject: Any) -> None:
        """ST-5."""
        start = floor(billed().timestamp, "day")
        events = [
            billed(
                timestamp=start + timedelta(seconds=97 * number),
                user_id=f"user-{number % 3}",
                model_selected=f"model-{number % 2}",
                latency_ms=float(number),
                cost=None if number % 11 == 0 else number,
            )
            for number in range(60)
        ]
        for half in (events[:31], events[29:]):
            await subject.books.post(settled(*half))
        for granularity in GRANULARITIES:
            by_hand, found = Sums(), Sums()
            for each in events:
                count(by_hand, each)
            async for rollup in subject.rollups.between("here", granularity, start, start + DAY):
                assert rollup.key.bucket == floor(rollup.key.bucket, granularity)
                merge(found, rollup.sums)
            assert found == by_hand

    async def test_rollups_are_summed_up_by_any_dimensions(self, subject: Any) -> None:
        start = floor(billed().timestamp, "day")
        events = [
            billed(
                timestamp=start + timedelta(minutes=37 * number),
                user_id=f"user-{number % 3}",
                key_id=f"key-{number % 2}",
                model_selected=f"model-{number % 4}",
                task_type=f"task-{number % 5}",
                agent_type=f"agent-{number % 2}",
                cache_tier=number % 2,
                cache_hit=bool(number % 2),
                latency_ms=10.0 + number,
                saved_by={f"way-{number % 3}": 18},
            )
            for number in range(60)
        ]
        await subject.books.post(settled(*events, billed("there", timestamp=start)))
        ways: tuple[tuple[Dimension, ...], ...] = (
            (),
            ("model",),
            ("bucket", "model"),
            ("bucket", "cache_tier"),
            ("user_id",),
            ("bucket", "key_id"),
            ("agent_type",),
            ("bucket", "model", "task_type"),
            ("user_id", "model"),
            ("bucket", "key_id", "task_type", "agent_type"),
        )
        for granularity, skipped in zip(GRANULARITIES, (70, 120, 0), strict=True):
            for by in ways:
                end = start + timedelta(hours=20)
                fine = [each async for each in subject.rollups.between("here", granularity, start, end)]
                for detail in (False, True):
                    told = await subject.rollups.grouped("here", granularity, [(start, end)], by, detail=detail)
                    expected = {rollup.key: rollup.sums for rollup in group(fine, start, by, detail=detail)}
                    assert {rollup.key: rollup.sums for rollup in told} == expected, by
                    await self._each_span(subject.rollups, granularity, start, fine, by, detail)
            await self._of_one(subject.rollups, granularity, (start + timedelta(minutes=skipped), end), fine)

    async def _of_one(self, rollups: Any, granularity: Granularity, span: Span, fine: list[Any]) -> None:
        if not isinstance(rollups, SingleRollups):
            return
        ones: tuple[tuple[Dimension, str], ...] = (("model", "model-1"), ("task_type", "task-2"), ("user_id", "user-2"))
        for dimension, value in (*ones, ("key_id", "key-1"), ("user_id", "nobody")):
            own = [each for each in fine if getattr(each.key, dimension) == value and each.key.bucket >= span[0]]
            for detail in (False, True):
                expected = {each.key.bucket: each.sums for each in group(own, span[0], BY_BUCKET, detail=detail)}
                for sums in expected.values():
                    sums.saved_by = {}
                told = await rollups.of_one("here", granularity, span, dimension, value, detail=detail)
                assert list(told) == sorted(expected.items()), (dimension, value)

    async def _each_span(
        self, rollups: Any, granularity: Granularity, start: datetime, fine: list[Any], by: Any, detail: bool
    ) -> None:
        hours = (0, 2, 7), (2, 5, 11)
        spans = [(start + timedelta(hours=a), start + timedelta(hours=b)) for a, b in zip(*hours, strict=True)]
        told = await rollups.grouped("here", granularity, spans, by, detail=detail)
        within = [
            each
            for begun, ended in spans
            for each in group([one for one in fine if begun <= one.key.bucket < ended], begun, by, detail=detail)
        ]
        assert {rollup.key: rollup.sums for rollup in told} == {rollup.key: rollup.sums for rollup in within}, by

    async def test_the_ledger_is_one_chain_for_each_org_and_adds_up(self, subject: Any) -> None:
        """SV-1."""
        for _ in range(3):
            await subject.books.post(settled(billed(), billed("there"), billed()))
        head = Head()
        async for entry in subject.ledger.entries("here"):
            assert fault(head, entry, BOOK) == ""
            head = Head(entry.seq, entry.entry_hash)
        assert head.seq == 6
        assert (await subject.ledger.heads())["here"] == head
        assert [entry.seq async for entry in subject.ledger.entries("here", after=4)] == [5, 6]

    async def test_a_price_book_stays_as_it_was(self, subject: Any) -> None:
        await subject.prices.save(BOOK)
        await subject.prices.save(msgspec.structs.replace(BOOK, source="another"))
        assert await subject.prices.find(BOOK.version) == BOOK
        assert await subject.prices.find("none") is None
        assert BOOK in await subject.prices.all()

    async def test_what_is_swept_is_gone_and_its_totals_stay(self, subject: Any) -> None:
        """CO-6: retention really deletes; rollups by day and the ledger stay."""
        old, new = billed(), billed()
        old = msgspec.structs.replace(old, timestamp=old.timestamp - 400 * DAY)
        await subject.books.post(settled(old, new, billed("there", timestamp=old.timestamp)))
        assert sorted(await subject.retention.orgs()) == ["here", "there"]
        assert await subject.retention.sweep("here", new.timestamp - DAY) == 1
        assert await subject.events.find("here", old.request_id) is None
        assert await subject.decisions.find("here", old.request_id) is None
        assert await subject.events.find("here", new.request_id) == new
        assert (await subject.events.totals("here", None)).requests == 2
        assert len([entry async for entry in subject.ledger.entries("here")]) == 2
        assert (await subject.events.totals("there", None)).requests == 1

    async def test_an_idempotency_key_is_claimed_once_by_its_org_and_route(self, subject: Any) -> None:
        """A10."""
        store, kept = subject.idempotency, Kept(fingerprint=b"f", status=200, headers=((b"a", b"b"),), body=b"\x00{}")
        mine, theirs = claim(), claim(org_id="there")
        assert await store.claim(mine) is None
        assert (await store.claim(claim())).status == 0
        assert await store.claim(theirs) is None
        assert await store.claim(claim(route="/v1/messages")) is None
        await store.keep(mine, kept)
        assert await store.claim(claim(fingerprint=b"g")) == kept
        await store.release(theirs)
        assert await store.claim(claim(org_id="there")) is None

    async def test_a_claim_lapses_with_its_maker_and_an_answer_does_not(self, subject: Any) -> None:
        store = subject.idempotency
        other = claim(key="other", lease_s=0.05)
        assert await store.claim(claim(lease_s=0.05)) is None
        assert await store.claim(other) is None
        await store.keep(other, Kept(fingerprint=b"f", status=200))
        await asyncio.sleep(0.1)
        assert await store.claim(claim()) is None
        assert (await store.claim(claim(key="other"))).status == 200

    async def test_a_late_maker_takes_nothing_from_the_one_after_it(self, subject: Any) -> None:
        """Whose claim lapsed and was taken over can neither give it back nor put its answer in place of another."""
        store, late, heir = subject.idempotency, claim(lease_s=0.05), claim()
        assert await store.claim(late) is None
        await asyncio.sleep(0.1)
        assert await store.claim(heir) is None
        await store.release(late)
        assert (await store.claim(claim())).status == 0
        await store.keep(heir, Kept(fingerprint=b"f", status=200, body=b"heir"))
        await store.keep(late, Kept(fingerprint=b"f", status=200, body=b"late"))
        await store.release(late)
        assert (await store.claim(claim())).body == b"heir"

    async def test_of_many_callers_one_gets_the_claim(self, subject: Any) -> None:
        found = await asyncio.gather(*[subject.idempotency.claim(claim()) for _ in range(50)])
        assert found.count(None) == 1

    async def test_dead_letters_are_counted(self, subject: Any) -> None:
        await subject.dead_letters.save(
            [DeadLetter(source="journal", payload=b"\x00", error="why", timestamp=billed().timestamp)]
        )
        assert await subject.dead_letters.count() == 1
