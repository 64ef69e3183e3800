"""The verifier: one online logistic for each tenant, which says how likely a stored answer is right for a question."""

from __future__ import annotations

import json
import math
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from asahi_semantic.facts import Facts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NAMES = (
    "one",
    "cosine",
    "cosine squared",
    "margin",
    "record",
    "words shared",
    "content shared",
    "content on both sides alone",
    "content on one side alone",
    "length",
    "question",
    "names",
    "comparison",
)
#: Beyond this a margin says nothing more.
FAR = 0.3
#: What each observation adds to the variance of each weight, so that the verifier keeps learning where traffic drifts.
_DRIFT = 1e-4


class Pair(Struct, frozen=True):
    """What is known of a question and a candidate besides their texts: `margin` is the candidate's cosine less that of
    the nearest entry with a different answer, `right` and `wrong` what was found out about this answer so far."""

    cosine: float
    margin: float
    right: float
    wrong: float


def features(pair: Pair, asked: Facts, stored: Facts) -> Floats:
    """In the order of `NAMES`, each of about unit size."""
    cosine = (pair.cosine - 0.8) * 5
    mine, theirs = set(asked.content), set(stored.content)
    alone = len(mine - theirs), len(theirs - mine)
    longer, shorter = max(len(asked.words), len(stored.words), 1), max(min(len(asked.words), len(stored.words)), 1)
    return np.array(
        (
            1.0,
            cosine,
            cosine * abs(cosine),
            min(max(pair.margin, -FAR), FAR) * 5,
            math.log((pair.right + 1) / (pair.wrong + 0.5)),
            _share(set(asked.words), set(stored.words)),
            _share(mine, theirs),
            min(alone) / 2,
            max(alone) / 3,
            math.log(longer / shorter),
            float(asked.question != stored.question),
            float(asked.entities != stored.entities),
            float(asked.compared != stored.compared),
        )
    )


def _share(one: set[str], other: set[str]) -> float:
    either = len(one | other)
    return len(one & other) / either if either else 1.0


class Prior(Struct, frozen=True):
    """Where every tenant's verifier starts: weights, and how unsure they are."""

    weights: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]


def prior() -> Prior:
    """The prior that ships, see `training/prior.py`."""
    read = json.loads((files(__package__) / "prior.json").read_text("utf-8"))
    return Prior(tuple(read["weights"]), tuple(map(tuple, read["covariance"])))


class Verifier:
    """A Gaussian over the weights, moved by each label with the extended Kalman filter's step for a logistic."""

    def __init__(self, start: Prior) -> None:
        self.weights: Floats = np.array(start.weights)
        self._covariance: Floats = np.array(start.covariance)
        self._drift: Floats = np.eye(len(self.weights)) * _DRIFT
        self.labels = 0

    def probability(self, row: Floats) -> float:
        """That the answer is right, the weights' own doubt included (MacKay 1992)."""
        score = float(row @ self.weights)
        variance = float(row @ self._covariance @ row)
        return _sigmoid(score / math.sqrt(1 + math.pi / 8 * variance))

    def learn(self, row: Floats, right: bool) -> None:
        """Move the weights by one label."""
        self._covariance += self._drift
        chance = _sigmoid(float(row @ self.weights))
        spread = max(chance * (1 - chance), 1e-4)
        along = self._covariance @ row
        gain = 1 + spread * float(row @ along)
        self.weights = self.weights + along * ((right - chance) / gain)
        self._covariance = self._covariance - np.outer(along, along) * (spread / gain)
        self.labels += 1


def _sigmoid(score: float) -> float:
    if score >= 0:
        return 1 / (1 + math.exp(-score))
    powered = math.exp(score)
    return powered / (1 + powered)
