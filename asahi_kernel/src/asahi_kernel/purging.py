"""Purging: what a storage must do with past requests whose subject is erased. An ability of its own, looked for when an
erasure is ordered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


class Purge(Protocol):
    """Events, decisions, sums and kept answers of one subject. Sums of money and the ledger stay as they are."""

    async def user(self, org: str, user: str) -> Mapping[str, int]:
        """Forget who asked: nothing names the user any more, and answers kept for a repetition go. How many rows of
        which table were changed."""

    async def org(self, org: str) -> Mapping[str, int]:
        """Forget every request of the org; its sums name no user any more."""

    async def residues(self, org: str, user: str | None) -> int:
        """How many rows still name the user, or are requests of the org."""

    async def scrub(self) -> None:
        """Have what was deleted overwritten in the files, as far as the engine can."""


@runtime_checkable
class Purging(Protocol):
    """A storage that can erase subjects."""

    @property
    def purge(self) -> Purge: ...
