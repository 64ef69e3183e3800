"""Reads data sets: JSON lines of questions, each with what is known of its answer, so that a false hit can be told."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.benchmark.recording import case_of, lines
from asahi_kernel.benchmark.workload import Case, Kind
from asahi_kernel.errors import AsahiError, Invalid
from asahi_kernel.wire.strict import scan

#: CLINC150 calls by this name what belongs to none of its intents: such questions have nothing in common.
OUT_OF_SCOPE = "oos"

Text: TypeAlias = Annotated[str, Meta(min_length=1)]
T = TypeVar("T")


class BadDataSet(Invalid):
    """A line of the data set cannot be used; the message names it."""

    code = "bad_data_set"


class DataSet(Struct, frozen=True):
    """The questions in the order in which they are asked, and what a reader must know of the truth."""

    cases: tuple[Case, ...]
    notes: tuple[str, ...]


class Known(Struct, frozen=True, kw_only=True):
    """The members of a line that are no part of the question."""

    group: Text | None = None
    intent: Text | None = None
    answer: Text | None = None
    id: Text | None = None
    type: str = ""
    expected_output_length: Annotated[int, Meta(ge=1, le=100_000)] = 0

    def meaning(self, identity: str) -> str:
        """What the question asks for. Questions of one meaning may be given the same answer."""
        if self.group is not None:
            return f"group {self.group}"
        if self.intent is not None:
            return f"intent {self.intent}" if self.intent != OUT_OF_SCOPE else f"question {identity}"
        if self.answer is not None:
            return f"answer {self.answer}"
        raise Invalid("nothing tells what the answer must be: give `group`, `intent` or `answer`")


class Duplicates(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line that holds two questions; `label` is 1 where both ask the same."""

    text_a: Text
    text_b: Text
    label: Annotated[int, Meta(ge=0, le=1)]


class _Pairs:
    """Questions of pairs. Those that are duplicates, directly or through others, mean the same."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._different: list[tuple[str, str]] = []
        self._found: dict[str, Case] = {}

    def add(self, pair: Duplicates, number: int) -> None:
        for text, side in ((pair.text_a, "a"), (pair.text_b, "b")):
            if text not in self._found:
                self._found[text] = case_of(f"line {number} {side}", {"prompt": text}, "original")
        one, other = self._root(pair.text_a), self._root(pair.text_b)
        if pair.label:
            self._parents[one] = other
        else:
            self._different.append((pair.text_a, pair.text_b))

    def cases(self) -> Iterator[Case]:
        for text, case in self._found.items():
            yield msgspec.structs.replace(case, meaning=f"duplicates of {self._root(text)}")

    def disputed(self) -> int:
        """Pairs that are called different, while other pairs make them the same."""
        return sum(self._root(one) == self._root(other) for one, other in self._different)

    def _root(self, text: str) -> str:
        while self._parents.setdefault(text, text) != text:
            self._parents[text] = self._parents[self._parents[text]]
            text = self._parents[text]
        return text


def read(path: Path, seed: int) -> DataSet:
    """The questions of a file, shuffled by the seed. Raises `BadDataSet` with the line's number.

    Blank lines are skipped, and a name that ends in `.gz` is unpacked.
    """
    pairs, cases, places = _Pairs(), [], dict[str, int]()
    for number, line in lines(path, BadDataSet):
        try:
            tree = scan(line)
            if not isinstance(tree, dict):
                raise Invalid("a line must be a JSON object")
            if tree.keys() & {"text_a", "text_b"}:
                pairs.add(_decode(tree, Duplicates), number)
            else:
                cases.append(_question(tree, f"line {number}"))
                if places.setdefault(cases[-1].id, number) != number:
                    raise Invalid(f"the id {cases[-1].id!r} stands in line {places[cases[-1].id]} already")
        except AsahiError as error:
            raise BadDataSet(f"{path.name} line {number}: {error.message}") from error
    found = [*cases, *pairs.cases()]
    if not found:
        raise BadDataSet(f"{path.name}: there is no question in this file")
    notes = []
    settled = _settle(found)
    if unsettled := sum(not case.meaning for case in settled):
        notes.append(f"Requests for which the data set gives two truths, and which are not judged: {unsettled:,}.")
    if disputed := pairs.disputed():
        notes.append(f"Pairs that are called different, but that other pairs make the same: {disputed:,}.")
    random.Random(seed).shuffle(settled)
    return DataSet(tuple(_kinds(settled)), tuple(notes))


def _question(tree: dict[str, object], place: str) -> Case:
    known = _decode({name: tree[name] for name in Known.__struct_fields__ if name in tree}, Known)
    body = {name: value for name, value in tree.items() if name not in Known.__struct_fields__}
    if "text" in body and "prompt" not in body:
        body["prompt"] = body.pop("text")
    identity = known.id or place
    case = case_of(identity, body, "original")
    return msgspec.structs.replace(
        case,
        type=known.type,
        meaning=known.meaning(place),
        answer=known.answer or "",
        expected_output_length=known.expected_output_length,
    )


def _decode(tree: dict[str, object], shape: type[T]) -> T:
    try:
        return msgspec.convert(tree, shape)
    except msgspec.ValidationError as error:
        raise Invalid(str(error)) from error


def _settle(cases: Sequence[Case]) -> list[Case]:
    """One question with two meanings has none that it could be judged by."""
    meanings = Counter(body for body, _ in {(case.body, case.meaning) for case in cases})
    return [msgspec.structs.replace(case, meaning="") if meanings[case.body] > 1 else case for case in cases]


def _kinds(cases: Sequence[Case]) -> Iterator[Case]:
    """What each request is to those before it."""
    bodies: set[bytes] = set()
    meanings: set[str] = set()
    for case in cases:
        kind: Kind = "original"
        if case.body in bodies:
            kind = "repeat"
        elif case.meaning in meanings:
            kind = "paraphrase"
        bodies.add(case.body)
        meanings.add(case.meaning or case.id)
        yield msgspec.structs.replace(case, kind=kind)
