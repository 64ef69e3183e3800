"""Issuing: keys are made, rotated and revoked together with their entry in the audit log, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from asahi_access.tokens import Peppers, Token, mint
from asahi_kernel import clock
from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.errors import Denied, NotFound
from asahi_kernel.repositories import Governing, Repositories
from asahi_kernel.repositories.people import ApiKey
from asahi_kernel.settings import Tenants

#: More than any plan's users have.
_KEYS = 100_000


class Order(Struct, frozen=True, kw_only=True):
    """The key to make."""

    org: str
    user: str
    role: str = "developer"
    scopes: tuple[str, ...] = ("infer",)
    name: str = ""
    days: int = 90
    may_act_for_users: bool = False


class Issuer:
    """Over a storage that governs."""

    def __init__(
        self, storage: Governing, peppers: Peppers, plans: Tenants | None = None, operator: str = "default"
    ) -> None:
        self._storage = storage
        self._peppers = peppers
        self._plans = plans or Tenants()
        self._operator = operator

    async def create(self, order: Order, actor: Actor, token: Token | None = None) -> tuple[ApiKey, Token]:
        """A new key, whose token is shown once and kept nowhere. Raises `Denied` where the org's plan is full."""
        token = token or mint()
        key = self._key(order, token)
        async with self._storage.together() as kept:
            await self._check_plan(kept, order)
            while not await kept.keys.store_key(key):  # the id is taken: one chance in 10^21
                token = mint()
                key = self._key(order, token)
            await _record(kept, actor, "api_key_created", key, {"role": key.role, "scopes": ",".join(key.scopes)})
        return key, token

    async def find(self, org: str, key_id: str) -> ApiKey | None:
        """One of the org's keys."""
        return await self._storage.repositories.keys.find(org, key_id)

    async def of_org(
        self, org: str, user: str | None, include_revoked: bool, before: datetime | None, limit: int
    ) -> Sequence[ApiKey]:
        """The org's keys, newest first; of one user if there is one."""
        keys = self._storage.repositories.keys
        return await keys.of_org(org, user=user, include_revoked=include_revoked, before=before, limit=limit)

    async def rotate(self, org: str, key_id: str, overlap_hours: float, actor: Actor) -> tuple[ApiKey, Token]:
        """A new key like the old one, which lives on for the overlap."""
        token, now = mint(), clock.now()
        async with self._storage.together() as kept:
            old = await kept.keys.find(org, key_id)
            if old is None or old.revoked or old.expires_at <= now:
                raise NotFound("there is no such living key")
            key = msgspec.structs.replace(
                old,
                key_id=token.key_id,
                key_hash=self._peppers.sign(token.text),
                pepper_version=self._peppers.newest,
                created_at=now,
                expires_at=now + (old.expires_at - old.created_at),
                rotated_from=old.key_id,
                last_used_at=None,
            )
            await kept.keys.store_key(key)
            await kept.keys.expire_at(org, key_id, min(old.expires_at, now + timedelta(hours=overlap_hours)))
            await _record(kept, actor, "api_key_rotated", key, {"rotated_from": key_id})
        return key, token

    async def revoke(self, org: str, key_id: str, actor: Actor) -> ApiKey:
        """End a key and its logins; of one that was revoked before nothing changes. `NotFound` for another org's."""
        async with self._storage.together() as kept:
            key = await kept.keys.find(org, key_id)
            if key is None:
                raise NotFound("there is no such key")
            if await kept.keys.revoke_key(org, key_id, clock.now(), actor.user):
                await kept.logins.end_of_key(org, key_id)
                await _record(kept, actor, "api_key_revoked", key, {})
        return key

    async def _check_plan(self, kept: Repositories, order: Order) -> None:
        tenant = await kept.tenants.get(order.org)
        if tenant is None or order.org == self._operator:
            return
        if tenant.status != "active":
            raise Denied("this organisation is suspended: it gets no new keys")
        plan = self._plans.plan(tenant.plan)
        if plan is None:
            return
        keys, now = await kept.keys.of_org(order.org, limit=_KEYS), clock.now()
        living = {key.user_id for key in keys if key.expires_at > now}
        if order.user not in living and len(living) >= plan.users:
            raise Denied(f"the plan {tenant.plan!r} has {plan.users} users with a living key, and they are taken")

    def _key(self, order: Order, token: Token) -> ApiKey:
        now = clock.now()
        return ApiKey(
            key_id=token.key_id,
            key_hash=self._peppers.sign(token.text),
            pepper_version=self._peppers.newest,
            org_id=order.org,
            user_id=order.user,
            created_at=now,
            expires_at=now + timedelta(days=order.days),
            name=order.name,
            role=order.role,
            scopes=order.scopes,
            may_act_for_users=order.may_act_for_users,
        )


async def _record(kept: Repositories, actor: Actor, action: str, key: ApiKey, details: Mapping[str, str]) -> None:
    said = {"of_user": key.user_id, "by_org": actor.org, **details}
    resource = f"api_key/{key.key_id}"
    await kept.audit.append([entry_of(actor, action, resource, said, org=key.org_id, classification="confidential")])
