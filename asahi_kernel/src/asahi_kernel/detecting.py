"""Detecting personal data: what a detector of it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol


class Detected(NamedTuple):
    """Where something of a kind stands in a text."""

    start: int
    end: int
    kind: str


class Detector(Protocol):
    """Finds personal data. `marks` names the kinds it knows, each with what stands in its place when it is redacted.

    `find` says for each text what of these kinds is where, in order, nothing over another. It bounds its own time, and
    raises where it cannot say: whoever asked then lets nothing through.
    """

    marks: Mapping[str, str]

    async def find(self, texts: Sequence[str], kinds: Collection[str]) -> Sequence[Sequence[Detected]]: ...
