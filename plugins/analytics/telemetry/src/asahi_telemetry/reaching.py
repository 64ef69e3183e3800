"""Reaching: whether what is sent arrives where it should, told once when that changes; and sinks that nobody wants."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asahi_kernel.lines import CHANGE

if TYPE_CHECKING:
    from asahi_kernel.records import Event


class Reaching:
    """Of what is sent where, as `events` and `kafka`."""

    def __init__(self, log: logging.Logger, what: str, where: str) -> None:
        self._log = log
        self._what, self._where = what, where
        self._failing = False

    def told(self, arrived: bool) -> None:
        """The outcome of the last try."""
        if arrived == self._failing:
            self._failing = not arrived
            way, again = ("reach", " again") if arrived else ("do not reach", "")
            self._log.warning("%s %s %s%s", self._what, way, self._where, again, extra=CHANGE)


class Silent:
    """A sink where nobody wants to know."""

    async def write(self, events: Sequence[Event]) -> None:
        return
