"""`/governance/audit…`: an org reads its own log. Reading and exporting it is an entry of it, or does not happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from litestar import Request, get
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream
from msgspec import Struct, structs

from asahi_audit.asking import cursor as cursor_at
from asahi_audit.asking import limit_of, org_of, place_of, query_of
from asahi_audit.checkpoints import LOG, path_of, read_file
from asahi_audit.exporting import written
from asahi_audit.verifying import WHOLE, Verification, disorder
from asahi_kernel.api.access import actor_of, principal_of
from asahi_kernel.api.stored import stored
from asahi_kernel.auditing import entry_of
from asahi_kernel.errors import Invalid, Unavailable
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.audit import AuditEntry, AuditQuery, Checkpoint
from asahi_kernel.signing import signing_key

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.audit import Audit

From = Annotated[str | None, QueryParameter(name="from", required=False)]
To = Annotated[str | None, QueryParameter(name="to", required=False)]
_PAGE = 500
_CHECKPOINTS = 100
#: How long a verification may take before whoever asked is told to use the command instead.
_VERIFY_S = 60.0


class Page(Struct, frozen=True, kw_only=True):
    """Entries, newest first."""

    org_id: str
    count: int
    entries: tuple[AuditEntry, ...]
    next_cursor: str | None


class Covered(Struct, frozen=True, kw_only=True):
    """The largest signed size."""

    size: int
    root: str
    signed_at: datetime


class Verdict(Struct, frozen=True, kw_only=True):
    """Whether the org's chain, and the tree that it is part of, are what was written and signed."""

    org_id: str
    entries: int
    ok: bool
    first_bad_seq: int | None
    message: str | None
    checkpoint: Covered | None


class Signed(Struct, frozen=True, kw_only=True):
    """Checkpoints, largest first, and the key that signs them here. `file` is where they are kept beside storage."""

    public_key: str | None
    key_id: str | None
    checkpoints: tuple[Checkpoint, ...]


def audit_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    """The handlers."""
    return [*_reading(gateway), *_proving(gateway)]


def _reading(gateway: Gateway) -> list[HTTPRouteHandler]:
    @get("/governance/audit", opt={"permission": "view_audit_log"}, tags=["audit"])
    async def listed(
        request: Request[Any, Any, Any],
        start: From = None,
        end: To = None,
        org_id: FromQuery[str | None] = None,
        action: FromQuery[str | None] = None,
        user_id: FromQuery[str | None] = None,
        result: FromQuery[str | None] = None,
        limit: FromQuery[str] = "100",
        cursor: FromQuery[str | None] = None,
    ) -> Page:
        """Entries of the org that match, newest first."""
        org, query = _org(gateway, request, org_id), query_of(action, user_id, result, start, end)
        key, most = gateway.vault.derive("audit cursors"), limit_of(limit)
        before = place_of(key, org, cursor) if cursor is not None else None
        if before is None:
            await _note(gateway, request, "audit_view", org, query, {})
        found = await stored(gateway, _audit(gateway).query(org, _past(query, before, most + 1)))
        page = tuple(found[:most])
        after = cursor_at(key, org, page[-1].seq) if len(found) > most else None
        return Page(org_id=org, count=len(page), entries=page, next_cursor=after)

    @get("/governance/audit/export", opt={"permission": "view_audit_log"}, tags=["audit"])
    async def export(
        request: Request[Any, Any, Any],
        start: From = None,
        end: To = None,
        org_id: FromQuery[str | None] = None,
        action: FromQuery[str | None] = None,
        user_id: FromQuery[str | None] = None,
        result: FromQuery[str | None] = None,
        format: FromQuery[str] = "json",
    ) -> Stream:
        """All entries that match, newest first, streamed."""
        if format not in {"json", "csv"}:
            raise Invalid("format must be json or csv", param="format")
        org, query = _org(gateway, request, org_id), query_of(action, user_id, result, start, end)
        await _note(gateway, request, "audit_export", org, query, {"format": format})
        first = await stored(gateway, _audit(gateway).query(org, _past(query, None, _PAGE)))
        told = written(org, _all(_audit(gateway), org, query, first), "csv" if format == "csv" else "json")
        kind = "text/csv; charset=utf-8" if format == "csv" else "application/json"
        return Stream(told, media_type=kind, headers={"content-disposition": f'attachment; filename="audit.{format}"'})

    return [listed, export]


def _proving(gateway: Gateway) -> list[HTTPRouteHandler]:
    verifying = asyncio.Lock()

    @get("/governance/audit/verify", opt={"permission": "view_audit_log"}, tags=["audit"])
    async def verify(request: Request[Any, Any, Any], org_id: FromQuery[str | None] = None) -> Verdict:
        """Recompute the org's chain and the tree over all entries, and hold the tree against what was signed."""
        org = _org(gateway, request, org_id)
        try:
            async with asyncio.timeout(_VERIFY_S), verifying:
                return await _verdict(gateway, org)
        except TimeoutError:
            raise Unavailable("the log is too long to verify here: use `asahi audit verify`") from None

    @get("/governance/audit/checkpoints", opt={"permission": "view_audit_log"}, tags=["audit"])
    async def checkpoints(request: Request[Any, Any, Any], limit: FromQuery[str] = "100") -> Signed:
        """The signed sizes and roots of the log. They tell nothing of any org."""
        found = await stored(gateway, _audit(gateway).checkpoints(LOG, limit_of(limit)))
        key = None if gateway.storage.name == "memory" else signing_key(gateway.settings)
        return Signed(
            public_key=key.public.hex() if key else None, key_id=key.key_id if key else None, checkpoints=tuple(found)
        )

    return [verify, checkpoints]


async def _verdict(gateway: Gateway, org: str) -> Verdict:
    audit = _audit(gateway)
    if gateway.storage.name == "memory":
        signed, public = [], b""
    else:
        signed = await asyncio.to_thread(read_file, path_of(gateway.settings))
        public = signing_key(gateway.settings).public
    kept = await stored(gateway, audit.checkpoints(LOG, 100_000))
    work = Verification([*signed, *kept], public)
    async for _, entry in audit.everything():
        work.add(entry)
    finding = work.finding()
    faults = [each for each in finding.faults if each.org in {org, WHOLE}]
    wrong = faults[0] if faults else disorder(signed)
    newest = max((each for each in kept), key=lambda each: each.size, default=None)
    return Verdict(
        org_id=org,
        entries=finding.orgs[org].seq if org in finding.orgs else 0,
        ok=wrong is None,
        first_bad_seq=next((each.seq for each in faults if each.org == org), None),
        message=wrong.message if wrong else None,
        checkpoint=Covered(size=newest.size, root=newest.root, signed_at=newest.signed_at) if newest else None,
    )


async def _note(
    gateway: Gateway,
    request: Request[Any, Any, Any],
    action: str,
    org: str,
    query: AuditQuery,
    more: Mapping[str, Any],
) -> None:
    """Record who reads what. Raises `Unavailable` when the log cannot take it: then nothing is shown."""
    asked: dict[str, Any] = {"action": query.action, "user_id": query.user_id, "result": query.result}
    asked |= {"from": query.start and query.start.isoformat(), "to": query.end and query.end.isoformat(), **more}
    told = {name: value for name, value in asked.items() if value is not None}
    await gateway.audit.record(
        entry_of(actor_of(request), action, "audit", told, org=org, classification="confidential")
    )


async def _all(audit: Audit, org: str, query: AuditQuery, page: Any) -> AsyncIterator[AuditEntry]:
    while page:
        for entry in page:
            yield entry
        if len(page) < _PAGE:
            return
        page = await audit.query(org, _past(query, page[-1].seq, _PAGE))


def _past(query: AuditQuery, before: int | None, limit: int) -> AuditQuery:
    return structs.replace(query, before=before, limit=limit)


def _org(gateway: Gateway, request: Request[Any, Any, Any], org_id: str | None) -> str:
    return org_of(principal_of(request), org_id, gateway.settings.governance.operator_org)


def _audit(gateway: Gateway) -> Audit:
    if not isinstance(gateway.storage, Governing):
        raise Unavailable("this storage keeps no audit log", code="storage_unavailable")
    return gateway.storage.repositories.audit
