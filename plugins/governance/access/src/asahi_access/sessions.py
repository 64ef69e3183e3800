"""Logins of the dashboard: a random cookie for a key, kept as its SHA-256, ended by the server.

A browser sends a cookie whoever asks it to, so a call that changes something must show that it comes from our own page:
it carries a token that only the page was told, and the origin of the page.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.builtins.local_auth import loopback
from asahi_kernel.clock import now
from asahi_kernel.errors import Denied, Unauthenticated
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.people import ApiKey, Login
from asahi_kernel.types import Principal

if TYPE_CHECKING:
    from asahi_kernel.caller import Caller

IDLE = timedelta(minutes=60)
LIFE = timedelta(hours=12)
_SEEN = timedelta(minutes=1)
_SECURE, _PLAIN = "__Host-asahi_session", "asahi_session"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Session(Struct, frozen=True, kw_only=True):
    """A login that lives, and whom it speaks for."""

    login: Login
    principal: Principal
    csrf: str


class Unknown(Unauthenticated):
    """A cookie that nobody was given here, or that is long forgotten."""


class Sessions:
    """`bootstrap` are principals that storage does not know, by the name their logins have."""

    def __init__(
        self,
        storage: Governing,
        principal_of: Callable[[ApiKey], Principal],
        bootstrap: Mapping[str, Principal],
        csrf_key: bytes,
        origins: frozenset[str],
        confirm_after: timedelta = timedelta(minutes=15),
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._storage = storage
        self._principal_of = principal_of
        self._bootstrap = bootstrap
        self._csrf_key = csrf_key
        self._origins = origins
        self._confirm_after = confirm_after
        self._clock = clock

    async def begin(self, principal: Principal, key_id: str, caller: Caller) -> tuple[str, Session]:
        """A new login, and its entry in the audit log; the cookie's value."""
        secret, now = secrets.token_urlsafe(32), self._clock()
        login = Login(
            login_hash=_hash(secret),
            key_id=key_id,
            org_id=principal.org,
            user_id=principal.user or key_id,
            created_at=now,
            expires_at=now + LIFE,
            last_seen_at=now,
        )
        async with self._storage.together() as kept:
            await kept.logins.start(login)
            await kept.audit.append([entry_of(_actor(login, caller), "login", f"login/{session_id(login)}")])
        return secret, Session(login=login, principal=principal, csrf=self._csrf(secret))

    async def of(self, caller: Caller) -> Session | None:
        """The login whose cookie this is; None without a cookie. Raises `Unauthenticated` when it is over, and `Denied`
        when the call does not come from our own page."""
        secret = cookie_of(caller)
        if secret is None:
            return None
        logins = self._storage.repositories.logins
        login = await logins.get(_hash(secret))
        if login is None:
            raise Unknown
        now = self._clock()
        if login.revoked or now >= login.expires_at or now - login.last_seen_at >= IDLE:
            raise Unauthenticated
        principal = await self._principal(login, now)
        csrf = self._csrf(secret)
        if caller.method not in _READING:
            self._check_page(caller, csrf)
        if now - login.last_seen_at >= _SEEN:
            await logins.see(login.org_id, login.login_hash, now)
        return Session(login=login, principal=principal, csrf=csrf)

    def check_confirmed(self, login: Login) -> None:
        """Raises `Denied` when the login's key was shown too long ago for what must not be done by whoever finds an
        open browser."""
        shown = login.confirmed_at or login.created_at
        if self._confirm_after and self._clock() - shown > self._confirm_after:
            raise Denied("show the key of this login again: send it to /auth/confirm", code="confirmation_required")

    async def confirm(self, login: Login, caller: Caller) -> None:
        """Its key was shown again: note it, together with its entry in the audit log."""
        async with self._storage.together() as kept:
            if not await kept.logins.confirm(login.org_id, login.login_hash, self._clock()):
                raise Unauthenticated
            resource = f"login/{session_id(login)}"
            await kept.audit.append([entry_of(_actor(login, caller), "login_confirmed", resource)])

    async def end(self, login: Login, caller: Caller, *, by: Principal) -> bool:
        """Log out; whether it was still alive."""
        async with self._storage.together() as kept:
            if not await kept.logins.end(login.org_id, login.login_hash):
                return False
            actor = _actor(login, caller, by)
            await kept.audit.append([entry_of(actor, "logout", f"login/{session_id(login)}")])
        return True

    async def of_user(self, principal: Principal) -> list[Login]:
        """Those of a user that are not over, newest first."""
        found = await self._storage.repositories.logins.of_user(principal.org, principal.user or "")
        now = self._clock()
        return [each for each in found if each.expires_at > now and now - each.last_seen_at < IDLE]

    def check_origin(self, caller: Caller) -> None:
        """Raises `Denied` for a login that another site's page asks for."""
        origin, site = caller.headers.get("origin"), caller.headers.get("sec-fetch-site")
        good = site in {None, "same-origin", "none"} if origin is None else self._is_ours(origin, caller)
        if not good:
            raise Denied("pages of another site may not log in here")

    def _check_page(self, caller: Caller, csrf: str) -> None:
        given = caller.headers.get("x-csrf-token", "")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), csrf.encode()):
            raise Denied("a call by login needs the header x-csrf-token, as /auth/me tells it")
        origin = caller.headers.get("origin")
        same = (
            caller.headers.get("sec-fetch-site") == "same-origin" if origin is None else self._is_ours(origin, caller)
        )
        if not same:
            raise Denied("a call by login must come from the dashboard's own page")

    def _is_ours(self, origin: str, caller: Caller) -> bool:
        return origin == f"{caller.scheme}://{caller.headers.get('host', '').lower()}" or origin in self._origins

    async def _principal(self, login: Login, now: datetime) -> Principal:
        if (known := self._bootstrap.get(login.key_id)) is not None:
            return known
        key = await self._storage.repositories.keys.find(login.org_id, login.key_id)
        if key is None or key.revoked or key.expires_at <= now:
            raise Unauthenticated
        return self._principal_of(key)

    def _csrf(self, secret: str) -> str:
        return hmac.digest(self._csrf_key, secret.encode(), hashlib.sha256).hex()


def session_id(login: Login) -> str:
    """What a login is called: nothing that could be used as one."""
    return login.login_hash[:16]


def set_cookie(caller: Caller, secret: str | None) -> str:
    """The header that gives a browser its login, or with None takes it away."""
    life = int(LIFE.total_seconds()) if secret else 0
    secure = "; Secure" if caller.scheme == "https" else ""
    return f"{_name(caller)}={secret or ''}; Path=/; Max-Age={life}; HttpOnly; SameSite=Strict{secure}"


def check_line(caller: Caller) -> None:
    """Raises `Denied` where a cookie would go over an open line."""
    if caller.scheme != "https" and not loopback(_host(caller)):
        raise Denied(
            "log in over https; behind a proxy that ends TLS, list it in api.trusted_proxies", code="https_required"
        )


def cookie_of(caller: Caller) -> str | None:
    """The login of a request: over HTTPS under the name that no other host can set, on loopback under its own."""
    header = caller.headers.get("cookie")
    if header is None or (caller.scheme != "https" and not loopback(_host(caller))):
        return None
    pairs = (each.strip().partition("=") for each in header.split(";"))
    found = {value for name, _, value in pairs if name == _name(caller)}
    return found.pop() if len(found) == 1 else None


def _name(caller: Caller) -> str:
    return _SECURE if caller.scheme == "https" else _PLAIN


def _host(caller: Caller) -> str:
    return urlsplit(f"//{caller.headers.get('host', '')}").hostname or ""


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _actor(login: Login, caller: Caller, by: Principal | None = None) -> Actor:
    return Actor(
        org=login.org_id,
        user=(by.user if by else None) or login.user_id,
        ip_address=caller.address,
        user_agent=caller.headers.get("user-agent"),
    )
