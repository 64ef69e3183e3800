"""The index that a namespace keeps on disk: a start takes it up, and never believes it where it does not fit."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from asahi_semantic import shelf as shelves
from asahi_semantic import sidecar, store
from asahi_semantic.shelf import Shelf
from asahi_semantic.sidecar import Sidecar
from asahi_semantic.store import NumpyStore

pytestmark = pytest.mark.anyio

HERE = "acme:local:1"
Truth = dict[str, np.ndarray]


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_FEW", 20)


def vector(draw: np.random.Generator) -> np.ndarray:
    found = draw.normal(size=16).astype(np.float32)
    return found / np.linalg.norm(found)


async def change(kept: NumpyStore, truth: Truth, steps: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    for _ in range(steps):
        key = f"k{draw.integers(400)}"
        if draw.random() < 0.35 and key in truth:
            await kept.delete(HERE, [key])
            del truth[key]
        else:
            truth[key] = vector(draw)
            await kept.upsert(HERE, key, truth[key], key.encode())


async def check(kept: NumpyStore, truth: Truth) -> None:
    """Each key is found by its own vector, and nothing else is there."""
    assert await kept.count(HERE) == len(truth)
    for key, row in truth.items():
        (match,) = await kept.nearest(HERE, row, 1)
        assert (match.key, match.payload, round(match.score, 3)) == (key, key.encode(), 1.0)


async def again(folder: Path, at_once: bool = False) -> tuple[NumpyStore, Shelf]:
    """As the next process finds it: read beside the requests, or at the first."""
    kept = NumpyStore(folder, 50)
    if not at_once:
        await kept.load()
    await kept.count(HERE)
    return kept, kept._shelves[HERE]


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_start_takes_up_the_index_of_the_last_process(tmp_path: Path, at_once: bool) -> None:
    first, truth = NumpyStore(tmp_path, 50), Truth()
    await change(first, truth, 900, seed=1)
    first._shelves[HERE].catch_up()
    first.close()
    kept, shelf = await again(tmp_path, at_once)
    assert shelf._index is not None
    assert shelf._indexed >= len(shelf)
    assert shelf.unkept == 0
    await check(kept, truth)
    await change(kept, truth, 300, seed=2)
    await check(kept, truth)
    kept.close()


@pytest.mark.parametrize("at_once", [False, True])
async def test_what_changed_after_it_was_kept_is_indexed(tmp_path: Path, at_once: bool) -> None:
    first, truth = NumpyStore(tmp_path / "first", 50), Truth()
    await change(first, truth, 900, seed=3)
    await first.tidy()
    assert first._shelves[HERE].unkept == 0
    await change(first, truth, 500, seed=4)
    shutil.copytree(tmp_path / "first", tmp_path / "crashed")
    kept, shelf = await again(tmp_path / "crashed", at_once)
    assert 0 < shelf.unkept < len(shelf)
    await check(kept, truth)
    await change(kept, truth, 300, seed=5)
    await check(kept, truth)
    kept.close()
    first.close()


def flipped(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("spoil", [flipped, cut, Path.unlink])
@pytest.mark.parametrize("which", ["index", "rows"])
async def test_a_spoilt_index_is_made_anew(tmp_path: Path, which: str, spoil: Callable[[Path], None]) -> None:
    first, truth = NumpyStore(tmp_path, 50), Truth()
    await change(first, truth, 500, seed=6)
    first.close()
    (name,) = [each for each in os.listdir(tmp_path) if each.endswith(which)]
    spoil(tmp_path / name)
    kept, shelf = await again(tmp_path)
    assert shelf.unkept >= len(shelf)
    await check(kept, truth)
    kept.close()


async def test_an_index_of_another_log_is_not_believed(tmp_path: Path) -> None:
    truths: list[Truth] = []
    for number in (0, 1):
        first, truth = NumpyStore(tmp_path / str(number), 50), Truth()
        await change(first, truth, 500, seed=7 + number)
        first.close()
        truths.append(truth)
    for path in (tmp_path / "0").glob("*.[ri]*"):
        shutil.copy(path, tmp_path / "1" / path.name)
    kept, shelf = await again(tmp_path / "1")
    assert shelf.unkept >= len(shelf)
    await check(kept, truths[1])
    kept.close()


async def test_keys_in_another_order_are_not_believed(tmp_path: Path) -> None:
    first, truth = NumpyStore(tmp_path, 50), Truth()
    await change(first, truth, 500, seed=14)
    first.close()
    (name,) = [each for each in os.listdir(tmp_path) if each.endswith("rows")]
    raw = (tmp_path / name).read_bytes()
    one, other = sorted(truth)[:2]
    raw = raw.replace(one.encode(), b"...").replace(other.encode(), one.encode()).replace(b"...", other.encode())
    (tmp_path / name).write_bytes(raw)
    kept, shelf = await again(tmp_path)
    assert shelf.unkept >= len(shelf)
    await check(kept, truth)
    kept.close()


async def test_an_index_of_another_release_of_the_library_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, truth = NumpyStore(tmp_path, 50), Truth()
    await change(first, truth, 500, seed=9)
    first.close()
    monkeypatch.setattr(sidecar, "version", lambda name: "0.0.1")
    kept, shelf = await again(tmp_path)
    assert shelf.unkept >= len(shelf)
    await check(kept, truth)
    kept.close()


def held_up(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """From now on writing waits for this."""
    write, going = Sidecar.write, threading.Event()

    def slow(*arguments: object) -> None:
        going.wait(10)
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Sidecar, "write", slow)
    return going


async def test_what_changes_while_it_is_written_is_neither_lost_nor_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, truth, going = NumpyStore(tmp_path / "first", 50), Truth(), held_up(monkeypatch)
    await change(first, truth, 500, seed=10)
    keeping = asyncio.ensure_future(first.tidy())
    await asyncio.sleep(0.05)
    await change(first, truth, 300, seed=11)
    await check(first, truth)
    going.set()
    await keeping
    await check(first, truth)
    shutil.copytree(tmp_path / "first", tmp_path / "crashed")
    kept, shelf = await again(tmp_path / "crashed")
    assert 0 < shelf.unkept < 500
    await check(kept, truth)
    kept.close()
    first.close()


async def test_nothing_is_left_of_what_went_while_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, truth, going = NumpyStore(tmp_path, 50), Truth(), held_up(monkeypatch)
    await change(kept, truth, 500, seed=12)
    keeping = asyncio.ensure_future(kept.tidy())
    await asyncio.sleep(0.05)
    await kept.delete(HERE)
    going.set()
    await keeping
    (name,) = os.listdir(tmp_path)
    assert name.endswith(".log")
    kept.close()


async def test_a_process_that_ends_while_it_loads_ends_soon_and_spoils_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelves, "_MANY", 20)
    first, truth = NumpyStore(tmp_path, None), Truth()
    await change(first, truth, 900, seed=15)
    first.close()
    advance, begun = Shelf.advance, asyncio.Event()

    def slowly(shelf: Shelf) -> None:
        advance(shelf)
        loop.call_soon_threadsafe(begun.set)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(Shelf, "advance", slowly)
    kept = NumpyStore(tmp_path, 50)
    loading = asyncio.ensure_future(kept.load())
    await begun.wait()
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    indexed = kept._shelves[HERE]._indexed
    kept.close()
    await asyncio.sleep(0.05)
    assert 20 <= kept._shelves[HERE]._indexed <= indexed + 20 < len(truth)
    assert not [each for each in os.listdir(tmp_path) if each.endswith((".rows", ".index"))]
    monkeypatch.setattr(Shelf, "advance", advance)
    kept, _ = await again(tmp_path)
    await check(kept, truth)
    kept.close()


async def test_an_index_with_rows_that_nobody_names_is_made_anew(tmp_path: Path) -> None:
    first, truth = NumpyStore(tmp_path, 50), Truth()
    await change(first, truth, 500, seed=16)
    shelf = first._shelves[HERE]
    shelf.catch_up()
    assert shelf._index is not None
    shelf._index.add(len(shelf._keys) + 1, vector(np.random.default_rng(1)), threads=1)
    first.close()
    kept, shelf = await again(tmp_path)
    assert shelf.unkept >= len(shelf)
    await check(kept, truth)
    kept.close()


async def test_an_emptied_namespace_leaves_no_draft_of_a_process_that_died(tmp_path: Path) -> None:
    kept = NumpyStore(tmp_path, 50)
    await change(kept, Truth(), 100, seed=17)
    (name,) = os.listdir(tmp_path)
    for draft in (".index-draft", ".rows-draft"):
        (tmp_path / name).with_suffix(draft).write_bytes(b"vectors")
    await kept.delete(HERE)
    assert os.listdir(tmp_path) == [name]
    kept.close()


async def test_a_compaction_keeps_the_index_anew(tmp_path: Path) -> None:
    first, truth = NumpyStore(tmp_path, 50), Truth()
    await change(first, truth, 900, seed=13)
    await first.tidy(all_of_it=True)
    first.close()
    kept, shelf = await again(tmp_path)
    assert shelf._index is not None
    assert shelf._indexed >= len(shelf)
    assert shelf.unkept == 0
    await check(kept, truth)
    kept.close()
