"""The local embedder by itself: its size, its speed, and how well its cosine tells the same from the different."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from msgspec import Struct

from asahi_semantic.embedder import LocalEmbedder, load
from benchmarks.semantic.truth import intents, pairs


class Figures(Struct, kw_only=True):
    """Times are medians. `ap` and `auc` are over Quora pairs and None without them."""

    megabytes: float
    load_ms: float
    short_text_us: float
    nearest_neighbour: float
    ap: float | None = None
    auc: float | None = None
    pairs: int = 0


def measure(quora: Path | None) -> Figures:
    """All figures of the table that is installed."""
    begun = time.perf_counter()
    local = load()
    load_ms = (time.perf_counter() - begun) * 1e3
    found = Figures(
        megabytes=(Path(str(files("asahi_semantic"))) / "table.npz").stat().st_size / 1e6,
        load_ms=load_ms,
        short_text_us=speed(local),
        nearest_neighbour=nearest_neighbour(local),
    )
    if quora is not None:
        rows = pairs(quora)
        scores = np.array([float(local.vector(one) @ local.vector(other)) for one, other, _ in rows])
        found.ap, found.auc = ranked(scores, np.array([same for _, _, same in rows]))
        found.pairs = len(rows)
    return found


def speed(local: LocalEmbedder) -> float:
    """Microseconds for one question, words that were seen before included, as in a running gateway."""
    texts = [each.text for each in intents("banking77")[:1_000]]
    times = []
    for text in texts * 2:
        begun = time.perf_counter()
        local.vector(text)
        times.append(time.perf_counter() - begun)
    return float(np.median(times[len(texts) :])) * 1e6


def nearest_neighbour(local: LocalEmbedder) -> float:
    """BANKING77: how often the nearest training question has the intent of a question that is kept aside."""
    known, asked = intents("banking77", training=True), intents("banking77")
    matrix = np.array([local.vector(each.text) for each in known])
    right = 0
    for each in asked:
        right += known[int(np.argmax(matrix @ local.vector(each.text)))].meaning == each.meaning
    return right / len(asked)


def ranked(scores: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """Average precision, and the area under the ROC curve."""
    labels = same[np.argsort(-scores, kind="stable")].astype(float)
    hits = np.cumsum(labels)
    ap = float((hits / np.arange(1, len(labels) + 1) * labels).sum() / labels.sum())
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores, kind="stable")] = np.arange(1, len(scores) + 1)
    positive = int(same.sum())
    auc = (ranks[same].sum() - positive * (positive + 1) / 2) / (positive * (len(scores) - positive))
    return ap, float(auc)


def quantile(values: Sequence[float], share: float) -> float:
    """A quantile of measured times."""
    return float(np.quantile(np.array(values), share))
