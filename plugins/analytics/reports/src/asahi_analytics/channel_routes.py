"""`POST /alerts/channels/test`: whether an org would hear of its alerts."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from litestar import Request, post
from msgspec import Struct

from asahi_kernel.api.access import actor_of
from asahi_kernel.api.stored import stored
from asahi_kernel.auditing import entry_of
from asahi_kernel.channels import Channel, channels
from asahi_kernel.errors import Exhausted

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway

log = logging.getLogger("asahi.alerts")

#: Tests of an org within an hour.
MOST, _HOUR_S = 5, 3_600
_PATIENCE_S = 30.0


class Tried(Struct, frozen=True, kw_only=True):
    """What became of the test message on one channel. `reason` is null where it was delivered."""

    channel: str
    delivered: bool
    reason: str | None


class Tests(Struct, frozen=True, kw_only=True):
    """One row for each channel that the operator has configured; none where alerts are on the page and in the log
    alone."""

    channels: tuple[Tried, ...]


def channel_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    """The handler."""

    @post("/alerts/channels/test", opt={"permission": "manage_policy"}, tags=["alerts"], status_code=200)
    async def tested(request: Request[Any, Any, Any]) -> Tests:
        """Send one test message by each channel, five times an hour at most. Mail goes to the `alert_emails` of the
        settings, and nowhere else."""
        actor = actor_of(request)
        allowed = await stored(gateway, gateway.counter.take(actor.org, "channel tests", 1, MOST, _HOUR_S))
        if not allowed.granted:
            raise Exhausted(
                f"channels are tested at most {MOST} times an hour",
                retry_after=max(1.0, allowed.retry_after or _HOUR_S),
            )
        await gateway.audit.record(entry_of(actor, "alert_channel_test", f"alert_channels/{actor.org}"))
        found = sorted(channels(gateway).items())
        told = await asyncio.gather(*(_tried(gateway, each, actor.org) for _, each in found))
        rows = [
            Tried(channel=name, delivered=not why, reason=why or None)
            for (name, _), why in zip(found, told, strict=True)
        ]
        return Tests(channels=tuple(rows))

    return [tested]


async def _tried(gateway: Gateway, channel: Channel, org: str) -> str:
    """What a channel raises may name its host, so it is told in our words."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await channel.test(org)
    except Exception as error:  # noqa: BLE001 - one that fails keeps no other from being tried
        gateway.faults["alerts.test"] += 1
        log.warning("a channel could not be tested (%s)", type(error).__name__)
        return "it could not be tried"
