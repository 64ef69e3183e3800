"""The graded answers of two models, and the half of them that is kept for judging."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import msgspec
from msgspec import Struct

DATA = Path(__file__).parent / "data/graded_answers.jsonl.gz"


class Graded(Struct, frozen=True):
    """One question, and whether the weak and the strong model answered it rightly."""

    benchmark: str
    subject: str | None
    prompt: str
    weak_correct: bool
    strong_correct: bool


def held_out(path: Path = DATA) -> dict[str, list[Graded]]:
    """The rows for judging, by benchmark: those whose prompt's SHA-256 starts with an even byte. The other half is for
    whoever wants to fit something."""
    kept: dict[str, list[Graded]] = {}
    with gzip.open(path, "rb") as lines:
        for line in lines:
            row = msgspec.json.decode(line, type=Graded)
            if hashlib.sha256(row.prompt.encode()).digest()[0] % 2 == 0:
                kept.setdefault(row.benchmark, []).append(row)
    return kept
