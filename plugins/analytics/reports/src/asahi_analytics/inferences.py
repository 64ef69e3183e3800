"""`recent-inferences`: past requests, newest first, in pages."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from asahi_kernel.errors import Invalid
from asahi_kernel.identity import is_id
from asahi_kernel.money import dollars
from asahi_kernel.records import Event, EventQuery, Status
from asahi_kernel.reports import Scope, Told

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Recent(Struct, frozen=True, kw_only=True):
    """Which requests; `cursor` is where the page before ended."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    cursor: str | None = None
    model: str | None = None
    user_id: str | None = None
    key_id: str | None = None
    workflow_id: str | None = None
    status: Status | None = None
    tier: Annotated[int, Meta(ge=0, le=3)] | None = None


async def recent_inferences(gateway: Gateway, scope: Scope, asked: Recent) -> Told:
    """Past requests of one org without prompts and answers, the newest first. Money is null without view_cost."""
    query = EventQuery(
        model=asked.model,
        user_id=asked.user_id,
        key_id=asked.key_id,
        workflow_id=asked.workflow_id,
        status=asked.status,
        tier=asked.tier,
        before=_place(gateway, scope.org, asked.cursor) if asked.cursor else None,
        limit=asked.limit + 1,
    )
    found = await gateway.storage.events.newest(scope.org, query)
    page = found[: asked.limit]
    rows = [row(event, scope) for event in page]
    more = _cursor(gateway, scope.org, page[-1].request_id) if len(found) > asked.limit else None
    data = {"inferences": rows, "count": len(rows), "next_cursor": more}
    start = page[-1].timestamp if page else _EPOCH
    return Told(data=data, start=start, end=page[0].timestamp if page else datetime.now(UTC), table=rows)


def row(event: Event, scope: Scope) -> dict[str, Any]:
    """One request as its org's readers may see it."""
    return {
        "request_id": event.request_id,
        "timestamp": event.timestamp,
        "route": event.route,
        "model_requested": event.model_requested,
        "model_used": event.model_selected,
        "task_type": event.task_type,
        "cost": dollars(event.cost) if scope.money else None,
        "baseline_cost": dollars(event.baseline_cost) if scope.money else None,
        "saved": dollars(event.saved) if scope.money else None,
        "cache_hit": event.cache_hit,
        "cache_tier": event.cache_tier,
        "latency_ms": event.latency_ms,
        "quality_score": event.quality_score,
        "routing_reason": event.routing_reason,
        "input_tokens": event.input_tokens,
        "output_tokens": event.output_tokens,
        "status": event.status,
        "error": event.error,
        "user_id": event.user_id,
        "key_id": event.key_id,
    }


def _cursor(gateway: Gateway, org: str, request_id: str) -> str:
    return base64.urlsafe_b64encode(request_id.encode() + _mark(gateway, org, request_id)).decode()


def _place(gateway: Gateway, org: str, cursor: str) -> str:
    """Where the page before ended; a cursor that was not given to this org is refused."""
    try:
        raw = base64.b64decode(cursor, altchars=b"-_", validate=True)
        request_id = raw[:26].decode("ascii")
    except ValueError:
        request_id, raw = "", b""
    if not is_id(request_id) or not hmac.compare_digest(raw[26:], _mark(gateway, org, request_id)):
        raise Invalid("this is no cursor of a page before", param="cursor")
    return request_id


def _mark(gateway: Gateway, org: str, request_id: str) -> bytes:
    key = gateway.vault.derive("cursors")
    return hmac.new(key, f"{org}\0{request_id}".encode(), hashlib.sha256).digest()[:16]
