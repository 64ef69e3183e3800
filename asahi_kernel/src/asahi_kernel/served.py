"""The request that is being served: what every line of the log says of it, and the one line that tells how it ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from asahi_kernel.errors import AsahiError
from asahi_kernel.identity import new_id
from asahi_kernel.tracing import Parent, parent_of, trace_id

access = logging.getLogger("asahi.access")
_QUIET = frozenset({"/health/live", "/health/ready"})


class Served:
    """Made when a request comes, filled in by whoever learns more. `org` stays None until its key is known. `route` is
    the path as it is declared, never as it was sent."""

    __slots__ = ("_id", "_started", "duration_ms", "error", "method", "org", "parent", "route", "status")

    def __init__(self, scope: Mapping[str, Any]) -> None:
        self._started = time.perf_counter()
        self._id = ""
        self.method: str = scope.get("method", "")
        self.parent: Parent | None = parent_of(scope.get("headers", ()))
        self.route: str | None = None
        self.org: str | None = None
        self.status: int | None = None
        self.error: str | None = None
        self.duration_ms: float | None = None

    @property
    def request_id(self) -> str:
        if not self._id:
            self._id = new_id()
        return self._id

    @property
    def trace_id(self) -> str:
        return trace_id(self.request_id, self.parent)

    def end(self) -> None:
        """The answer is out: one line for it. Probes and files of pages are told at DEBUG only, faults as warnings."""
        self.duration_ms = round((time.perf_counter() - self._started) * 1e3, 2)
        status = self.status or 0
        level = logging.WARNING if status >= 500 else logging.INFO
        if level == logging.INFO and (self.route in _QUIET or (self.route is None and status < 400)):
            level = logging.DEBUG
        _tell[-1](self, level)

    def __str__(self) -> str:
        return f"{self.method or '-'} {self.route or '-'} {self.status or '-'}"


def tell_by(teller: Callable[[Served, int], None]) -> None:
    """Have ends told this way, which is quicker than a logger's."""
    _tell[1:] = [teller]


def tell(served: Served, level: int) -> None:
    """A line of the logger `asahi.access`."""
    if access.isEnabledFor(level):
        record = logging.LogRecord(access.name, level, "", 0, str(served), None, None)
        record.served = served
        access.handle(record)


_tell: list[Callable[[Served, int], None]] = [tell]


def refused(error: AsahiError) -> str:
    """Tell of what is refused before it is known to be a request; the id that its answer names."""
    served = Served({})
    served.status, served.error = error.status, error.code
    served.end()
    return served.request_id


current: ContextVar[Served | None] = ContextVar("asahi_served", default=None)


def told_of(error: AsahiError) -> str:
    """Note how the request that is being served ends; the id that its answer names."""
    served = current.get()
    if served is None:
        return new_id()
    served.error = error.code
    return served.request_id


def served_of(scope: Mapping[str, Any]) -> Served:
    """The request that is being served; one of its own where nobody announced it."""
    return current.get() or Served(scope)
