"""`/auth/…`: how a person with a key gets a login of the dashboard, sees it, and ends it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from litestar import Request, Response, delete, get, post
from litestar.params import FromPath
from msgspec import DecodeError, Meta, Struct, json, structs

from asahi_access.identifying import key_digest
from asahi_access.opening import login_name
from asahi_access.sessions import Session, check_line, session_id, set_cookie
from asahi_kernel.api.access import IDENTIFIED, PUBLIC, admitted, principal_of
from asahi_kernel.api.stored import stored
from asahi_kernel.caller import caller_of
from asahi_kernel.errors import Denied, Invalid, NotFound, Unauthenticated, UnsupportedMediaType

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_access.desk import Desk
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.types import Principal

_FRESH = {"cache-control": "no-store"}
_ANOTHER = "this is not the key of this login, or it is revoked or expired"


class Credential(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a login."""

    api_key: Annotated[str, Meta(max_length=512)]


class Me(Struct, frozen=True, kw_only=True):
    """Who asks. `csrf` and `expires_at` are of the login; without one they are null."""

    org_id: str
    user_id: str | None
    role: str
    permissions: tuple[str, ...]
    expires_at: datetime | None = None
    csrf: str | None = None


class Open(Struct, frozen=True, kw_only=True):
    """A login as it is shown. It cannot be used as one."""

    session_id: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    current: bool


def login_routes(gateway: Gateway, desk: Desk) -> list[HTTPRouteHandler]:
    """The handlers; logging in answers 404 unless `auth` is `keys`."""
    return [*_entering(gateway, desk), *_confirming(gateway, desk), *_listing(gateway, desk)]


def _entering(gateway: Gateway, desk: Desk) -> list[HTTPRouteHandler]:
    @get("/auth/providers", opt={"permission": PUBLIC}, tags=["auth"])
    async def providers() -> dict[str, list[dict[str, str]]]:
        """How one may log in here: by key, or not at all, since everybody is let in."""
        return {"providers": [{"type": "api_key", "name": "API key"}] if desk.keeps_keys else []}

    @post("/auth/login", opt={"permission": PUBLIC}, tags=["auth"], status_code=200)
    async def login(request: Request[Any, Any, Any]) -> Response[Me]:
        """Begin a login for a key. It makes no key, and ends after 60 minutes without a call, 12 hours, or the key."""
        caller, sessions = caller_of(request.scope), desk.sessions
        sessions.check_origin(caller)
        check_line(caller)
        text = await _key(request)
        asked = structs.replace(caller, headers={**_browser(caller.headers), "authorization": f"Bearer {text}"})
        principal = await admitted(gateway, await desk.identifier.identify_caller(asked))
        digest = key_digest(text)
        name = login_name(digest) if principal.key_id == "bootstrap" else principal.key_id or ""
        secret, session = await stored(gateway, sessions.begin(principal, name, caller))
        cookie = {"set-cookie": set_cookie(caller, secret), **_FRESH}
        return Response(_me(principal, session), status_code=200, headers=cookie)

    @get("/auth/me", opt={"permission": IDENTIFIED}, tags=["auth"])
    async def me(request: Request[Any, Any, Any]) -> Response[Me]:
        """Who asks, and what they may do."""
        return Response(_me(principal_of(request), await _session(gateway, desk, request)), headers=_FRESH)

    @post("/auth/logout", opt={"permission": IDENTIFIED}, tags=["auth"], status_code=200)
    async def logout(request: Request[Any, Any, Any]) -> Response[dict[str, int]]:
        """End the login on the server, and take its cookie away; how many were ended."""
        caller, session = caller_of(request.scope), await _session(gateway, desk, request)
        ended = 0
        if session is not None:
            ended += await stored(gateway, desk.sessions.end(session.login, caller, by=principal_of(request)))
        headers = {"set-cookie": set_cookie(caller, None), **_FRESH}
        return Response({"ended": ended}, status_code=200, headers=headers)

    return [providers, login, me, logout]


def _confirming(gateway: Gateway, desk: Desk) -> list[HTTPRouteHandler]:
    @post("/auth/confirm", opt={"permission": IDENTIFIED}, tags=["auth"], status_code=204)
    async def confirm(request: Request[Any, Any, Any]) -> None:
        """Show the key of this login again, which some calls ask for after a while (403 `confirmation_required`). A key
        that is not accepted, or not as good as the login, counts as a failed authentication, and ends no login."""
        caller, session = caller_of(request.scope), await _session(gateway, desk, request)
        if session is None:
            raise Invalid("only a login is confirmed: a call by key shows it anyway")
        text = await _key(request)
        asked = structs.replace(caller, headers={**_browser(caller.headers), "authorization": f"Bearer {text}"})
        try:
            shown = await desk.identifier.identify_caller(asked)
        except Unauthenticated:
            raise Denied(_ANOTHER, code="confirmation_failed") from None
        if not _as_good(shown, session.principal):
            await desk.identifier.refuse(asked)
            raise Denied(_ANOTHER, code="confirmation_failed")
        await stored(gateway, desk.sessions.confirm(session.login, caller))

    return [confirm]


def _listing(gateway: Gateway, desk: Desk) -> list[HTTPRouteHandler]:
    @get("/auth/sessions", opt={"permission": IDENTIFIED}, tags=["auth"])
    async def listed(request: Request[Any, Any, Any]) -> dict[str, list[Open]]:
        """One's own logins, newest first."""
        session = await _session(gateway, desk, request)
        found = await stored(gateway, desk.sessions.of_user(principal_of(request)))
        mine = session.login.login_hash if session else None
        return {"sessions": [_open(login, current=login.login_hash == mine) for login in found]}

    @delete("/auth/sessions", opt={"permission": IDENTIFIED}, tags=["auth"], status_code=200)
    async def end_others(request: Request[Any, Any, Any]) -> dict[str, int]:
        """End all of one's logins but the one that asks."""
        session, principal = await _session(gateway, desk, request), principal_of(request)
        mine, ended = session.login.login_hash if session else None, 0
        for login in await stored(gateway, desk.sessions.of_user(principal)):
            if login.login_hash != mine:
                work = desk.sessions.end(login, caller_of(request.scope), by=principal)
                ended += await stored(gateway, work)
        return {"ended": ended}

    @delete("/auth/sessions/{session:str}", opt={"permission": IDENTIFIED}, tags=["auth"], status_code=204)
    async def end_one(request: Request[Any, Any, Any], session: FromPath[str]) -> None:
        """End one of one's own logins."""
        if len(session) != 16 or set(session) - set("0123456789abcdef"):
            raise Invalid("a session id has 16 hexadecimal digits", param="session")
        principal = principal_of(request)
        for login in await stored(gateway, desk.sessions.of_user(principal)):
            if session_id(login) == session:
                await stored(gateway, desk.sessions.end(login, caller_of(request.scope), by=principal))
                return
        raise NotFound("there is no such login")

    return [listed, end_others, end_one]


async def _key(request: Request[Any, Any, Any]) -> str:
    """The one body that may hold a key: everywhere else a field of that name is refused."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("send the body as Content-Type: application/json in UTF-8")
    try:
        return json.decode(await request.body(), type=Credential).api_key
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise Invalid('the body must be {"api_key": "ask_…"}', param="api_key") from None


async def _session(gateway: Gateway, desk: Desk, request: Request[Any, Any, Any]) -> Session | None:
    """The login that the guard let in, if it was one and no key."""
    headers = request.headers
    if not desk.keeps_keys or "authorization" in headers or "x-api-key" in headers:
        return None
    return await stored(gateway, desk.sessions.of(caller_of(request.scope)))


def _as_good(shown: Principal, login: Principal) -> bool:
    """Whether a key is of whom the login speaks for, and may do all that it may."""
    same = (shown.org, shown.user) == (login.org, login.user) and (shown.user or shown.key_id == login.key_id)
    return bool(same) and login.permissions <= shown.permissions


def _browser(headers: Any) -> dict[str, str]:
    """What the caller said of itself, without another credential."""
    return {name: value for name, value in headers.items() if name not in {"authorization", "x-api-key", "cookie"}}


def _me(principal: Principal, session: Session | None) -> Me:
    return Me(
        org_id=principal.org,
        user_id=principal.user,
        role=principal.role,
        permissions=tuple(sorted(principal.permissions)),
        expires_at=session.login.expires_at if session else None,
        csrf=session.csrf if session else None,
    )


def _open(login: Any, *, current: bool) -> Open:
    times = {name: getattr(login, name) for name in ("created_at", "last_seen_at", "expires_at")}
    return Open(session_id=session_id(login), current=current, **times)
