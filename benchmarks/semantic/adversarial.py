"""Questions that look the same and are not: real ones with one thing changed, so that every hit would be wrong.

The sentences are people's own.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from benchmarks.semantic.driving import ORG, Run
from benchmarks.semantic.swaps import DATES, ENTITIES, INVERTED, NEGATED, UNITS
from benchmarks.semantic.truth import DATA, Question, intents, kept_aside


class Twins(Struct, frozen=True):
    """A question, and its false twin."""

    kind: str
    text: str
    twin: str


def twins(seed: int = 5, most: int = 700) -> list[Twins]:
    """At most `most` of each kind."""
    draw = random.Random(seed)
    texts = sorted({*(each.text for name in ("banking77", "clinc150") for each in intents(name)), *_graded()})
    found: dict[str, list[Twins]] = {}
    for text in texts:
        for kind, twin in _changed(text, draw):
            if twin.lower() != text.lower():
                found.setdefault(kind, []).append(Twins(kind, text, twin))
    return [each for kind in sorted(found) for each in draw.sample(found[kind], min(most, len(found[kind])))]


def _graded() -> Iterator[str]:
    """Sums and knowledge questions of GSM8K and MMLU, shared with the benchmark of routing."""
    with gzip.open(DATA.parents[1] / "routing/data/graded_answers.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            prompt = json.loads(line)["prompt"].strip()
            if kept_aside(prompt) and len(prompt) < 1_000:
                yield prompt


def _changed(text: str, draw: random.Random) -> Iterator[tuple[str, str]]:
    numbers = list(re.finditer(r"(?<![\w.])\d+(?![\w.])", text))
    if numbers:
        at = draw.choice(numbers)
        value = int(at.group()) + draw.choice((-3, -2, -1, 1, 2, 3, 10))
        yield "number", f"{text[: at.start()]}{abs(value)}{text[at.end() :]}"
    yield from _swapped("unit", text, UNITS)
    yield from _swapped("date", text, DATES)
    yield from _swapped("direction", text, INVERTED)
    for word, negated in NEGATED.items():
        if re.search(rf"\b{word}\b", text, re.IGNORECASE):
            yield "negation", _replace(text, word, negated)
            break
    there = [name for name in ENTITIES if re.search(rf"\b{name}\b", text, re.IGNORECASE)]
    if there:
        yield "entity", _replace(text, there[0], draw.choice([name for name in ENTITIES if name not in there]))
    turned = re.search(r"\b(?:from )?(\w{3,}) (to|into|than|or) (\w{3,})\b", text)
    if turned and turned.group(1) != turned.group(3):
        one, middle, other = turned.groups()
        if middle != "or":
            yield "turned", f"{text[: turned.start(1)]}{other} {middle} {one}{text[turned.end() :]}"


def _swapped(kind: str, text: str, swaps: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    for one, other in swaps:
        if re.search(rf"\b{one}\b", text, re.IGNORECASE):
            yield kind, _replace(text, one, other)
            return


def _replace(text: str, one: str, other: str) -> str:
    return re.sub(rf"\b{one}\b", other, text, count=1, flags=re.IGNORECASE)


class Attack(Struct, kw_only=True):
    """How many twins of each kind were asked, and served. `control` is how many were served when they were only said
    more politely: a tier that serves nothing proves nothing."""

    asked: Counter[str]
    served: Counter[str]
    control: int = 0
    examples: list[Twins] = []


def attack(bound: float, warm: list[Question]) -> Attack:
    """Let a tier earn its right to serve on a stream, tell it each question, and ask the twin."""
    return asyncio.run(_attack(bound, warm, twins()))


async def _attack(bound: float, warm: list[Question], pairs: list[Twins]) -> Attack:
    """One pair at a time, with no other entry there: whatever is served is the answer to the other question."""
    runner = Run(1, max_error_rate=bound)
    await runner.drive(warm)
    told = Attack(asked=Counter(), served=Counter())
    for number, each in enumerate(pairs):
        await runner.tier.clear(ORG.org)
        key = number.to_bytes(32, "big")
        await runner.tell(key, Question(each.text, each.text))
        assert await runner.served(key, each.text)
        told.asked[each.kind] += 1
        told.control += await runner.served(key, f"hi, {each.text} please")
        if await runner.served(key, each.twin):
            told.served[each.kind] += 1
            told.examples.append(each)
    runner.close()
    return told
