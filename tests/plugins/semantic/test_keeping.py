"""What survives a restart, sealed; and what reaches the other workers of a host."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from tests.kernel.keys import Store
from tests.plugins.semantic.kit import HERE, LOCAL, THERE, Clock, ask, certain, say

from asahi_kernel.keyring import Keyring
from asahi_kernel.repositories.subjects import subject_of
from asahi_kernel.vault import Vault
from asahi_semantic.config import SemanticConfig
from asahi_semantic.framing import claim
from asahi_semantic.keeping import Keeper, Notices
from asahi_semantic.parts import Parts
from asahi_semantic.store import NumpyStore
from asahi_semantic.thresholds import IDENTITY
from asahi_semantic.tier import SemanticTier

pytestmark = pytest.mark.anyio
PASSWORD, SAME = "How do I reset my password?", "I forgot my password, how can I reset it now?"
KEY = {"main": b"k" * 32}


class Worker:
    """One process of a host, over one folder."""

    def __init__(self, folder: Path, keys: dict[str, bytes] = KEY, store: Store | None = None) -> None:
        self.log = claim(folder, "semantic")
        self.store = NumpyStore(folder)
        self.keeper = Keeper(self.log, Keyring(Vault(keys), store), Notices(folder / "semantic.notices"))
        config = SemanticConfig(thresholds={"faq": 0.0}, max_error_rate=0.05)
        parts = Parts(LOCAL, self.store, LOCAL)
        self.tier = SemanticTier(config, parts, certain(), IDENTITY, keeper=self.keeper, clock=Clock())

    def prove(self, org: str = "here") -> None:
        row = np.zeros(len(certain().weights))
        row[0] = 1.0
        for _ in range(400):
            self.tier._tenant(org).controller("faq").asked()
            self.tier._tenant(org).missed("faq", row, 0.999, True)
            self.keeper.told(org, "faq", row, 0.999, "miss", True, 1.0)

    def stop(self) -> None:
        self.keeper.close()
        self.store.close()


async def test_entries_vectors_and_what_was_proven_survive_a_restart(tmp_path: Path) -> None:
    """T2-8, the local part."""
    worker = Worker(tmp_path)
    worker.prove()
    await worker.tier.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
    before = worker.tier.precision("here")
    worker.stop()
    worker = Worker(tmp_path)
    await worker.tier.load()
    assert worker.tier.precision("here") == before
    hit = await worker.tier.get(b"2", ask(SAME), HERE)
    assert hit is not None
    assert hit.completion == say("Click reset.")
    assert await worker.tier.get(b"2", ask(SAME), THERE) is None
    worker.stop()


async def test_lost_vectors_are_made_anew(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    worker.prove()
    await worker.tier.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
    worker.stop()
    for name in os.listdir(tmp_path):
        if ".vectors." in name:
            os.unlink(tmp_path / name)
    worker = Worker(tmp_path)
    await worker.tier.load()
    assert await worker.tier.get(b"2", ask(SAME), HERE) is not None
    worker.stop()


async def test_nothing_readable_lies_on_the_disk(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    await worker.tier.put(b"1", ask(PASSWORD), HERE, say("Click the secret button."))
    worker.stop()
    for name in os.listdir(tmp_path):
        raw = (tmp_path / name).read_bytes()
        assert b"password" not in raw
        assert b"secret" not in raw
        assert os.stat(tmp_path / name).st_mode & 0o077 == 0


async def test_entries_under_a_lost_key_are_left_out_and_the_tier_works(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    await worker.tier.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
    worker.stop()
    worker = Worker(tmp_path, {"other": b"o" * 32})
    await worker.tier.load()
    assert await worker.tier.get(b"1", ask(PASSWORD), HERE) is None
    await worker.tier.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
    assert await worker.tier.get(b"1", ask(PASSWORD), HERE) is not None
    worker.stop()


async def test_what_was_evicted_or_cleared_does_not_come_back(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    for number, principal in enumerate((HERE, THERE)):
        await worker.tier.put(bytes([number]), ask(PASSWORD), principal, say("Click reset."))
    await worker.tier.clear("here")
    worker.stop()
    worker = Worker(tmp_path)
    await worker.tier.load()
    assert await worker.tier.entries("here") == []
    assert len(await worker.tier.entries("there")) == 1
    worker.stop()


async def test_a_wrong_mark_reaches_the_worker_that_has_the_entry(tmp_path: Path) -> None:
    """T2-7: feedback comes in at one worker, and another one served."""
    one, other = Worker(tmp_path), Worker(tmp_path)
    await one.tier.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
    hit = await one.tier.get(b"1", ask(PASSWORD), HERE)
    assert hit is not None
    await other.tier.evict("there", hit.entry_id)
    assert await one.tier.get(b"1", ask(PASSWORD), HERE) is not None
    await other.tier.evict("here", hit.entry_id)
    assert await one.tier.get(b"1", ask(PASSWORD), HERE) is None
    one.stop()
    other.stop()


@pytest.mark.parametrize("running", [True, False])
async def test_what_another_worker_was_told_to_forget_stays_forgotten(tmp_path: Path, running: bool) -> None:
    """Also where it was told while the worker that has the entry was down."""
    one, other = Worker(tmp_path), Worker(tmp_path)
    await one.tier.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
    (entry_id,) = await one.tier.entries("here")
    if running:
        await other.tier.evict("here", entry_id)
        assert await one.tier.get(b"1", ask(PASSWORD), HERE) is None
        one.stop()
    else:
        one.stop()
        await other.tier.evict("here", entry_id)
    one = Worker(tmp_path)
    await one.tier.load()
    assert await one.tier.get(b"1", ask(PASSWORD), HERE) is None
    one.stop()
    other.stop()


async def test_a_wrong_mark_is_remembered_as_a_lesson(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    worker.prove()
    await worker.tier.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
    hit = await worker.tier.get(b"2", ask(SAME), HERE)
    assert hit is not None
    assert await worker.tier.evict("here", hit.entry_id)
    weights, precision = worker.tier._tenant("here").verifier.weights, worker.tier.precision("here")
    worker.stop()
    worker = Worker(tmp_path)
    await worker.tier.load()
    assert worker.tier.precision("here") == precision
    assert np.allclose(worker.tier._tenant("here").verifier.weights, weights)
    worker.stop()


async def test_a_clear_reaches_every_worker_and_holds_for_answers_under_way(tmp_path: Path) -> None:
    """CM-1 and CM-2: the org is cleared at one worker; the other has entries, and an answer still to come."""
    one, other = Worker(tmp_path), Worker(tmp_path)
    for principal in (HERE, THERE):
        await one.tier.put(b"1", ask(PASSWORD), principal, say("Click reset."))
    assert await one.tier.get(b"2", ask("Where is my parcel now?"), HERE) is None
    assert await other.tier.clear("here") == 0
    await one.tier.put(b"2", ask("Where is my parcel now?"), HERE, say("On its way."))
    assert await one.tier.entries("here") == []
    assert len(await one.tier.entries("there")) == 1
    one.tier._clock.now += 1
    await one.tier.put(b"3", ask(PASSWORD), HERE, say("Click reset."))
    one.stop()
    one = Worker(tmp_path)
    one.tier._clock.now += 1
    await one.tier.load()
    assert await one.tier.get(b"4", ask(PASSWORD), HERE) is not None
    one.stop()
    other.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for storage without the pauses."""
    monkeypatch.setattr("asahi_semantic.keeping._PAUSE_S", 0.01)
    monkeypatch.setattr("asahi_kernel.keyring._REST_S", 0.0)


@pytest.mark.usefixtures("impatient")
async def test_a_start_waits_for_the_keys_of_its_entries(tmp_path: Path) -> None:
    store = Store()
    worker = Worker(tmp_path, store=store)
    worker.prove()
    await worker.tier.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
    worker.stop()
    store.away = True
    worker = Worker(tmp_path, store=store)
    loading = asyncio.ensure_future(worker.tier.load())
    async with asyncio.timeout(5):
        while store.asked["named"] < 5:
            await asyncio.sleep(0.01)
        assert await worker.tier.get(b"2", ask(SAME), HERE) is None
        store.away = False
        await loading
    assert await worker.tier.get(b"2", ask(SAME), HERE) is not None
    worker.stop()


@pytest.mark.usefixtures("impatient")
async def test_a_start_goes_on_without_its_entries_in_the_end(tmp_path: Path) -> None:
    store = Store()
    worker = Worker(tmp_path, store=store)
    for number in range(20):
        await worker.tier.put(b"1", ask(f"Where is parcel number{number}x?"), HERE, say("There."))
    worker.stop()
    store.away = True
    worker = Worker(tmp_path, store=store)
    async with asyncio.timeout(5):
        await worker.tier.load()
    assert await worker.tier.entries("here") == []
    assert store.asked["named"] < 100
    worker.stop()


async def test_what_has_no_key_yet_is_kept_in_memory_alone(tmp_path: Path) -> None:
    store = Store()
    store.away = True
    worker = Worker(tmp_path, store=store)
    await worker.tier.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
    assert await worker.tier.get(b"2", ask(PASSWORD), HERE) is not None
    worker.stop()
    worker = Worker(tmp_path)
    await worker.tier.load()
    assert await worker.tier.entries("here") == []
    worker.stop()


async def test_what_an_erased_user_asked_is_left_out(tmp_path: Path) -> None:
    store = Store()
    worker = Worker(tmp_path, store=store)
    await worker.tier.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
    await worker.tier.put(b"2", ask("Where is my parcel now?"), replace(HERE, user="bob"), say("On its way."))
    worker.stop()
    await store.erase("here", subject_of("here", "bob"), datetime.now(UTC))
    worker = Worker(tmp_path, store=store)
    await worker.tier.load()
    assert [row.user async for row in worker.tier.rows("here")] == [HERE.user]
    worker.stop()
