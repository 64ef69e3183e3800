"""The kernel's contracts, and what the store and the embedder promise beyond them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from tests.plugins.semantic.kit import LOCAL

import asahi_semantic
from asahi_kernel import PluginError
from asahi_kernel.testing import EmbedderContract, ListingTierContract, StepwiseTierContract, VectorStoreContract
from asahi_semantic.framing import Log
from asahi_semantic.shelf import Shelf
from asahi_semantic.store import NumpyStore
from asahi_semantic.wordpiece import WordPiece, split

(LOCAL_FACTORY,) = asahi_semantic.register_embedders()
(NUMPY_FACTORY,) = asahi_semantic.register_vector_stores()
TIER_FACTORY, STEPS_FACTORY = asahi_semantic.register_cache_tiers()


class TestLocalEmbedder(EmbedderContract):
    factory = LOCAL_FACTORY


class TestNumpyStore(VectorStoreContract):
    factory = NUMPY_FACTORY
    config = {"path": tempfile.mkdtemp()}


class TestNumpyStoreInMemory(VectorStoreContract):
    factory = NUMPY_FACTORY
    survives = False


class TestIntermediateTier(StepwiseTierContract):
    factory = STEPS_FACTORY


class TestSemanticTier(ListingTierContract):
    backend = "numpy"
    factory = TIER_FACTORY
    tier = 2


def axis(number: int, size: int = 4) -> tuple[float, ...]:
    return tuple(float(number == each) for each in range(size))


@pytest.mark.anyio
async def test_a_torn_end_is_cut_off_and_the_rest_is_there(tmp_path: Path) -> None:
    """A crash in the middle of a write: half a record, or rubbish where its length should be."""
    for torn in (b"\x99\x00\x00\x00", b"\xff" * 300, b"\x10\x00\x00\x00\x00\x00\x00\x00short"):
        store = NumpyStore(tmp_path / str(len(torn)))
        for number in range(3):
            await store.upsert("a/b:local:1", f"k{number}", axis(number), b"p")
        store.close()
        (path,) = (tmp_path / str(len(torn))).glob("*.log")
        path.write_bytes(path.read_bytes() + torn)
        store = NumpyStore(tmp_path / str(len(torn)))
        await store.load()
        assert await store.count("a/b:local:1") == 3
        await store.upsert("a/b:local:1", "k3", axis(3), b"p")
        store.close()
        store = NumpyStore(tmp_path / str(len(torn)))
        await store.load()
        assert [each.key for each in await store.nearest("a/b:local:1", axis(3), 1)] == ["k3"]
        store.close()


@pytest.mark.anyio
async def test_a_flipped_bit_ends_the_file_there(tmp_path: Path) -> None:
    log = Log(tmp_path / "x.log")
    log.add([b"first", b"second", b"third"])
    log.close()
    raw = bytearray((tmp_path / "x.log").read_bytes())
    raw[raw.index(b"second")] ^= 1
    (tmp_path / "x.log").write_bytes(raw)
    log = Log(tmp_path / "x.log")
    assert list(log.read()) == [b"first"]
    log.close()


@pytest.mark.anyio
async def test_two_processes_never_write_one_file(tmp_path: Path) -> None:
    one, other = NumpyStore(tmp_path), NumpyStore(tmp_path)
    await one.upsert("here", "k", axis(0), b"")
    await other.upsert("here", "l", axis(1), b"")
    assert len(os.listdir(tmp_path)) == 2
    one.close()
    other.close()


@pytest.mark.anyio
async def test_a_file_of_deletions_is_rewritten(tmp_path: Path) -> None:
    store = NumpyStore(tmp_path)
    await store.upsert("here", "kept", axis(0), b"")
    for _ in range(700):
        await store.upsert("here", "k", axis(1), b"payload")
        await store.delete("here", ["k"])
    await store.tidy()
    (name,) = os.listdir(tmp_path)
    assert os.stat(tmp_path / name).st_size < 60_000
    store.close()
    store = NumpyStore(tmp_path)
    await store.load()
    assert await store.count("here") == 1
    store.close()


@pytest.mark.anyio
async def test_a_vector_of_another_length_is_an_error() -> None:
    store = NumpyStore(None)
    await store.upsert("here", "k", axis(0), b"")
    with pytest.raises(PluginError, match="4 numbers, not 5"):
        await store.upsert("here", "l", axis(0, 5), b"")
    with pytest.raises(PluginError, match="4 numbers, not 5"):
        await store.nearest("here", axis(0, 5), 1)


@pytest.mark.parametrize("indexed_from", [None, 50])
def test_rows_stay_with_their_keys_through_any_deletions(indexed_from: int | None) -> None:
    """Exact and with an index: after many changes each vector is found under its own key."""
    draw = np.random.default_rng(5)
    shelf = Shelf(16, indexed_from)
    truth: dict[str, np.ndarray] = {}
    for step in range(600):
        key = f"k{draw.integers(120)}"
        if draw.random() < 0.35 and key in truth:
            assert shelf.delete(key)
            del truth[key]
        else:
            vector = draw.normal(size=16).astype(np.float32)
            truth[key] = vector / np.linalg.norm(vector)
            shelf.upsert(key, truth[key], str(step).encode())
    assert len(shelf) == len(truth)
    for key, vector in truth.items():
        (found, score, _), *_ = shelf.nearest(vector, 1)
        assert found == key
        assert score == pytest.approx(1, abs=1e-4)


def test_words_are_split_as_bert_splits_them() -> None:
    assert split("Don't café-hop, 東京!") == ["don", "'", "t", "cafe", "-", "hop", ",", "東", "京", "!"]
    assert split("plain ASCII text?") == ["plain", "ascii", "text", "?"]


def test_the_longest_known_piece_wins() -> None:
    pieces = WordPiece(["un", "##aff", "##able", "##a", "una"])
    assert pieces.rows("unaffable", 10) == [0, 1, 2] or pieces.rows("unaffable", 10) == []
    assert WordPiece(["play", "##ing", "pla", "##y"]).rows("playing", 10) == [0, 1]
    assert WordPiece(["play"]).rows("xyz", 10) == []


def test_a_text_without_known_words_is_like_nothing_in_particular() -> None:
    assert LOCAL.vector("") @ LOCAL.vector("") == pytest.approx(1, abs=1e-4)
    assert abs(float(LOCAL.vector("") @ LOCAL.vector("How do I activate my card?"))) < 0.6


def test_what_says_the_same_is_nearer_than_what_does_not() -> None:
    asked = LOCAL.vector("How do I reset my password?")
    same = LOCAL.vector("I forgot my password, how can I change it?")
    other = LOCAL.vector("What is the weather like in Paris today?")
    assert asked @ same > asked @ other + 0.2
