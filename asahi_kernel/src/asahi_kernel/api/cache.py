"""`/cache/…`: an org's own entries. Every route works on the org of the key, and there is no way to name another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import msgspec
from litestar import Request, delete, get
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from asahi_kernel import clearing, listing
from asahi_kernel.api.access import actor_of, principal_of
from asahi_kernel.api.stored import stored
from asahi_kernel.auditing import Classification, entry_of
from asahi_kernel.errors import Invalid, NotFound

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.tiers import CacheRow
    from asahi_kernel.types import Principal

_MOST = 500
_PIECE = 64 << 10
_encode = msgspec.json.Encoder().encode


def cache_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    return [*_changing(gateway), *_telling(gateway)]


def _changing(gateway: Gateway) -> list[HTTPRouteHandler]:
    @delete("/cache/clear", opt={"permission": "manage_policy"}, tags=["cache"], status_code=200)
    async def clear(
        request: Request[Any, Any, Any],
        tier: FromQuery[str | None] = None,
        user_id: FromQuery[str | None] = None,
        document_id: FromQuery[str | None] = None,
    ) -> dict[str, Any]:
        """Remove every entry of the org, or those of one tier, of what one user asked, or of one document."""
        principal, number = principal_of(request), _tier(tier)
        told = {"tier": number, "user_id": user_id, "document_id": document_id}
        await note(gateway, request, "cache_clear", "cache", told)
        return clearing.counted(await clearing.clear(gateway, principal.org, number, user_id, document_id))

    @delete("/cache/expired", opt={"permission": "manage_policy"}, tags=["cache"], status_code=200)
    async def expired(request: Request[Any, Any, Any], tier: FromQuery[str | None] = None) -> dict[str, Any]:
        """Remove what has expired; what still lives stays."""
        principal, number = principal_of(request), _tier(tier)
        await note(gateway, request, "cache_expired", "cache", {"tier": number})
        return clearing.counted(await clearing.expire(gateway, principal.org, number))

    @delete("/cache/entries/{entry_id:str}", opt={"permission": "manage_policy"}, tags=["cache"], status_code=204)
    async def forget(request: Request[Any, Any, Any], entry_id: FromPath[str]) -> None:
        """Remove one entry. Another org's answers 404, the same as an unknown one."""
        principal = principal_of(request)
        if len(entry_id) > 128:
            raise NotFound("there is no such entry")
        await note(gateway, request, "cache_entry_delete", f"cache/{entry_id}", {})
        if not await clearing.forget(gateway, principal.org, entry_id):
            raise NotFound("there is no such entry")

    return [clear, expired, forget]


def _telling(gateway: Gateway) -> list[HTTPRouteHandler]:
    @get("/cache/stats", opt={"permission": "view_metrics"}, tags=["cache"])
    async def stats(request: Request[Any, Any, Any], wrong: FromQuery[bool] = False) -> dict[str, Any]:
        """Hits, misses, entries, bytes and money saved of each tier; with `wrong` the requests, newest first, that got
        a stored answer which was found to be wrong later. Money is null without view_cost."""
        principal = principal_of(request)
        await gateway.journal.catch_up()
        totals = await stored(gateway, gateway.storage.events.totals(principal.org, None))
        told = await listing.summary(gateway, principal.org, totals, money="view_cost" in principal.permissions)
        return told | {"wrong": await stored(gateway, listing.wronged(gateway, principal.org))} if wrong else told

    @get("/cache/entries", opt={"permission": "manage_policy"}, tags=["cache"])
    async def entries(
        request: Request[Any, Any, Any],
        tier: FromQuery[str | None] = None,
        q: FromQuery[str] = "",
        sort: FromQuery[str] = "created_at",
        limit: FromQuery[str] = "50",
        cursor: FromQuery[str | None] = None,
    ) -> dict[str, Any]:
        """A page of entries without their answers, the newest, most hit or largest first."""
        principal = principal_of(request)
        view = await stored(gateway, _view(gateway, principal))
        if q and not view.prompts:
            raise Invalid("this org's prompts are not shown, so none can be searched for", param="q")
        place = listing.place_of(cursor) if cursor else None
        found, more = await listing.page(gateway, principal.org, _tier(tier), q, _sort(sort), _limit(limit), place)
        rows = [listing.show(gateway, row, view) for row in found]
        return {"entries": rows, "next_cursor": listing.cursor(more)}

    @get("/cache/export", opt={"permission": "manage_policy"}, tags=["cache"])
    async def export(
        request: Request[Any, Any, Any], tier: FromQuery[str | None] = None, format: FromQuery[str] = "json"
    ) -> Stream:
        """Every entry with its answer, streamed: one JSON object, or one object a line."""
        if format not in {"json", "jsonl"}:
            raise Invalid("format must be json or jsonl", param="format")
        principal, number = principal_of(request), _tier(tier)
        view = await stored(gateway, _view(gateway, principal, response=True))
        await note(gateway, request, "cache_export", "cache", {"tier": number}, "confidential")
        rows = clearing.rows(gateway, principal.org, number)
        first = await anext(rows, None)
        kind = "application/json" if format == "json" else "application/x-ndjson"
        told = written(gateway, principal.org, view, first, rows, lines=format == "jsonl")
        return Stream(told, media_type=kind, headers={"content-disposition": f'attachment; filename="cache.{format}"'})

    return [stats, entries, export]


async def note(
    gateway: Gateway,
    request: Request[Any, Any, Any],
    action: str,
    resource: str,
    details: Mapping[str, Any],
    classification: Classification = "internal",
) -> None:
    """Record who is about to do what. Raises `Unavailable` when the log cannot take it: then nothing is done."""
    said = {name: value for name, value in details.items() if value is not None}
    await gateway.audit.record(entry_of(actor_of(request), action, resource, said, classification=classification))


async def written(
    gateway: Gateway,
    org: str,
    view: listing.View,
    first: CacheRow | None,
    rows: AsyncIterator[CacheRow],
    *,
    lines: bool,
) -> AsyncIterator[bytes]:
    """An export in pieces. `first` was read before, so that a cache that cannot be read is an error and no answer."""
    head = b'{"exported_at":%b,"org_id":%b,"entries":[' % (_encode(datetime.now(UTC)), _encode(org))
    piece = bytearray(b"" if lines else head)
    row, number = first, 0
    while row is not None:
        piece += b"" if lines or not number else b","
        piece += _encode(listing.show(gateway, row, view)) + (b"\n" if lines else b"")
        number += 1
        if len(piece) > _PIECE:
            yield bytes(piece)
            piece.clear()
        row = await anext(rows, None)
    yield bytes(piece) + (b"" if lines else b"]}")


async def _view(gateway: Gateway, principal: Principal, *, response: bool = False) -> listing.View:
    money = "view_cost" in principal.permissions
    return await listing.view_of(gateway, principal.org, money=money, response=response)


def _tier(text: str | None) -> int | None:
    if text is None:
        return None
    if text not in {"1", "2", "3"}:
        raise Invalid("tier must be 1, 2 or 3", param="tier")
    return int(text)


def _sort(text: str) -> listing.Sort:
    for known in get_args(listing.Sort):
        if text == known:
            return known  # type: ignore[no-any-return]
    raise Invalid(f"sort must be one of: {', '.join(get_args(listing.Sort))}", param="sort")


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= _MOST or len(text) > 6:
        raise Invalid(f"limit must be a number from 1 to {_MOST}", param="limit")
    return int(text)
