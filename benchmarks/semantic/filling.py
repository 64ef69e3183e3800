"""Fill the semantic tier with any number of entries through its own `put`, as files that a gateway can start from.

    python -m benchmarks.semantic.filling FOLDER ENTRIES

Each entry is a real question (of BANKING77 and CLINC150) with two words of others at its end, so that all texts differ,
and an answer of 200 characters of its own. The index is made of all of them at the end, as it is when a gateway
starts. Progress goes to stderr, the figures as JSON to stdout.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asahi_kernel.keyring import Keyring
from asahi_kernel.types import Completion, Principal, Request, Usage
from asahi_kernel.vault import Vault
from asahi_kernel.wire import openai
from asahi_semantic.framing import claim
from asahi_semantic.keeping import Keeper, Notices
from asahi_semantic.parts import Parts
from asahi_semantic.store import NumpyStore
from asahi_semantic.verifier import NAMES
from benchmarks.semantic.driving import LOCAL, Run
from benchmarks.semantic.embedding import quantile
from benchmarks.semantic.truth import intents

KEY = "0123456789abcdef" * 4
WHO = Principal(org="default", user="local")
TASK = "faq"
_INDEX_FROM = 10_000
_NAMESPACE = f"{WHO.org}:local:{LOCAL.version}"
_SEARCHES = 500


def texts(count: int, seed: int = 4) -> list[str]:
    """Distinct, and the same for the same seed."""
    draw = random.Random(seed)
    real = [each.text for name in ("banking77", "clinc150") for each in intents(name, training=True)]
    words = sorted({word for text in real for word in text.split()})
    found: dict[str, None] = {}
    while len(found) < count:
        found[f"{draw.choice(real)} {draw.choice(words)} {draw.choice(words)}"] = None
    return list(found)


def body(text: str) -> bytes:
    """As a client sends it."""
    asked = {"model": "model-a", "messages": [{"role": "user", "content": text}], "task_type": TASK}
    return json.dumps(asked).encode()


def asking(text: str) -> Request:
    """As the tier sees it."""
    return openai.decode(body(text), {}, strict_fields=False).request


async def fill(folder: Path, count: int) -> dict[str, Any]:
    """Fill, and measure what a look-up costs and finds."""
    store = NumpyStore(folder)
    keeper = Keeper(
        claim(folder, "semantic"), Keyring(Vault({"main": bytes.fromhex(KEY)})), Notices(folder / "semantic.notices")
    )
    runner = Run(parts=Parts(LOCAL, store, LOCAL), keeper=keeper, max_entries=count)
    _prove(keeper)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    stored = texts(count)
    before, begun, whole, curve = _memory(), time.process_time(), time.process_time(), []
    step = max(1, count // 10)
    for number, text in enumerate(stored, 1):
        words = f"The answer to question {number}: {text}".ljust(200, ".")
        answer = Completion(text=words, model="model-a", provider="openai", usage=Usage(20, 40))
        await runner.tier.put(number.to_bytes(32, "big"), asking(text), WHO, answer)
        if number % step == 0:
            spent = (time.process_time() - begun) / step * 1e6
            curve.append((number, round(spent), round((_memory() - before) / number)))
            print(f"{number:>9,} entries, {spent:.0f} µs of CPU each, {_memory() / 1e6:,.0f} MB", file=sys.stderr)
            begun = time.process_time()
    told: dict[str, Any] = {"entries": count, "put_us": (time.process_time() - whole) / count * 1e6, "curve": curve}
    told["index_us"] = _index(store) / count
    told["entry_bytes"] = (_memory() - before) / count
    told |= await _looked(runner, stored)
    told |= await _recall(store)
    keeper.close()
    store.close()
    return told


def _index(store: NumpyStore) -> float:
    """CPU µs of making the index."""
    shelf = store._shelves[_NAMESPACE]
    shelf.indexed_from = _INDEX_FROM
    begun = time.process_time()
    shelf.catch_up()
    spent = (time.process_time() - begun) * 1e6
    print(f"          indexed, {spent / len(shelf):.0f} µs of CPU each, {_memory() / 1e6:,.0f} MB", file=sys.stderr)
    return spent


def _prove(keeper: Keeper) -> None:
    """What lets the tier serve, and hardly recheck any more: right candidates of any certainty, and many hits."""
    row = np.zeros(len(NAMES))
    row[0] = 1e-6
    for number in range(2_000):
        keeper.told(WHO.org, TASK, row, (0.999, 0.9, 0.5, 0.1)[number % 4], "miss", True, 1.0)
    for _ in range(18_000):
        keeper.told(WHO.org, TASK, row, 0.999, "hit", True, 1.0)


async def _looked(runner: Run, stored: Sequence[str]) -> dict[str, float]:
    draw = random.Random(5)
    asked = [each.text for name in ("banking77", "clinc150") for each in intents(name)]
    exact = [await _timed(runner, number, draw.choice(stored)) for number in range(_SEARCHES)]
    near = [await _timed(runner, number, draw.choice(asked)) for number in range(_SEARCHES)]
    kinds = (("exact", exact), ("look", near))
    return {f"{name}_{round(share * 100)}": quantile(times, share) for name, times in kinds for share in (0.5, 0.99)}


async def _timed(runner: Run, number: int, text: str) -> float:
    request = asking(text)
    begun = time.process_time()
    await runner.tier.get(number.to_bytes(32, "little"), request, WHO)
    return (time.process_time() - begun) * 1e6


async def _recall(store: NumpyStore) -> dict[str, float]:
    """Of real questions that are not among the entries: how many of the true neighbours the index finds."""
    shelf = store._shelves[_NAMESPACE]
    draw = random.Random(6)
    asked = draw.sample([each.text for name in ("banking77", "clinc150") for each in intents(name)], _SEARCHES)
    vectors = np.array([LOCAL.vector(text) for text in asked])
    best = np.full((_SEARCHES, 5), -np.inf)
    rows = np.zeros((_SEARCHES, 5), np.intp)
    for number, block in enumerate(shelf._blocks):
        scores = np.hstack([best, vectors @ block.T])
        first = np.argsort(-scores, axis=1)[:, :5]
        here = first - 5 + number * len(block)
        rows = np.where(first < 5, np.take_along_axis(rows, np.minimum(first, 4), axis=1), here)
        best = np.take_along_axis(scores, first, axis=1)
    nearest = of_five = 0.0
    for vector, truth in zip(vectors, rows.tolist(), strict=True):
        found = [match.key for match in await store.nearest(_NAMESPACE, tuple(vector.tolist()), 20)]
        known = [shelf._keys[row] for row in truth]
        nearest += known[0] == found[0]
        of_five += len(set(known) & set(found[:5])) / 5
    return {"recall_1": nearest / _SEARCHES, "recall_5": of_five / _SEARCHES}


def _memory() -> float:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def main(folder: Path, count: int) -> None:
    told = asyncio.run(fill(folder, count))
    told["disk_bytes"] = sum(path.stat().st_size for path in folder.iterdir()) / count
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
