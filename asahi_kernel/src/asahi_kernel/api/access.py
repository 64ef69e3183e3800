"""Who may call what: every route declares a permission, and one guard checks it on the matched handler."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from asahi_kernel.api.scraping import SCRAPER, by_token
from asahi_kernel.auditing import Actor
from asahi_kernel.caller import ConfirmingAuthenticator, address_of, caller_of, headers_of
from asahi_kernel.errors import Denied, PluginError, Unavailable
from asahi_kernel.served import current
from asahi_kernel.types import Permission, Principal

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

PUBLIC = "public"
#: Whoever has a key or a login, whatever it may do.
IDENTIFIED = "identified"
_KNOWN = frozenset(get_args(Permission)) | {PUBLIC, IDENTIFIED}


def guard(gateway: Gateway) -> Any:
    """A Litestar guard: identifies the caller and holds the handler's declared permission against the key's. A handler
    with `confirm` is for logins whose key was shown a moment ago."""

    async def check(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        if (served := current.get()) is not None:
            served.route = connection.scope.get("path_template")
        permission = handler.opt.get("permission")
        if permission is None or permission == PUBLIC:  # only the framework's own OPTIONS declares none
            return
        if handler.opt.get("scrape") and by_token(gateway, headers_of(connection.scope), connection.scope["path"]):
            connection.scope[SCRAPER] = True  # type: ignore[literal-required]
            return
        principal = await identify(gateway, connection.scope)
        if permission != IDENTIFIED and permission not in principal.permissions:
            raise Denied(f"this needs the permission {permission!r}, which the role {principal.role!r} does not have")
        if handler.opt.get("confirm") and isinstance(gateway.authenticator, ConfirmingAuthenticator):
            await gateway.authenticator.check_confirmed(caller_of(connection.scope))
        connection.scope["asahi.principal"] = principal  # type: ignore[typeddict-unknown-key]

    return check


async def identify(gateway: Gateway, scope: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Principal:
    """Who asks, on every route. Raises `Denied` for the people of an org that is suspended or being erased; the
    operator's own org never is."""
    headers = headers_of(scope) if headers is None else headers
    if gateway.door is None:
        principal = await gateway.authenticator.identify(headers)
    else:
        principal = await gateway.door.identify_caller(caller_of(scope, headers))
    if (served := current.get()) is not None:
        served.org = principal.org
    return await admitted(gateway, principal)


async def admitted(gateway: Gateway, principal: Principal) -> Principal:
    """The same principal; raises `Denied` when its org is suspended or being erased. While storage has been away ever
    since the start nobody knows, and it is not refused for that: policies say what holds then."""
    if principal.org != gateway.settings.governance.operator_org:
        try:
            tenant = (await gateway.standings.of(principal.org)).tenant
        except Unavailable:
            return principal
        if tenant is not None and tenant.status != "active":
            raise Denied("this organisation is suspended: ask whoever operates this gateway")
    return principal


def principal_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
    """The caller, as the guard found it."""
    principal: Principal = connection.scope["asahi.principal"]  # type: ignore[typeddict-item]
    return principal


def actor_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Actor:
    """The caller, as the audit log names it."""
    principal = principal_of(connection)
    return Actor(
        org=principal.org,
        user=principal.user or principal.key_id or "-",
        ip_address=address_of(connection.scope),
        user_agent=connection.headers.get("user-agent"),
    )


def refuse_undeclared(handlers: Iterable[BaseRouteHandler]) -> None:
    """Default deny: a route without a known permission does not start."""
    for handler in handlers:
        permission = handler.opt.get("permission")
        if permission not in _KNOWN:
            paths = ", ".join(sorted(handler.paths))
            allowed = ", ".join(sorted(_KNOWN))
            raise PluginError(
                f"route {paths} ({handler.fn.__module__}) declares no known permission; give it "
                f"opt={{'permission': …}} with one of: {allowed}"
            )
