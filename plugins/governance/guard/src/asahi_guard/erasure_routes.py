"""`/governance/erasure`: have a user or an organisation forgotten, and see whether anything is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from litestar import Request, get, post
from litestar.params import FromPath
from msgspec import Meta, Struct

from asahi_guard.desk import org_of
from asahi_guard.erasing import able, order
from asahi_kernel.api.access import actor_of, principal_of
from asahi_kernel.api.stored import stored
from asahi_kernel.errors import Invalid, NotFound, Unprocessable, UnsupportedMediaType
from asahi_kernel.identity import is_id
from asahi_kernel.wire.mistakes import checked
from asahi_kernel.wire.strict import scan

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.subjects import Erasure


class Subject(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body: a user of one's own org, or of `org_id`; without a user all of `org_id`."""

    user_id: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    org_id: str | None = None


def erasure_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    """The handlers."""

    @post("/governance/erasure", opt={"permission": "manage_users", "confirm": True}, tags=["privacy"], status_code=202)
    async def begin(request: Request[Any, Any, Any]) -> dict[str, str]:
        """Order an erasure. It cannot be undone. The operator's own organisation cannot be erased."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedMediaType("send the body as Content-Type: application/json in UTF-8")
        given = checked(scan(await request.body()), Subject)
        if given.user_id is None and given.org_id is None:
            raise Invalid("one of `user_id` and `org_id` is required", param="user_id")
        org = org_of(gateway, request, given.org_id)
        if given.user_id is None and org == gateway.settings.governance.operator_org:
            raise Unprocessable("the operator's own organisation cannot be erased", code="invalid_request")
        made = await stored(gateway, order(gateway, org, given.user_id, actor_of(request)))
        return {"erasure_id": made.erasure_id, "state": made.state}

    @get("/governance/erasure/{erasure_id:str}", opt={"permission": "manage_users"}, tags=["privacy"])
    async def one(request: Request[Any, Any, Any], erasure_id: FromPath[str]) -> dict[str, Any]:
        """How far it is: `queued`, `running` or `done`, and then how much was still found."""
        principal = principal_of(request)
        erasures = able(gateway).repositories.erasures
        operates = principal.org == gateway.settings.governance.operator_org
        found: Erasure | None = None
        if is_id(erasure_id):
            work = erasures.anywhere(erasure_id) if operates else erasures.get(principal.org, erasure_id)
            found = await stored(gateway, work)
        if found is None:
            raise NotFound("there is no such erasure")
        return _shown(found)

    return [begin, one]


def _shown(erasure: Erasure) -> dict[str, Any]:
    names = ("erasure_id", "org_id", "whole_org", "state", "requested_at", "completed_at", "residues", "counts")
    return {name: getattr(erasure, name) for name in names}
