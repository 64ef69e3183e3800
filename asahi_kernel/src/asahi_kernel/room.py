"""Room: how much the caches of one org may hold in this process, over all tiers together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from asahi_kernel.asking import note_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from asahi_kernel.gateway import Gateway

_GB = 1_000_000_000
_SAID = "cache.max_size_gb"


@runtime_checkable
class SheddingTier(Protocol):
    """A tier that knows an org's bytes in this process, how many seconds its least recently used entry was not used
    (None without any), and forgets that entry when it is told to."""

    def weighed(self, org: str) -> int: ...
    def idle(self, org: str) -> float | None: ...
    async def shed(self, org: str) -> None: ...


@runtime_checkable
class TrimmingTier(Protocol):
    """A tier that keeps entries on a server: `trim` lets the org's least recently used go there until it is within its
    bound, and says how many went. Asked when the bound has changed."""

    async def trim(self, org: str) -> int: ...


class Room:
    """`bound` gives the bytes of an org. Tiers join when they open, and ask for room after each entry they took."""

    def __init__(self, bound: Callable[[str], float]) -> None:
        self._bound = bound
        self._tiers: list[SheddingTier] = []

    def join(self, tier: SheddingTier) -> None:
        """From now on its entries count."""
        self._tiers.append(tier)

    def leave(self, tier: SheddingTier) -> None:
        """From now on they do not."""
        self._tiers.remove(tier)

    async def make(self, org: str) -> None:
        """Let the least recently used entries go, of whichever tier, until the org is within its bound."""
        bound = self._bound(org)
        while sum(tier.weighed(org) for tier in self._tiers) > bound:
            idle = [(age, number) for number, tier in enumerate(self._tiers) if (age := tier.idle(org)) is not None]
            if not idle:
                return
            await self._tiers[max(idle)[1]].shed(org)


def bound_of(gateway: Gateway) -> Callable[[str], float]:
    """The bytes that an org's caches may have in one place: as the file says in `cache.max_size_gb`, or less where the
    org does in its own settings."""
    most = gateway.settings.cache.max_size_gb * _GB

    def bound(org: str) -> float:
        standing = gateway.standings.known(org)
        return min(most, standing.preferences.cache.max_size_gb * _GB) if _SAID in standing.said else most

    return bound


async def fit(gateway: Gateway, org: str) -> None:
    """Have the org's bound kept everywhere, now that it is another. A tier that fails keeps it with its next entry."""
    await gateway.room.make(org)
    for name, tier in gateway.tiers.items():
        if isinstance(tier, TrimmingTier):
            try:
                await tier.trim(org)
            except Exception:  # noqa: BLE001 - fails open
                note_fault(gateway, "cache", name)


def room_of(gateway: Gateway) -> Room:
    """The room of this process: each of the workers has its part."""
    workers, whole = max(1, gateway.settings.api.workers), bound_of(gateway)
    return Room(lambda org: whole(org) / workers)
