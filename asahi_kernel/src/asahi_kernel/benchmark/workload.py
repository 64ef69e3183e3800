"""The workload: what is replayed, and what is known to be true about it."""

from __future__ import annotations

import random
from importlib.resources import files
from typing import Literal, TypeAlias, get_args

import msgspec
from msgspec import Struct

from asahi_kernel.types import Task

Kind: TypeAlias = Literal["original", "trace", "repeat", "paraphrase", "near_miss"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Prompt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One built-in prompt. `expected_output_length` is in tokens; a near-miss looks alike and needs another answer."""

    id: str
    text: str
    type: Task
    expected_output_length: int
    paraphrases: tuple[str, ...] = ()
    near_misses: tuple[str, ...] = ()


class Case(Struct, frozen=True, kw_only=True):
    """One request as the bytes that a client would send.

    Cases of one `meaning` may be given the same answer, no others; empty means that nobody knows. `answer` is an
    answer that is known to be right, `expected_output_length` is in tokens, 0 where nobody knows.
    """

    id: str
    kind: Kind
    wire: Literal["native", "openai"]
    body: bytes
    type: str = ""
    meaning: str = ""
    answer: str = ""
    expected_output_length: int = 0


def prompts() -> tuple[Prompt, ...]:
    """The built-in prompts, as they are stored in the package."""
    lines = files("asahi_kernel.benchmark").joinpath("workload.jsonl").read_bytes()
    return tuple(msgspec.json.Decoder(Prompt).decode_lines(lines))


def built_in(seed: int) -> tuple[Case, ...]:
    """Every prompt, its exact repeat, its paraphrases and near-misses, shuffled with each original before its kin."""
    kin = [(prompt.id, case) for prompt in prompts() for case in _cases(prompt)]
    random.Random(seed).shuffle(kin)
    first: dict[str, int] = {}
    for place, (family, case) in enumerate(kin):
        leader = first.setdefault(family, place)
        if case.kind == "original":
            kin[leader], kin[place] = kin[place], kin[leader]
    return tuple(case for _, case in kin)


def _cases(prompt: Prompt) -> list[Case]:
    cases = [_case(prompt, "original", prompt.text, 0), _case(prompt, "repeat", prompt.text, 1)]
    cases += [_case(prompt, "paraphrase", text, number) for number, text in enumerate(prompt.paraphrases, 1)]
    cases += [_case(prompt, "near_miss", text, number) for number, text in enumerate(prompt.near_misses, 1)]
    return cases


def _case(prompt: Prompt, kind: Kind, text: str, number: int) -> Case:
    identity = f"{prompt.id}/{kind}-{number}" if number else prompt.id
    return Case(
        id=identity,
        kind=kind,
        wire="native",
        body=msgspec.json.encode({"prompt": text}),
        type=prompt.type,
        meaning=identity if kind == "near_miss" else prompt.id,
        expected_output_length=prompt.expected_output_length,
    )
