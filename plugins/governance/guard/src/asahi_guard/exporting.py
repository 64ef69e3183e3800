"""`/governance/data-export`: all that is stored of a user, one JSON object a line, as it is read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, get
from litestar.params import FromQuery
from litestar.response import Stream

from asahi_guard.desk import governing, org_of
from asahi_kernel import words
from asahi_kernel.api.access import actor_of
from asahi_kernel.auditing import entry_of
from asahi_kernel.errors import Invalid
from asahi_kernel.records import EventQuery
from asahi_kernel.repositories.audit import AuditQuery
from asahi_kernel.repositories.work import BODIES
from asahi_kernel.tiers import ListingTier

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway

_PAGE = 500
_JSONL = "application/x-ndjson"
#: What proves or opens something, and tells a person nothing about themselves.
_SECRET = frozenset({"key_hash", "pepper_version", "login_hash", "actor_salt", "resource_salt"})
_encode = msgspec.json.Encoder().encode


def export_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    """The handler."""

    @get(
        "/governance/data-export",
        opt={"permission": "manage_users", "confirm": True},
        tags=["privacy"],
        media_type=_JSONL,
    )
    async def export(
        request: Request[Any, Any, Any], user_id: FromQuery[str] = "", org_id: FromQuery[str | None] = None
    ) -> Stream:
        """Everything of a user, in lines that each say their `kind`: api_keys, logins, feedback, quality_observations,
        event_bodies, jobs, budgets, events, decisions, audit_entries, cache_entries. Nothing is sent unless it is in
        the audit log. The words of another org's user, which only that org may read, are withheld and said to be."""
        if not 1 <= len(user_id) <= 255:
            raise Invalid("user_id is required, of 1 to 255 characters", param="user_id")
        org = org_of(gateway, request, org_id)
        governing(gateway)
        await gateway.journal.catch_up()
        if gateway.scribe is not None:
            await gateway.scribe.flush()
        by = actor_of(request)
        noted = entry_of(by, "data_export", "data-export", {"of": user_id}, org=org, classification="restricted")
        await gateway.audit.record(noted)
        headers = {"content-disposition": 'attachment; filename="data.jsonl"'}
        return Stream(_lines(gateway, org, user_id, own=by.org == org), media_type=_JSONL, headers=headers)

    return [export]


async def _lines(gateway: Gateway, org: str, user: str, *, own: bool) -> AsyncIterator[bytes]:
    async for kind, value in _found(gateway, org, user):
        if kind == BODIES.table:
            value = _words(value) if own else _withheld(value)
        told = {name: _readable(each) for name, each in value.items() if name not in _SECRET}
        yield _encode({"kind": kind, "data": told}) + b"\n"


async def _found(gateway: Gateway, org: str, user: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    storage = governing(gateway)
    async for table, row in storage.repositories.subjects.kept_of(org, user):
        yield table, msgspec.structs.asdict(row)
    for budget in await storage.budgets.of_org(org):
        if budget.level == "user" and budget.subject == user:
            yield "budgets", msgspec.structs.asdict(budget)
    before: str | None = None
    while page := await gateway.storage.events.newest(org, EventQuery(user_id=user, before=before, limit=_PAGE)):
        for event in page:
            yield "events", msgspec.structs.asdict(event)
            if (decision := await gateway.storage.decisions.find(org, event.request_id)) is not None:
                yield "decisions", msgspec.structs.asdict(decision)
        before = page[-1].request_id
    place: int | None = None
    audit = storage.repositories.audit
    while entries := await audit.query(org, AuditQuery(user_id=user, before=place, limit=_PAGE)):
        for entry in entries:
            yield "audit_entries", msgspec.structs.asdict(entry)
        place = entries[-1].seq
    for tier in gateway.tiers.values():
        if isinstance(tier, ListingTier):
            async for row in tier.rows(org):
                if row.user == user:
                    yield "cache_entries", msgspec.structs.asdict(row)


def _words(body: dict[str, Any]) -> dict[str, Any]:
    said = {name: msgspec.to_builtins(words.read(body[name])) for name in ("request", "response")}
    return {**body, **said}


def _withheld(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "request": None, "response": None, "withheld": "only the organisation itself may read its words"}


def _readable(value: Any) -> Any:
    """Sealed texts are bytes once they are opened."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
