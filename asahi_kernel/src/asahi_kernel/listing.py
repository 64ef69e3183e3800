"""Pages of cache entries, and how an entry is shown to its org."""

from __future__ import annotations

import base64
import heapq
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from asahi_kernel import clock
from asahi_kernel.asking import note_fault
from asahi_kernel.choice import TECHNIQUES
from asahi_kernel.clearing import chosen
from asahi_kernel.errors import Invalid
from asahi_kernel.money import dollars
from asahi_kernel.records import Event, EventQuery
from asahi_kernel.repositories import Governing
from asahi_kernel.room import bound_of
from asahi_kernel.tiers import CacheRow, ListingTier, TierStats

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.records import Totals

_PAGE, _PAGES = 500, 20
Sort: TypeAlias = Literal["created_at", "hits", "size"]


class Place(Struct, frozen=True, array_like=True):
    """Where a page ended."""

    rank: float
    entry_id: str


class View(Struct, frozen=True, kw_only=True):
    """What of an entry its reader may see."""

    prompts: bool
    money: bool
    response: bool = False


async def view_of(gateway: Gateway, org: str, *, money: bool, response: bool = False) -> View:
    """Prompts and answers are shown unless the org's compliance profile forbids that they are stored."""
    allowed = True
    if isinstance(gateway.storage, Governing):
        profile = await gateway.storage.repositories.compliance.get(org)
        allowed = profile is None or profile.prompt_storage_allowed
    return View(prompts=allowed, money=money, response=response and allowed)


async def page(
    gateway: Gateway, org: str, tier: int | None, beginning: str, sort: Sort, limit: int, after: Place | None
) -> tuple[list[CacheRow], Place | None]:
    """The highest first, and where to go on. Sorted by time it stops at the page's end; else it looks at every entry,
    in bounded memory."""
    best: list[tuple[Place, CacheRow]] = []
    by_time = sort == "created_at"
    for _, _, each in chosen(gateway, tier):
        if not isinstance(each, ListingTier):
            continue
        found = 0
        async for row in each.rows(org, after.entry_id if after and by_time else None):
            place = Place(_rank(row, sort), row.entry_id)
            if not row.query.startswith(beginning) or (after is not None and _key(place) >= _key(after)):
                continue
            found += 1
            best.append((place, row))
            if len(best) > 4 * limit + 4:
                best = _highest(best, limit + 1)
            if by_time and found > limit:
                break
    best = _highest(best, limit + 1)
    return [row for _, row in best[:limit]], best[limit - 1][0] if len(best) > limit else None


def cursor(place: Place | None) -> str | None:
    """As text for the caller to give back."""
    return None if place is None else base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()


def place_of(text: str) -> Place:
    """The other way round; raises `Invalid`."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=Place)
    except (ValueError, msgspec.DecodeError):
        raise Invalid("this is no cursor of a page before", param="cursor") from None


def show(gateway: Gateway, row: CacheRow, view: View) -> dict[str, Any]:
    """One entry as JSON-ready data. What its hits saved is its usage at today's prices, null when those are unknown."""
    told: dict[str, Any] = {
        "tier": row.tier,
        "key": row.key,
        "entry_id": row.entry_id,
        "model": row.completion.model,
        "size_bytes": row.size_bytes,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "hits": row.hits,
        "cost_saved": dollars(_worth(gateway, row)) if view.money else None,
    }
    if row.expires_at is not None:
        told["ttl_left_s"] = max(0.0, round((row.expires_at - clock.now()).total_seconds(), 3))
    if view.prompts:
        told["query"] = row.query
    if view.response:
        told["response"] = row.completion.text
    return told


async def summary(gateway: Gateway, org: str, totals: Totals, *, money: bool) -> dict[str, Any]:
    """Hits, misses and money of all time from the books, entries and bytes from the tiers as they are now. A tier that
    fails has null for both."""
    hits = [totals.hits_by_tier.get(number, 0) for number in (1, 2, 3)]
    told: dict[str, Any] = {}
    backends: dict[str, str] = {}
    used: int | None = 0
    for name, number, each in chosen(gateway, None):
        stats = await _stats(gateway, name, each, org)
        misses = totals.misses + sum(hits[number:])
        asked = hits[number - 1] + misses
        told[f"t{number}"] = {
            "hits": hits[number - 1],
            "misses": misses,
            "hit_rate": hits[number - 1] / asked if asked else 0.0,
            "entries": stats.entries if stats else None,
            "bytes": stats.bytes if stats else None,
            "cost_saved": dollars(totals.saved_by.get(TECHNIQUES[number], 0)) if money else None,
            **(stats.more if stats else {}),
        }
        backends[f"t{number}"] = stats.backend if stats else name
        used = None if used is None or stats is None else used + stats.bytes
    everything = sum(hits) + totals.misses
    bound = int(bound_of(gateway)(org))
    here = set(backends.values()) == {"memory"}
    return told | {
        "overall_hit_rate": sum(hits) / everything if everything else 0.0,
        "storage_bytes": used,
        "storage_limit_bytes": min(bound, gateway.settings.cache.max_bytes) if here else bound,
        "backend": backends,
    }


async def wronged(gateway: Gateway, org: str) -> list[dict[str, Any]]:
    """The requests that were served an entry which a recheck or a person has found to be wrong: of the last 10,000
    semantic hits, newest first."""
    if not isinstance(gateway.storage, Governing):
        return []
    labels = await gateway.storage.repositories.labels.of_org(org)
    wrong = {label.entry_id: label.source for label in labels if not label.correct}
    found: list[dict[str, Any]] = []
    query = EventQuery(tier=2, limit=_PAGE)
    for _ in range(_PAGES if wrong else 0):
        page = await gateway.storage.events.newest(org, query)
        found += [_wronged(event, wrong[event.cache_entry_id]) for event in page if event.cache_entry_id in wrong]
        if len(page) < _PAGE:
            break
        query = EventQuery(tier=2, limit=_PAGE, before=page[-1].request_id)
    return found


def _wronged(event: Event, source: str) -> dict[str, Any]:
    return {
        "request_id": event.request_id,
        "timestamp": event.timestamp,
        "user_id": event.user_id,
        "task_type": event.task_type,
        "entry_id": event.cache_entry_id,
        "similarity": event.cache_similarity,
        "found_by": source,
    }


async def _stats(gateway: Gateway, name: str, tier: object, org: str) -> TierStats | None:
    try:
        return await tier.stats(org) if isinstance(tier, ListingTier) else None
    except Exception:  # noqa: BLE001 - the others are told all the same
        note_fault(gateway, "cache", name)
        return None


def _worth(gateway: Gateway, row: CacheRow) -> int | None:
    model = gateway.registry.by_name.get(row.completion.model)
    if model is None or model.prices is None or row.completion.usage is None:
        return None
    return row.hits * model.prices.cost(row.completion.usage)


def _rank(row: CacheRow, sort: Sort) -> float:
    return 0 if sort == "created_at" else row.hits if sort == "hits" else row.size_bytes


def _key(place: Place) -> tuple[float, str]:
    return place.rank, place.entry_id


def _highest(rows: list[tuple[Place, CacheRow]], count: int) -> list[tuple[Place, CacheRow]]:
    return heapq.nlargest(count, rows, key=lambda each: _key(each[0]))
