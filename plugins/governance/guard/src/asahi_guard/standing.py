"""What holds for an org, within the time that a request has to spare."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asahi_kernel.errors import Unavailable

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.standing import Standing

_PATIENCE_S = 1.5


async def standing_of(gateway: Gateway, org: str) -> Standing:
    """Raises `Unavailable` (503) when storage does not say in time and nothing is known of the org."""
    if (standing := gateway.standings.fresh(org)) is not None:
        return standing
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await gateway.standings.of(org)
    except TimeoutError:
        raise Unavailable(
            "what holds for this organisation cannot be looked up", code="storage_unavailable", retry_after=5
        ) from None
