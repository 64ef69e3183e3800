"""The texts that the table is trained on: permissively licensed, and of each source only the half that is not measured.

BANKING77 is CC BY 4.0, CLINC150 CC BY 3.0, the graded questions (MMLU, GSM8K as in RouteLLM) and Arena-Hard Apache-2.0.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

SOURCES = {
    "intents/banking77.jsonl.gz": "text",
    "intents/clinc150.jsonl.gz": "text",
    "routing/graded_answers.jsonl.gz": "prompt",
    "prompts/arena_hard_v0.1.jsonl.gz": "prompt",
}
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
#: Whole texts of more than this are long; their sentences are texts of their own.
_LONGEST = 400


def for_training(text: str) -> bool:
    """Whether a text is in the half to train on: an odd first byte of its SHA-256. The other half is for measuring."""
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 1


def texts(folder: Path, limit: int = 64_000, seed: int = 7) -> list[str]:
    """The texts, or the sentences of long ones, and random windows of their words up to `limit`."""
    whole = sorted({text for text in _read(folder) if for_training(text)})
    pieces = sorted({piece for text in whole for piece in _pieces(text)})
    chosen = list(dict.fromkeys([*(text for text in whole if len(text) <= _LONGEST), *pieces]))
    draw = random.Random(seed)
    known = set(chosen)
    while len(chosen) < limit:
        words = draw.choice(whole).split()
        if len(words) < 5:
            continue
        size = draw.randint(2, min(14, len(words)))
        start = draw.randint(0, len(words) - size)
        window = " ".join(words[start : start + size])
        if window not in known:
            known.add(window)
            chosen.append(window)
    return chosen[:limit]


def _read(folder: Path) -> Iterator[str]:
    for name, field in SOURCES.items():
        with gzip.open(folder / name, "rt", encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)[field].strip()


def _pieces(text: str) -> Iterator[str]:
    for piece in _SENTENCE.split(text):
        if len(piece.split()) >= 3 and len(piece) <= _LONGEST:
            yield piece.strip()
