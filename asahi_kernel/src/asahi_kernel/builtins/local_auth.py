"""Authentication that needs no store: everybody on this machine, or a fixed list of keys from the configuration."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Annotated, Literal

from msgspec import Meta

from asahi_kernel.errors import ConfigError, Unauthenticated
from asahi_kernel.factory import Config, Factory, Secret
from asahi_kernel.gateway import Gateway
from asahi_kernel.protocols import Authenticator
from asahi_kernel.secrecy import LEAST, weakness
from asahi_kernel.types import Permission, Principal

_ID = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]

ROLES: Mapping[str, frozenset[Permission]] = {
    "admin": frozenset(
        {
            "infer",
            "view_metrics",
            "view_cost",
            "manage_models",
            "manage_users",
            "manage_policy",
            "view_audit_log",
            "manage_billing",
        }
    ),
    "developer": frozenset({"infer", "view_metrics", "view_cost"}),
    "viewer": frozenset({"view_metrics"}),
    "billing": frozenset({"view_metrics", "view_cost", "view_audit_log", "manage_billing"}),
}


class Open:
    """Everybody is the developer of the org `default`, never an admin; any key is accepted and ignored."""

    def __init__(self) -> None:
        self._principal = Principal(org="default", user="local", role="developer", permissions=ROLES["developer"])

    async def identify(self, headers: Mapping[str, str]) -> Principal:
        return self._principal


class StaticKey(Config, frozen=True):
    """One key and who it speaks for."""

    key: Secret
    org: _ID = "default"
    user: _ID = "admin"
    role: Literal["admin", "developer", "viewer", "billing"] = "developer"
    may_act_for_users: bool = False


class StaticConfig(Config, frozen=True):
    keys: tuple[StaticKey, ...] = ()


class Static:
    """Looks a key up by its whole digest under a secret of this process: no prefix, no timing, no plain key kept."""

    def __init__(self, keys: tuple[StaticKey, ...]) -> None:
        self._pepper = secrets.token_bytes(32)
        self._principals = {self._digest(each.key.reveal()): _principal(each) for each in keys}

    async def identify(self, headers: Mapping[str, str]) -> Principal:
        principal = self._principals.get(self._digest(presented(headers)))
        if principal is None:
            raise Unauthenticated
        return principal

    def _digest(self, key: str) -> bytes:
        return hmac.digest(self._pepper, key.encode("utf-8", "surrogateescape"), hashlib.sha256)


def presented(headers: Mapping[str, str]) -> str:
    """The key of a request, from `Authorization: Bearer` or `x-api-key`; raises `Unauthenticated`."""
    authorization = headers.get("authorization")
    if authorization is None:
        key = headers.get("x-api-key", "")
    else:
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or headers.get("x-api-key", key) != key:
            raise Unauthenticated
    if not key or len(key) > 512 or not key.isascii() or not key.isprintable() or " " in key:
        raise Unauthenticated
    return key


def loopback(host: str) -> bool:
    """Whether a bind address is reachable from this machine only."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _principal(key: StaticKey) -> Principal:
    digest = hashlib.sha256(key.key.reveal().encode()).hexdigest()
    return Principal(
        org=key.org,
        user=key.user,
        key_id=digest[:12],
        role=key.role,
        permissions=ROLES[key.role],
        may_act_for_users=key.may_act_for_users,
    )


@asynccontextmanager
async def open_open(config: Config, gateway: Gateway) -> AsyncIterator[Authenticator]:
    host = gateway.settings.api.host
    if not loopback(host):
        raise ConfigError(
            f"auth: 'open' lets everybody in, so it is refused on {host}: bind api.host to 127.0.0.1, or use keys "
            "(auth: {type: static, keys: [{key: …}]}, or ASAHI_BOOTSTRAP_ADMIN_KEY)"
        )
    yield Open()


@asynccontextmanager
async def open_static(config: StaticConfig, gateway: Gateway) -> AsyncIterator[Authenticator]:
    keys = config.keys
    if bootstrap := os.environ.get("ASAHI_BOOTSTRAP_ADMIN_KEY"):
        keys = (*keys, StaticKey(key=Secret(bootstrap), role="admin"))
    if not keys:
        raise ConfigError(
            "auth: there is no key, so nobody could call: set ASAHI_BOOTSTRAP_ADMIN_KEY to a random string, list keys "
            "under auth.keys, or on 127.0.0.1 say auth: open"
        )
    for each in keys:
        if told := weakness(each.key.reveal()):
            raise ConfigError(f"auth: a key of org {each.org!r} {told}; use at least {LEAST} random characters")
    if len({each.key.reveal() for each in keys}) < len(keys):
        raise ConfigError("auth: the same key is listed twice")
    yield Static(keys)


OPEN: Factory[Authenticator, Config] = Factory("open", Config, open_open)
STATIC: Factory[Authenticator, StaticConfig] = Factory("static", StaticConfig, open_static)
