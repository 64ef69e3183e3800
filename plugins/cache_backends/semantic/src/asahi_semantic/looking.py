"""What a look-up sees: the request as it was asked, the nearest entry, and both until the answer comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from asahi_semantic.entries import Entry
from asahi_semantic.facts import Facts
from asahi_semantic.parts import Place

if TYPE_CHECKING:
    from asahi_semantic.verifier import Floats


class Asked(Struct, frozen=True, kw_only=True):
    """A request as this tier sees it."""

    org: str
    text: str
    frame: bytes
    alias: bytes
    facts: Facts
    task: str
    place: Place
    context: str = ""


class Candidate(Struct, frozen=True, kw_only=True):
    """The nearest entry that no guard stopped; `refused` says why it may not be served, or nothing."""

    entry: Entry
    similarity: float
    row: Floats
    chance: float
    refused: str


class Outlook(Struct, frozen=True):
    """What a look-up that missed left for the answer that is to come. `began` is in seconds since the epoch."""

    asked: Asked
    candidate: Candidate | None
    began: float
