"""What the best fixed threshold would have reached, chosen after the whole stream was seen: no operator has that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from msgspec import Struct

from benchmarks.semantic.driving import LOCAL
from benchmarks.semantic.truth import Question

#: The thresholds tried, on the embedder's own cosine.
TRIED = [round(float(each), 4) for each in np.concatenate([np.arange(0.6, 0.8, 0.01), np.arange(0.8, 1.0, 0.0025)])]


class Static(Struct, frozen=True):
    """One threshold on one stream."""

    threshold: float
    hits: int
    wrong: int


def thresholds(questions: Sequence[Question]) -> list[Static]:
    """Every threshold, each with the entries that it would have stored: a hit stores nothing."""
    matrix = np.array([LOCAL.vector(each.text) for each in questions])
    likeness = matrix @ matrix.T
    numbers = {meaning: number for number, meaning in enumerate(dict.fromkeys(each.meaning for each in questions))}
    meanings = np.array([numbers[each.meaning] for each in questions])
    return [_at(threshold, likeness, meanings) for threshold in TRIED]


def _at(threshold: float, likeness: np.ndarray, meanings: np.ndarray) -> Static:
    stored: list[int] = []
    kept = np.zeros(len(meanings), np.intp)
    hits = wrong = 0
    for place, row in enumerate(likeness):
        count = len(stored)
        if count:
            scores = row[kept[:count]]
            best = int(np.argmax(scores))
            if scores[best] >= threshold:
                hits += 1
                wrong += meanings[kept[best]] != meanings[place]
                continue
        kept[count] = place
        stored.append(place)
    return Static(threshold, hits, int(wrong))


def best(found: Sequence[Static], bound: float, basis: Literal["hits", "requests"], requests: int) -> Static:
    """The one that serves most within the bound; nothing at all if none is. With the rate of wrong answers of another
    policy as the bound, it is what a threshold serves at the same error."""
    fitting = [each for each in found if each.wrong <= bound * (each.hits if basis == "hits" else requests)]
    return max(fitting, key=lambda each: each.hits, default=Static(1.0, 0, 0))
