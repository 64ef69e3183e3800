"""Channels: the ways in which an org is told of its alerts beside the page and the log, and whether they work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

_PLACE = "channels"


class Channel(Protocol):
    """A way that the operator has configured; a service names it while it is open."""

    async def test(self, org: str) -> str:
        """Send a test message of an org; empty when it was taken, else why not, in words without a host or a secret.
        Bounded in time, and tried once."""


def channels(gateway: Gateway) -> dict[str, Channel]:
    """Those that are open in this process, by name."""
    found: dict[str, Channel] = gateway.shared.setdefault(_PLACE, {})
    return found
