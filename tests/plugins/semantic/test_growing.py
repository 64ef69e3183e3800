"""Many entries: nobody waits for an index or a file, and memory is what it should be."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from tests.plugins.semantic.kit import HERE, THERE, ask, say
from tests.plugins.semantic.test_keeping import PASSWORD, SAME, Worker

from asahi_kernel import PluginError
from asahi_semantic import shelf as shelves
from asahi_semantic.framing import Log
from asahi_semantic.shelf import Shelf
from asahi_semantic.store import NumpyStore

pytestmark = pytest.mark.anyio


def vectors(count: int) -> np.ndarray:
    rows = np.random.default_rng(3).normal(size=(count, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def held(folder: Path) -> int:
    """Bytes of all files."""
    return sum(os.stat(folder / name).st_size for name in os.listdir(folder) if name.endswith(".log"))


def test_an_index_is_made_a_little_at_a_time_and_nothing_is_missed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "_BLOCK", 64)
    shelf, rows = Shelf(16, 200), vectors(1_000)
    most = 0
    for number, row in enumerate(rows):
        before = shelf._indexed
        shelf.upsert(f"k{number}", row, b"")
        most = max(most, shelf._indexed - before)
        if number % 25 == 0:
            (found, score, _), *_ = shelf.nearest(row, 3)
            assert (found, round(score, 3)) == (f"k{number}", 1.0)
    assert 0 < most <= 8
    shelf.catch_up()
    assert shelf._indexed == 1_000
    assert [shelf.nearest(row, 1)[0][0] for row in rows] == [f"k{number}" for number in range(1_000)]


def test_the_index_finds_what_an_exact_search_finds() -> None:
    rows, asked = vectors(3_000), vectors(3_100)[3_000:]
    exact, indexed = Shelf(16, None), Shelf(16, 100)
    for number, row in enumerate(rows):
        exact.upsert(f"k{number}", row, b"")
        indexed.upsert(f"k{number}", row, b"")
    assert indexed._indexed == 3_000
    same = [
        len({key for key, _, _ in exact.nearest(row, 5)} & {key for key, _, _ in indexed.nearest(row, 5)}) / 5
        for row in asked
    ]
    assert sum(same) / len(same) > 0.95


async def test_what_is_added_while_a_file_is_compacted_stays(tmp_path: Path) -> None:
    log = Log(tmp_path / "x.log")
    log.add([b"%d" % number for number in range(2_000)])
    work = asyncio.ensure_future(log.compact(lambda body: int(body) % 2 == 0))
    for number in range(2_000, 2_005):
        await asyncio.sleep(0)
        log.add([b"%d" % number])
    await work
    log.add([b"9999"])
    log.close()
    log = Log(tmp_path / "x.log")
    assert list(log.read()) == [*(b"%d" % number for number in [*range(0, 2_000, 2), *range(2_000, 2_005)]), b"9999"]
    log.close()


async def test_a_compaction_that_is_cut_short_changes_nothing(tmp_path: Path) -> None:
    log = Log(tmp_path / "x.log")
    log.add([b"%d" % number for number in range(2_000)])
    work = asyncio.ensure_future(log.compact(lambda body: False))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    log.add([b"last"])
    log.close()
    assert os.listdir(tmp_path) == ["x.log"]
    log = Log(tmp_path / "x.log")
    assert len(list(log.read())) == 2_001
    log.close()


async def test_a_process_that_forgets_much_does_not_let_its_files_grow(tmp_path: Path) -> None:
    """While it runs: it need not be started anew for it."""
    worker = Worker(tmp_path)
    for number in range(1_100):
        await worker.tier.put(b"1", ask(f"{PASSWORD} {number}"), HERE, say("Click reset."))
        if number:
            (entry_id, _) = await worker.tier.entries("here")
            await worker.tier.evict("here", entry_id)
    before = held(tmp_path)
    await worker.tier.expire()
    assert held(tmp_path) < before / 100
    worker.stop()
    worker = Worker(tmp_path)
    await worker.tier.load()
    assert len(await worker.tier.entries("here")) == 1
    worker.stop()


async def test_while_it_loads_it_answers_nothing_and_forgets_what_it_is_told_to(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    worker.prove()
    for number in range(300):
        await worker.tier.put(b"1", ask(f"Question about item{number:03}x"), THERE, say("Yes."))
    await worker.tier.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
    await worker.tier.put(b"2", ask("Where is my parcel now?"), HERE, say("On its way."))
    entry_id = (await worker.tier.entries("here"))[0]
    worker.stop()
    worker = Worker(tmp_path)
    loading = asyncio.ensure_future(worker.tier.load())
    await asyncio.sleep(0)
    assert await worker.tier.get(b"3", ask(PASSWORD), HERE) is None
    await worker.tier.put(b"3", ask(PASSWORD), HERE, say("Something else."))
    assert (await worker.tier.stats("here")).more["loading"]
    while not worker.tier.held()[0]:
        await asyncio.sleep(0)
    await worker.tier.evict("here", entry_id)
    await worker.tier.clear("there")
    assert not loading.done()
    await loading
    assert worker.tier.held()[0] > 2
    assert await worker.tier.get(b"4", ask(SAME), HERE) is None
    assert len(await worker.tier.entries("here")) == 1
    assert await worker.tier.get(b"4", ask("Where is my parcel now?"), HERE) is not None
    assert await worker.tier.entries("there") == []
    worker.stop()


async def test_vectors_of_what_has_expired_meanwhile_are_not_taken_up(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    await worker.tier.put(b"1", ask(PASSWORD), HERE, say("Click reset."))
    await worker.store.upsert("somebody:elses:1", "k", (1.0,) * 256, b"")
    worker.stop()
    worker = Worker(tmp_path)
    worker.tier._stock._clock.now += 1e6
    await worker.tier.load()
    await worker.tier.put(b"1", ask("Where is my parcel now?"), HERE, say("On its way."))
    assert await worker.store.count("here:local:1") == 1
    assert await worker.store.count("somebody:elses:1") == 1
    worker.stop()


async def test_entries_are_listed_in_the_memory_of_their_ids(tmp_path: Path) -> None:
    """CM-3."""
    worker = Worker(tmp_path)
    for number in range(3_000):
        await worker.tier.put(b"1", ask(f"Question about item{number:04}x"), HERE, say("Yes. " * 50))
    tracemalloc.start()
    told = [row.entry_id async for row in worker.tier.rows("here")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(told) == 3_000
    assert peak < 3_000 * 200
    worker.stop()


async def test_vectors_that_are_being_read_are_not_written_to(tmp_path: Path) -> None:
    store = NumpyStore(tmp_path)
    await store.upsert_many("here", [(f"k{number}", (1.0, float(number)), b"") for number in range(500)])
    store.close()
    store = NumpyStore(tmp_path)
    loading = asyncio.ensure_future(store.load())
    await asyncio.sleep(0)
    with pytest.raises(PluginError, match="being read"):
        await store.upsert("here", "k", (1.0, 0.0), b"")
    await loading
    assert await store.count("here") == 500
    store.close()


async def test_a_store_that_was_not_loaded_reads_a_namespace_when_it_is_asked(tmp_path: Path) -> None:
    store = NumpyStore(tmp_path)
    await store.upsert("here", "k", (1.0, 0.0), b"p")
    store.close()
    store = NumpyStore(tmp_path)
    assert [each.key for each in await store.nearest("here", (1.0, 0.0), 3)] == ["k"]
    assert await store.nearest("there", (1.0, 0.0), 3) == ()
    assert len(os.listdir(tmp_path)) == 1
    store.close()
