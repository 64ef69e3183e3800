"""What storage is asked while a client waits: within a bound, and a dead storage is told as one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

from asahi_kernel.errors import AsahiError, Unavailable

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

log = logging.getLogger(__name__)
T = TypeVar("T")

_PATIENCE_S = 5.0


async def stored(gateway: Gateway, work: Awaitable[T]) -> T:
    """What storage gives; raises `Unavailable` (503 `storage_unavailable`) when it fails or takes longer than 5 s."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await work
    except AsahiError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the client is told the same
        gateway.faults["storage"] += 1
        log.warning("storage failed a request (%s)", type(error).__name__)
        raise Unavailable("storage cannot be reached", code="storage_unavailable", retry_after=5) from None
