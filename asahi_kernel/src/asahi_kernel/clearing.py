"""Managing the caches of one org: clear, expire, forget one entry, walk through what is there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from asahi_kernel.asking import note_fault
from asahi_kernel.errors import Unavailable
from asahi_kernel.protocols import EvictingTier
from asahi_kernel.tiers import CacheRow, ListingTier

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import CacheTier

_NUMBERS = {"exact": 1, "semantic": 2, "intermediate": 3}


def chosen(gateway: Gateway, tier: int | None) -> Iterator[tuple[str, int, CacheTier]]:
    """Name, number and tier of those that answer as this number, or of all. A tier that does not say is known by its
    name, or by its place."""
    for place, (name, each) in enumerate(gateway.tiers.items(), 1):
        number = each.tier if isinstance(each, ListingTier) else _NUMBERS.get(name, min(place, 3))
        if tier in {None, number}:
            yield name, number, each


async def clear(
    gateway: Gateway, org: str, tier: int | None = None, user: str | None = None, document_id: str | None = None
) -> Mapping[int, int]:
    """How many entries of which tier are gone: all of the org's, or those of a user or a document. A tier that cannot
    tell whose its entries are gives up all of them.

    From then on no answer is kept here to a question that was asked before. Raises `Unavailable` when a tier fails,
    after the others were cleared.
    """
    gateway.cleared[org] = perf_counter()
    cleared = dict.fromkeys((1, 2, 3), 0)
    failed = []
    for name, number, each in chosen(gateway, tier):
        try:
            if (user or document_id) and isinstance(each, ListingTier):
                cleared[number] += await _clear_some(each, org, user, document_id)
            else:
                cleared[number] += await each.clear(org)
        except Exception:  # noqa: BLE001 - the others are cleared all the same
            note_fault(gateway, "cache", name)
            failed.append(name)
    if failed:
        told = {"cleared": sum(cleared.values()), "failed": failed}
        raise Unavailable(f"{', '.join(failed)}: this cache could not be cleared", retry_after=5, details=told)
    return cleared


async def expire(gateway: Gateway, org: str, tier: int | None = None) -> Mapping[int, int]:
    """Remove what has expired; how many entries of which tier. A tier that cannot list sees to that by itself."""
    gone = dict.fromkeys((1, 2, 3), 0)
    for _, number, each in chosen(gateway, tier):
        if isinstance(each, ListingTier):
            gone[number] += await each.sweep(org)
    return gone


async def forget(gateway: Gateway, org: str, entry_id: str) -> bool:
    """Whether the org had this entry, in any tier."""
    found = False
    for each in gateway.tiers.values():
        if isinstance(each, EvictingTier):
            found |= await each.evict(org, entry_id)
    return found


async def rows(gateway: Gateway, org: str, tier: int | None = None) -> AsyncIterator[CacheRow]:
    """All that can be shown, tier by tier, newest first."""
    for _, _, each in chosen(gateway, tier):
        if isinstance(each, ListingTier):
            async for row in each.rows(org):
                yield row


async def _clear_some(tier: ListingTier, org: str, user: str | None, document_id: str | None) -> int:
    gone = 0
    async for row in tier.rows(org):
        wanted = (user is None or row.user == user) and (document_id is None or row.document_id == document_id)
        gone += wanted and await tier.evict(org, row.entry_id)
    return gone


def counted(by_tier: Mapping[int, int]) -> dict[str, Any]:
    """How many went, as it is told."""
    counts = {f"t{number}": count for number, count in by_tier.items()}
    return {"cleared": {**counts, "total": sum(by_tier.values())}}
