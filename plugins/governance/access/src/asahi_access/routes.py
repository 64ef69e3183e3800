"""`/governance/api-keys`: keys over HTTP. An admin sees those of the org, everybody else their own."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from litestar import Request, Response, delete, get, post
from litestar.params import FromPath, FromQuery
from msgspec import Meta, Struct

from asahi_access.config import KeysConfig
from asahi_access.grants import check_grant
from asahi_access.issuing import Order
from asahi_access.tokens import Token
from asahi_kernel.api.access import actor_of, principal_of
from asahi_kernel.api.bodies import body_of
from asahi_kernel.api.stored import stored
from asahi_kernel.errors import Denied, Invalid, NotFound

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_access.desk import Desk
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.people import ApiKey
    from asahi_kernel.types import Principal

Id = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
#: A login shows its key again before these.
_OWN_KEY, _ANY_KEY = ({"permission": name, "confirm": True} for name in ("infer", "manage_users"))
KeyId = Annotated[str, Meta(pattern=r"^[0-9A-Za-z]{12}$")]


class NewKey(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of a new key."""

    user_id: Id
    org_id: Id | None = None
    scopes: Annotated[tuple[str, ...], Meta(min_length=1, max_length=4)]
    role: str = "developer"
    name: Annotated[str, Meta(max_length=100)] = ""
    expires_in_days: Annotated[int, Meta(ge=1, le=365)] | None = None
    may_act_for_users: bool = False


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old key lives on."""

    overlap_hours: Annotated[float, Meta(ge=0, le=168)] = 24.0


class Row(Struct, frozen=True, kw_only=True):
    """A key as it is shown: without its secret."""

    key_id: str
    prefix: str
    name: str
    user_id: str
    org_id: str
    role: str
    scopes: tuple[str, ...]
    may_act_for_users: bool
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime
    revoked: bool
    rotated_from: str | None


class Made(Row, frozen=True, kw_only=True):
    """A key that was just made, with its secret: the only time that it is told."""

    api_key: str


class Page(Struct, frozen=True, kw_only=True):
    """Keys, newest first."""

    keys: tuple[Row, ...]
    count: int
    next_cursor: str | None


def key_routes(gateway: Gateway, desk: Desk) -> list[HTTPRouteHandler]:
    """The handlers; they answer 404 unless `auth` is `keys`."""
    return [*_reading(gateway, desk), *_changing(gateway, desk)]


def _reading(gateway: Gateway, desk: Desk) -> list[HTTPRouteHandler]:
    @get("/governance/api-keys", opt={"permission": "infer"}, tags=["keys"])
    async def listed(
        request: Request[Any, Any, Any],
        user_id: FromQuery[str | None] = None,
        include_revoked: FromQuery[bool] = False,
        limit: FromQuery[int] = 50,
        cursor: FromQuery[str | None] = None,
    ) -> Page:
        """Keys of the org, newest first; without manage_users only one's own."""
        principal = principal_of(request)
        if not 1 <= limit <= 500:
            raise Invalid("limit must be from 1 to 500", param="limit")
        user = user_id if "manage_users" in principal.permissions else principal.user or ""
        found = await stored(
            gateway,
            desk.issuer.of_org(principal.org, user, include_revoked, _moment(cursor), limit + 1),
        )
        page = tuple(map(_row, found[:limit]))
        after = page[-1].created_at.isoformat() if len(found) > limit else None
        return Page(keys=page, count=len(page), next_cursor=after)

    @get("/governance/api-keys/{key_id:str}", opt={"permission": "infer"}, tags=["keys"])
    async def one(request: Request[Any, Any, Any], key_id: FromPath[str]) -> Row:
        """One key. Another org's, and without manage_users another user's, is 404."""
        return _row(await _own(gateway, desk, principal_of(request), key_id))

    return [listed, one]


def _changing(gateway: Gateway, desk: Desk) -> list[HTTPRouteHandler]:
    @post("/governance/api-keys", opt=_ANY_KEY, tags=["keys"], status_code=201)
    async def create(request: Request[Any, Any, Any]) -> Made:
        """Make a key for a user of one's own org. Its secret is in this answer, and nowhere else."""
        given, principal = await body_of(request, NewKey), principal_of(request)
        org = given.org_id or principal.org
        if org != principal.org and principal.org != gateway.settings.governance.operator_org:
            raise Denied("a key belongs to the org of its maker", code="org_mismatch")
        check_grant(principal, given.role, given.scopes, may_act_for_users=given.may_act_for_users)
        config: KeysConfig = desk.config
        order = Order(
            org=org,
            user=given.user_id,
            role=given.role,
            scopes=given.scopes,
            name=given.name,
            days=given.expires_in_days or config.key_expiry_days,
            may_act_for_users=given.may_act_for_users,
        )
        return _made(*await stored(gateway, desk.issuer.create(order, actor_of(request))))

    @delete("/governance/api-keys/{key_id:str}", opt=_OWN_KEY, tags=["keys"], status_code=204)
    async def revoke(request: Request[Any, Any, Any], key_id: FromPath[str]) -> None:
        """Revoke a key and end its logins; again is the same."""
        principal = principal_of(request)
        key = await _own(gateway, desk, principal, key_id)
        await stored(gateway, desk.issuer.revoke(principal.org, key.key_id, actor_of(request)))
        await desk.forget(key.key_id)

    @post("/governance/api-keys/{key_id:str}/rotate", opt=_OWN_KEY, tags=["keys"], status_code=201)
    async def rotate(request: Request[Any, Any, Any], key_id: FromPath[str]) -> Response[Made]:
        """A new key like the old one, which lives on for `overlap_hours`."""
        principal = principal_of(request)
        given = await body_of(request, Rotation, empty=Rotation())
        key = await _own(gateway, desk, principal, key_id)
        work = desk.issuer.rotate(principal.org, key.key_id, given.overlap_hours, actor_of(request))
        made = _made(*await stored(gateway, work))
        await desk.forget(key.key_id)
        return Response(made, status_code=201)

    return [create, revoke, rotate]


async def _own(gateway: Gateway, desk: Desk, principal: Principal, key_id: str) -> ApiKey:
    if not key_id.isascii() or not key_id.isalnum() or len(key_id) != 12:
        raise Invalid("a key id has 12 letters and digits", param="key_id")
    key = await stored(gateway, desk.issuer.find(principal.org, key_id))
    mine = key is not None and principal.user is not None and key.user_id == principal.user
    if key is None or not (mine or "manage_users" in principal.permissions):
        raise NotFound("there is no such key")
    return key


def _moment(cursor: str | None) -> datetime | None:
    try:
        return None if cursor is None else datetime.fromisoformat(cursor)
    except ValueError:
        raise Invalid("that is no cursor of ours", param="cursor") from None


def _row(key: ApiKey) -> Row:
    return Row(**_shown(key))


def _made(key: ApiKey, token: Token) -> Made:
    return Made(api_key=token.text, **_shown(key))


def _shown(key: ApiKey) -> dict[str, Any]:
    kept = {name: getattr(key, name) for name in Row.__struct_fields__ if name != "prefix"}
    return {**kept, "prefix": f"ask_{key.key_id}"}
