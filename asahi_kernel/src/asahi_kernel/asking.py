"""Asking a plugin: within its time, of its type, and with its failures counted."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from asahi_kernel.errors import PluginError

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

log = logging.getLogger(__name__)
T = TypeVar("T")
_NO_CLOCK: AbstractAsyncContextManager[object] = nullcontext()


async def bounded(gateway: Gateway, who: str, work: Awaitable[T], expected: type[T]) -> T:
    """What a plugin gives, within its time and of its type; `PluginError` otherwise."""
    limit_ms = gateway.settings.api.plugin_timeout_ms
    try:
        async with asyncio.timeout(limit_ms / 1e3):
            result = await work
    except TimeoutError:
        raise PluginError(f"{who} took longer than {limit_ms} ms") from None
    return sound(who, result, expected)


def sound(who: str, result: object, expected: type[T]) -> T:
    """What a plugin gave, if it is of its type; `PluginError` otherwise."""
    if not isinstance(result, expected):
        raise PluginError(f"{who} gave a {type(result).__name__}, not a {expected.__name__}")
    return result


def note_fault(gateway: Gateway, kind: str, name: str) -> None:
    """Count and log a plugin's failure: its type and place, since its text may quote a prompt."""
    gateway.faults[f"{kind}.{name}"] += 1
    error = sys.exc_info()[1]
    where = traceback.extract_tb(error.__traceback__)[-1] if error is not None else None
    place = f"{where.filename}:{where.lineno}" if where else "?"
    log.warning("%s %s failed: %s at %s", kind, name, type(error).__name__, place)


def clocked(gateway: Gateway, tier: str) -> AbstractAsyncContextManager[object]:
    """The time that a tier may take; one in this process cannot wait, and a guarded one has a clock of its own."""
    if tier not in gateway.waiting_tiers or tier in gateway.guarded_tiers:
        return _NO_CLOCK
    return asyncio.timeout(gateway.settings.cache.timeout_ms / 1e3)
