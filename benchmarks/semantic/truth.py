"""Streams of questions with known truth: two questions have one answer if they have one intent, or are duplicates.

Only the half of each source that nothing was trained on is used (an even first byte of the text's SHA-256).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct

DATA = Path(__file__).parent / "data"


class Question(Struct, frozen=True):
    """A text, and the name of what it asks for."""

    text: str
    meaning: str


def kept_aside(text: str) -> bool:
    """Whether a text is in the half for judging. `training/corpus.py` takes the other."""
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 0


def intents(name: str, *, training: bool = False) -> list[Question]:
    """The questions of `banking77` or `clinc150`; those out of scope each mean something of their own."""
    found = []
    for row in _rows(DATA / f"{name}.jsonl.gz"):
        if kept_aside(row["text"]) != training:
            meaning = row["intent"] if row["intent"] != "oos" else f"oos: {row['text']}"
            found.append(Question(row["text"], meaning))
    return found


def duplicates(path: Path) -> list[Question]:
    """Quora questions; those that people marked as duplicates, directly or through others, mean the same."""
    parents: dict[str, str] = {}

    def root(text: str) -> str:
        while parents.setdefault(text, text) != text:
            parents[text] = parents[parents[text]]
            text = parents[text]
        return text

    for row in _rows(path):
        one, other = root(row["text_a"]), root(row["text_b"])
        if row["label"]:
            parents[one] = other
    return [Question(text, root(text)) for text in sorted(parents) if kept_aside(root(text))]


def pairs(path: Path) -> list[tuple[str, str, bool]]:
    """Quora pairs, as they are."""
    return [(row["text_a"], row["text_b"], bool(row["label"])) for row in _rows(path)]


def stream(questions: list[Question], length: int, order: int) -> list[Question]:
    """The first `length` of a shuffled order."""
    shuffled = sorted(questions, key=lambda each: each.text)
    random.Random(order).shuffle(shuffled)
    return shuffled[:length]


@cache
def answer_of(meaning: str) -> str:
    """What a model that knows the truth answers: one text for each meaning, unlike every other in words and numbers."""
    draw = random.Random(meaning)
    words = " ".join("".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(8))
    return f"Answer {draw.randrange(10**9)}: {words}."


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
