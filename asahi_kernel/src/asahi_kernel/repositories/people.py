"""Keys, logins and tenants: who may ask, and for whom."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from asahi_kernel.repositories.records import Rows, Shape

_TOUCH = timedelta(minutes=1)


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key: never itself, only its HMAC under a numbered pepper."""

    key_id: str
    key_hash: str
    pepper_version: int
    org_id: str
    user_id: str
    created_at: datetime
    expires_at: datetime
    name: str = ""
    role: str = "developer"
    scopes: tuple[str, ...] = ()
    may_act_for_users: bool = False
    revoked: bool = False
    revoked_at: datetime | None = None
    revoked_by: str | None = None
    rotated_from: str | None = None
    last_used_at: datetime | None = None


class Login(Struct, frozen=True, kw_only=True):
    """A login of the dashboard; `login_hash` is the SHA-256 of the cookie. `confirmed_at` is when its key was shown
    again, if it was."""

    login_hash: str
    key_id: str
    org_id: str
    user_id: str
    created_at: datetime
    expires_at: datetime
    last_seen_at: datetime
    revoked: bool = False
    confirmed_at: datetime | None = None


class Tenant(Struct, frozen=True, kw_only=True):
    """An organisation. `cache_salt` keys its cache entries."""

    org_id: str
    name: str
    created_at: datetime
    updated_at: datetime
    plan: str = "starter"
    status: Literal["active", "suspended", "erasing"] = "active"
    cache_salt: bytes = b""


KEYS = Shape(table="api_keys", record=ApiKey, identity=("key_id",), order="created_at")
LOGINS = Shape(table="logins", record=Login, identity=("login_hash",), order="created_at")
TENANTS = Shape(
    table="tenants", record=Tenant, identity=("org_id",), order="created_at", sealed=frozenset({"cache_salt"})
)


class Keys:
    """API keys by id."""

    def __init__(self, rows: Rows) -> None:
        self._keys = rows.of(KEYS)

    async def store_key(self, key: ApiKey) -> bool:
        """False when the id is taken."""
        return await self._keys.add(key)

    async def get_key(self, key_id: str) -> ApiKey | None:
        """In whatever org: the key says which."""
        found = await self._keys.anywhere({"key_id": key_id})
        return found[0] if found else None

    async def find(self, org: str, key_id: str) -> ApiKey | None:
        """The org's own."""
        return await self._keys.find(org, {"key_id": key_id})

    async def of_org(
        self,
        org: str,
        *,
        user: str | None = None,
        include_revoked: bool = False,
        before: datetime | None = None,
        limit: int = 100,
    ) -> Sequence[ApiKey]:
        """Newest first."""
        where = {"user_id": user, "revoked": None if include_revoked else False}
        given = {name: value for name, value in where.items() if value is not None}
        return await self._keys.select(org, given, before=before, limit=limit)

    async def revoke_key(self, org: str, key_id: str, at: datetime, by: str | None) -> bool:
        """False when there is no such key, or it was revoked before: that one keeps its time."""
        to = {"revoked": True, "revoked_at": at, "revoked_by": by}
        return await self._keys.change(org, {"key_id": key_id, "revoked": False}, to) > 0

    async def rehash(self, org: str, key_id: str, key_hash: str, pepper_version: int) -> bool:
        """The same key under another pepper."""
        to = {"key_hash": key_hash, "pepper_version": pepper_version}
        return await self._keys.change(org, {"key_id": key_id}, to) > 0

    async def expire_at(self, org: str, key_id: str, moment: datetime) -> bool:
        """A rotated key lives on for its overlap."""
        return await self._keys.change(org, {"key_id": key_id}, {"expires_at": moment}) > 0

    async def touch(self, org: str, key_id: str, at: datetime) -> bool:
        """Note the use, at most once a minute."""
        key = await self.find(org, key_id)
        if key is None or (key.last_used_at is not None and at - key.last_used_at < _TOUCH):
            return False
        return await self._keys.change(org, {"key_id": key_id}, {"last_used_at": at}) > 0


class Logins:
    """Logins by the hash of their cookie."""

    def __init__(self, rows: Rows) -> None:
        self._logins = rows.of(LOGINS)

    async def start(self, login: Login) -> bool:
        """False when the hash is taken."""
        return await self._logins.add(login)

    async def get(self, login_hash: str) -> Login | None:
        """In whatever org: the cookie says which."""
        found = await self._logins.anywhere({"login_hash": login_hash})
        return found[0] if found else None

    async def see(self, org: str, login_hash: str, at: datetime) -> bool:
        """Note that it was used."""
        return await self._logins.change(org, {"login_hash": login_hash, "revoked": False}, {"last_seen_at": at}) > 0

    async def confirm(self, org: str, login_hash: str, at: datetime) -> bool:
        """Note that its key was shown again."""
        return await self._logins.change(org, {"login_hash": login_hash, "revoked": False}, {"confirmed_at": at}) > 0

    async def end(self, org: str, login_hash: str) -> bool:
        """Log out."""
        return await self._logins.change(org, {"login_hash": login_hash, "revoked": False}, {"revoked": True}) > 0

    async def of_user(self, org: str, user: str, limit: int = 100) -> Sequence[Login]:
        """A user's logins that were not ended, newest first."""
        return await self._logins.select(org, {"user_id": user, "revoked": False}, limit=limit)

    async def end_of_key(self, org: str, key_id: str) -> int:
        """All logins that a key began."""
        return await self._logins.change(org, {"key_id": key_id, "revoked": False}, {"revoked": True})

    async def expire(self, now: datetime) -> int:
        """Forget those that are over."""
        return await self._logins.expire("expires_at", now)


class Tenants:
    """Organisations. `list` is for the operator."""

    def __init__(self, rows: Rows) -> None:
        self._tenants = rows.of(TENANTS)

    async def create(self, tenant: Tenant) -> bool:
        """False when there is one of that name."""
        return await self._tenants.add(tenant)

    async def get(self, org: str) -> Tenant | None:
        """The org itself."""
        return await self._tenants.find(org, {})

    async def list(self, limit: int = 1_000) -> Sequence[Tenant]:
        """Every org."""
        return await self._tenants.anywhere({}, limit=limit)

    async def update(self, tenant: Tenant) -> bool:
        """False when there is none to update."""
        if await self.get(tenant.org_id) is None:
            return False
        await self._tenants.put(tenant)
        return True
