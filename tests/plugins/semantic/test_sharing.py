"""Workers that share a store share its entries: on a real PostgreSQL, each worker with a connection and memory of its
own."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.house.tree import ROOT
from tests.kernel.keys import Store
from tests.plugins.semantic.kit import HERE, LOCAL, THERE, Clock, ask, certain, say

from asahi_kernel import Secret
from asahi_kernel.errors import Unavailable
from asahi_kernel.keyring import Keyring
from asahi_kernel.repositories.subjects import subject_of
from asahi_kernel.vault import Vault
from asahi_kernel.vector_stores import SharedStore
from asahi_pgvector import StoreConfig, open_store
from asahi_semantic.config import SemanticConfig
from asahi_semantic.controller import Controller
from asahi_semantic.framing import claim
from asahi_semantic.keeping import Keeper, Notices
from asahi_semantic.parts import Parts
from asahi_semantic.shared import SharedStock
from asahi_semantic.store import NumpyStore
from asahi_semantic.thresholds import IDENTITY
from asahi_semantic.tier import SemanticTier
from asahi_semantic.verifier import Prior, prior

pytestmark = pytest.mark.anyio
PASSWORD, SAME = "How do I reset my password?", "I forgot my password, how can I reset it now?"
KEYS = Keyring(Vault({"main": b"k" * 32}))


@asynccontextmanager
async def worker(
    url: str,
    folder: Path | None = None,
    *,
    start: Prior | None = None,
    keyring: Keyring = KEYS,
    clock: Any = None,
    bound: float = 1e12,
    recheck: Any = None,
    detach: Any = None,
    draw: Any = lambda: 0.99,
    **config: Any,
) -> AsyncIterator[SemanticTier]:
    table = StoreConfig(url=Secret(url), dimension=256, timeout_ms=20_000)
    settings = SemanticConfig(**{"thresholds": {"faq": 0.0}, "max_error_rate": 0.05, **config})
    clock = clock or Clock()
    async with open_store(table, None) as store, AsyncExitStack() as stack:
        keeper = Keeper(None, None)
        if folder is not None:
            keeper = Keeper(claim(folder, "semantic"), keyring, Notices(folder / "semantic.notices"))
            stack.callback(keeper.close)
        parts = Parts(LOCAL, store, LOCAL, store_name="pgvector", store_ms=20_000)
        assert parts.shared is store
        stock = SharedStock(
            store, parts, keeper, keyring, clock, life_s=90_000, most=settings.max_entries, bound=lambda org: bound
        )
        yield SemanticTier(
            settings,
            parts,
            start or certain(),
            IDENTITY,
            keeper=keeper,
            stock=stock,
            recheck=recheck,
            detach=detach,
            clock=clock,
            draw=draw,
        )


def prove(tier: SemanticTier, org: str = "here") -> SemanticTier:
    controller = tier._tenant(org).controller("faq")
    for number in range(400):
        controller.asked()
        controller.missed((0.9999, 0.99, 0.985, 0.9)[number % 4], True)
    return tier


async def test_one_worker_serves_what_another_was_told(fresh_database_url: str) -> None:
    """Exactly, and by its own proof where the words differ."""
    async with (
        worker(fresh_database_url) as one,
        worker(fresh_database_url) as other,
        worker(fresh_database_url) as new,
    ):
        await one.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
        hit = await other.get(b"2", ask(PASSWORD), HERE)
        assert hit is not None
        assert (hit.completion, hit.user, hit.similarity) == (say("Click reset."), "ann", 1.0)
        assert await new.get(b"3", ask(SAME), HERE) is None
        assert new.reasons == {"not proven": 1}
        assert await prove(other).get(b"3", ask(SAME), HERE) is not None
        assert await other.get(b"3", ask(SAME, temperature=0.4), HERE) is None
        assert other.held()[0] == 1


async def test_another_process_serves_it_too(fresh_database_url: str) -> None:
    code = (
        "import asyncio, sys\n"
        "from tests.plugins.semantic.test_sharing import *\n"
        "async def main():\n"
        "    async with worker(sys.argv[1]) as tier:\n"
        "        await tier.put(b'1', ask(PASSWORD), HERE, say('Click reset.'))\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, fresh_database_url, cwd=ROOT)
    assert await process.wait() == 0
    async with worker(fresh_database_url) as tier:
        hit = await tier.get(b"2", ask(PASSWORD), HERE)
        assert hit is not None
        assert hit.completion == say("Click reset.")


async def test_what_is_marked_wrong_at_one_worker_is_served_by_none(fresh_database_url: str) -> None:
    """T2-7, without a common folder, and although the other worker still has the entry in memory."""
    async with worker(fresh_database_url) as one, worker(fresh_database_url) as other:
        prove(other)
        await one.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
        hit = await other.get(b"2", ask(PASSWORD), HERE)
        assert hit is not None
        assert not await one.evict("there", hit.entry_id)
        assert await other.get(b"2", ask(SAME), HERE) is not None
        assert await one.evict("here", hit.entry_id)
        assert await other.get(b"2", ask(PASSWORD), HERE) is None
        assert await other.get(b"2", ask(SAME), HERE) is None


async def test_the_worker_that_served_it_learns_from_a_mark_elsewhere(fresh_database_url: str, tmp_path: Path) -> None:
    async with worker(fresh_database_url, tmp_path) as one, worker(fresh_database_url, tmp_path) as other:
        prove(other)
        await one.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
        hit = await other.get(b"2", ask(SAME), HERE)
        assert hit is not None
        await one.evict("here", hit.entry_id)
        assert await other.get(b"3", ask(SAME), HERE) is None
        (told,) = other.precision("here")
        assert (told.labelled_hits, told.false_hits) == (1, 1)
        assert one.precision("here") == []


async def test_a_mark_holds_although_the_store_has_not_heard_of_it(fresh_database_url: str, tmp_path: Path) -> None:
    """The store was away when it was told to forget, so the vector is still there: the notice is enough."""
    async with worker(fresh_database_url, tmp_path) as one, worker(fresh_database_url, tmp_path) as other:
        await one.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
        hit = await other.get(b"2", ask(PASSWORD), HERE)
        assert hit is not None
        one._keeper.tell("here", hit.entry_id)
        assert await other.get(b"2", ask(PASSWORD), HERE) is None


async def test_a_clear_is_for_all_workers_and_spares_other_orgs(fresh_database_url: str, tmp_path: Path) -> None:
    """CM-1 and CM-2."""
    async with worker(fresh_database_url, tmp_path) as one, worker(fresh_database_url, tmp_path) as other:
        for principal in (HERE, THERE):
            await one.put(b"1", ask(PASSWORD), principal, say("Click reset."))
        assert await one.get(b"2", ask("Where is my parcel now?"), HERE) is None
        assert await other.clear("here") == 1
        await one.put(b"2", ask("Where is my parcel now?"), HERE, say("On its way."))
        for each in (one, other):
            assert await each.get(b"3", ask(PASSWORD), HERE) is None
            assert await each.entries("here") == []
            assert await each.get(b"3", ask(PASSWORD), THERE) is not None


async def test_what_another_org_or_another_key_sealed_cannot_be_opened(fresh_database_url: str) -> None:
    """T2-1: with the store's filter by namespace gone, and every proof there is."""
    async with (
        worker(fresh_database_url) as one,
        worker(fresh_database_url, keyring=Keyring(Vault({"main": b"o" * 32}))) as stranger,
    ):
        await one.put(b"1", ask(PASSWORD), THERE, say("Click reset."))
        assert await stranger.get(b"2", ask(PASSWORD), THERE) is None
        nearest = one._parts._store.nearest
        one._parts._store.nearest = lambda namespace, *rest: nearest("there:local:1", *rest)
        told: list[str] = []
        one._parts._fault = told.append
        assert await prove(one).get(b"2", ask(PASSWORD), HERE) is None
        assert told == ["entry"]
        assert await one.get(b"2", ask(PASSWORD), THERE) is not None


async def test_entries_whose_keys_are_not_to_be_had_are_misses_and_not_swept(fresh_database_url: str) -> None:
    store = Store()
    kept, cold = (Keyring(Vault({"main": b"k" * 32}), store) for _ in range(2))
    async with (
        worker(fresh_database_url, keyring=kept) as one,
        worker(fresh_database_url, keyring=cold) as other,
    ):
        await one.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
        store.away = True
        assert await prove(other).get(b"2", ask(PASSWORD), HERE) is None
        await other.put(b"2", ask("Where is my parcel now?"), HERE, say("On its way."))
        for work in (other.sweep("here"), anext(other.rows("here"))):
            with pytest.raises(Unavailable):
                await work
        store.away, cold._resting_until = False, 0.0
        assert await other.get(b"2", ask(PASSWORD), HERE) is not None
        assert len(await other.entries("here")) == 1
        await store.erase("here", subject_of("here", HERE.user), datetime.now(UTC))
        cold.forget()
        assert await other.sweep("here") == 1


async def test_entries_are_listed_swept_and_bounded_where_they_lie(fresh_database_url: str) -> None:
    clock = Clock()
    async with worker(fresh_database_url, clock=clock, bound=3 * 2_700) as one, worker(fresh_database_url) as other:
        for number in range(450):
            await one.put(b"1", ask(f"Question about item{number:03}x"), HERE, say("Yes."))
        await one.put(b"1", ask(PASSWORD), THERE, say("Click reset."))
        rows = [row async for row in other.rows("here")]
        assert [row.entry_id for row in rows] == sorted(await one.entries("here"), reverse=True)
        assert len(rows) == 450
        assert [row.entry_id async for row in other.rows("here", rows[400].entry_id)] == [
            row.entry_id for row in rows[401:]
        ]
        assert (await other.stats("here")).entries == 450
        assert await one.get(b"2", ask("Question about item007x"), HERE) is not None
        assert await one.expire() == 447
        kept = {row.query async for row in one.rows("here")}
        assert kept == {f"Question about item{number}x" for number in ("007", "448", "449")}
        assert len(await one.entries("there")) == 1
        clock.now += 1e6
        assert await one.sweep("here") == 3
        assert await one.entries("here") == []


async def test_another_bound_is_kept_where_entries_are_shared(fresh_database_url: str) -> None:
    async with worker(fresh_database_url, bound=3 * 2_700) as one, worker(fresh_database_url) as other:
        for number in range(20):
            await other.put(b"1", ask(f"Question about item{number:03}x"), HERE, say("Yes."))
        await other.put(b"1", ask(PASSWORD), THERE, say("Click reset."))
        assert await one.get(b"2", ask("Question about item007x"), HERE) is not None
        assert await other.trim("here") == 0
        assert await one.trim("here") == 17
        assert {row.query async for row in one.rows("here")} >= {"Question about item007x", "Question about item019x"}
        assert len(await one.entries("there")) == 1


async def test_what_is_older_than_any_entry_may_be_is_removed(fresh_database_url: str) -> None:
    clock = Clock()
    async with worker(fresh_database_url, clock=clock) as one:
        await one.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
        assert await one.get(b"2", ask(PASSWORD), HERE) is not None
        clock.now = 1e11
        assert await one.get(b"2", ask(PASSWORD), HERE) is None
        assert await one.expire() == 1


class Pool(NumpyStore):
    """A shared store without a server."""

    async def page(self, namespace: str, before: str | None, limit: int) -> Any: ...
    async def touch(self, namespace: str, keys: Any) -> None: ...
    async def trim(self, namespace: str, oldest: str, rows: int, size: int) -> int: ...
    async def sizes(self, namespace: str) -> Any: ...


SUBJECTS = [f"{one} {other}" for one in ("card", "account", "parcel") for other in ("lost", "late", "closed", "new")]
FORMS = (
    "What about my {} today?",
    "Please tell me what about my {}?",
    "My {}, what about it?",
    "So what of my {} then?",
)


def truth(text: str) -> str:
    """One form asks for something else than the others."""
    return f"answer {next(each for each in SUBJECTS if each in text)}{' then' * text.startswith('So')}"


async def together(workers: int, requests: int) -> tuple[list[int], int]:
    """Hits by worker, and how many of all were wrong."""
    draw, pool, waiting = random.Random(3), Pool(None), []

    async def recheck(request: Any, principal: Any, model: str) -> Any:
        return say(truth(request.messages[-1].text))

    tiers = []
    for _ in range(workers):
        parts, keeper, config = Parts(LOCAL, pool, LOCAL), Keeper(None, None), {"max_error_rate": 0.1}
        stock = SharedStock(pool, parts, keeper, KEYS, Clock(), life_s=9e4, most=10**6, bound=lambda org: 1e12)
        settings = SemanticConfig(thresholds={"faq": 0.0}, mistake_factor=0, **config)
        more: Any = {"recheck": recheck, "detach": waiting.append, "draw": draw.random, "clock": Clock()}
        tiers.append(SemanticTier(settings, parts, prior(), IDENTITY, keeper=keeper, stock=stock, **more))
    hits, wrong = [0] * workers, 0
    for number in range(requests):
        text = draw.choice(FORMS).format(draw.choice(SUBJECTS)) + " " * draw.randrange(1, 200)
        place, key = draw.randrange(workers), number.to_bytes(32, "big")
        hit = await tiers[place].get(key, ask(text), HERE)
        if hit is None:
            await tiers[place].put(key, ask(text), HERE, say(truth(text)))
        else:
            hits[place] += 1
            wrong += hit.completion.text != truth(text)
        while waiting:
            await waiting.pop()
    return hits, wrong


async def test_four_workers_together_keep_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """T2-4 for many: each proves for itself what it serves of the others' answers, so their sum keeps it as well. With
    no controller at all they would break it."""
    hits, wrong = await together(4, 2_000)
    assert min(hits) > 50, "a worker that serves nothing proves nothing"
    assert wrong <= 0.1 * sum(hits)
    monkeypatch.setattr(Controller, "allows", lambda self, chance: True)
    hits, wrong = await together(4, 600)
    assert wrong > 0.1 * sum(hits)


def test_a_store_of_this_process_is_none_that_is_shared() -> None:
    assert not isinstance(NumpyStore(None), SharedStore)
    assert isinstance(Pool(None), SharedStore)
