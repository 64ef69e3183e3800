"""The authenticator: from a key to whom it speaks for, with a short memory, and without storage for a while."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec
from msgspec import Struct

from asahi_access.config import KeysConfig
from asahi_access.failing import Failures
from asahi_access.grants import permissions
from asahi_access.sessions import Session, Sessions, Unknown
from asahi_access.tokens import Peppers, read
from asahi_kernel import clock
from asahi_kernel.auditing import Actor, entry_of
from asahi_kernel.builtins.local_auth import presented
from asahi_kernel.caller import Caller
from asahi_kernel.clock import monotonic
from asahi_kernel.errors import AsahiError, Unauthenticated, Unavailable
from asahi_kernel.gateway import Gateway
from asahi_kernel.repositories.people import ApiKey, Keys
from asahi_kernel.types import Principal

log = logging.getLogger("asahi.access")

_KNOWN = 100_000
_STORAGE_S = 3.0


#: A refusal comes no sooner, so that its time does not tell whether there is a key of that id.
_FLOOR_S = 0.01


class _Identity(Struct, frozen=True):
    principal: Principal
    expires_at: datetime
    seen: float
    epoch: int = 0


class Refused(Unauthenticated):
    """A well-formed key that is not accepted; `org` is known where there is a key of that id."""

    def __init__(self, key_id: str, org: str | None) -> None:
        super().__init__()
        self.key_id = key_id
        self.org = org


class Identifier:
    """Remembers keys by the digest of all of them, never by a part. `bootstrap` keys are known without storage."""

    def __init__(
        self,
        keys: Keys,
        peppers: Peppers,
        config: KeysConfig,
        gateway: Gateway,
        bootstrap: Mapping[bytes, Principal] | None = None,
        clock: Callable[[], float] = monotonic,
        failures: Failures | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        self._keys = keys
        self._peppers = peppers
        self._config = config
        self._gateway = gateway
        self._bootstrap = bootstrap or {}
        self._clock = clock
        self._known: OrderedDict[bytes, _Identity] = OrderedDict()
        self._looking: dict[bytes, asyncio.Task[Principal]] = {}
        self._failures = failures or Failures(config.failed_per_minute)
        self._sessions = sessions
        self._epoch = 0

    async def identify(self, headers: Mapping[str, str]) -> Principal:
        """The principal of a key. One refusal for all that is wrong with a key; a dead storage is never a refusal."""
        text = presented(headers)
        return self._known_now(text) or await self._unknown(text)

    async def identify_caller(self, caller: Caller) -> Principal:
        """The same for a route: a login's cookie counts too, and an address that fails too often is told to wait."""
        if _by_login(caller):
            return (await self._session(caller)).principal
        began = self._clock()
        try:
            text = presented(caller.headers)
            known = self._known_now(text)
            if known is not None:
                return known
            await self._failures.check(caller.address)
            return await self._unknown(text)
        except Unauthenticated as refused:
            await self._failures.check(caller.address)
            await self._fail(caller, refused)
            await asyncio.sleep(max(0.0, began + _FLOOR_S - self._clock()))
            raise Unauthenticated from None

    async def check_confirmed(self, caller: Caller) -> None:
        """A call by key shows it; a login must have had its own shown a moment ago. Raises `Denied`."""
        if self._sessions is not None and _by_login(caller):
            self._sessions.check_confirmed((await self._session(caller)).login)

    async def refuse(self, caller: Caller) -> None:
        """Count a key that is good, but not for what it was shown, as one that is not."""
        await self._failures.check(caller.address)
        await self._fail(caller, Unauthenticated())

    def doubt(self) -> None:
        """Some key changed somewhere: look every one up again at its next use."""
        self._epoch += 1

    async def _session(self, caller: Caller) -> Session:
        if self._sessions is None:
            raise Unauthenticated
        try:
            async with asyncio.timeout(_STORAGE_S):
                session = await self._sessions.of(caller)
        except Unknown:
            await self._failures.check(caller.address)
            await self._fail(caller, Unauthenticated())
            raise Unauthenticated from None
        except AsahiError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, storage cannot say who this is
            self._gateway.faults["auth.storage"] += 1
            raise _away(error) from None
        if session is None:
            raise Unauthenticated
        return session

    async def _fail(self, caller: Caller, refused: Unauthenticated) -> None:
        """Count it, and note it: who from where, and the key's id, never the key."""
        failed = await self._failures.count(caller.address)
        org = refused.org if isinstance(refused, Refused) else None
        actor = Actor(
            org=org or self._gateway.settings.governance.operator_org,
            user="-",
            ip_address=caller.address,
            user_agent=caller.headers.get("user-agent"),
        )
        named = {"key_id": refused.key_id} if isinstance(refused, Refused) else {}
        last = {"limited": True} if failed >= self._config.failed_per_minute else {}
        told = {**named, "method": caller.method, **last}
        self._gateway.audit.note(entry_of(actor, "auth_failure", caller.path, told, result="denied"))

    def _known_now(self, text: str) -> Principal | None:
        """Whom a key speaks for, if that was looked up a moment ago; raises `Unauthenticated` for what is no key."""
        digest = key_digest(text)
        if (principal := self._bootstrap.get(digest)) is not None:
            return principal
        if read(text) is None:
            raise Unauthenticated
        known = self._known.get(digest)
        if known is None or known.epoch != self._epoch or self._clock() - known.seen >= self._config.identity_ttl_s:
            return None
        return _unexpired(known)

    async def _unknown(self, text: str) -> Principal:
        return await self._looked_up(key_digest(text), read(text) or "", text)

    def forget(self, key_id: str) -> None:
        """Look a key up again at its next use, in this process."""
        for digest in [each for each, known in self._known.items() if known.principal.key_id == key_id]:
            del self._known[digest]

    async def _looked_up(self, digest: bytes, key_id: str, text: str) -> Principal:
        """Callers with one key wait for one look."""
        task = self._looking.get(digest)
        if task is None:
            task = self._looking[digest] = asyncio.get_running_loop().create_task(self._look(digest, key_id, text))
            task.add_done_callback(lambda _: self._looking.pop(digest, None))
        return await asyncio.shield(task)

    async def _look(self, digest: bytes, key_id: str, text: str) -> Principal:
        epoch = self._epoch
        try:
            async with asyncio.timeout(_STORAGE_S):
                key = await self._keys.get_key(key_id)
        except Exception as error:  # noqa: BLE001 - whatever it is, storage cannot say who this is
            self._gateway.faults["auth.storage"] += 1
            return self._remembered(digest, error)
        version, kept = (key.pepper_version, key.key_hash) if key else (self._peppers.newest, "")
        good = self._peppers.verify(text, kept, version)
        if key is None or not good or key.revoked:
            self._known.pop(digest, None)
            raise Refused(key_id, key.org_id if key else None)
        identity = _Identity(principal_of(key), key.expires_at, self._clock(), epoch)
        self._remember(digest, identity)
        principal = _unexpired(identity)
        self._gateway.detach(self._used(key, text))
        return principal

    def _remembered(self, digest: bytes, error: Exception) -> Principal:
        known = self._known.get(digest)
        if known is not None and self._clock() - known.seen < self._config.snapshot_max_age_s:
            return _unexpired(known)
        raise _away(error) from None

    def _remember(self, digest: bytes, identity: _Identity) -> None:
        self._known[digest] = identity
        self._known.move_to_end(digest)
        if len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    async def _used(self, key: ApiKey, text: str) -> None:
        """Note the use, and put the key under the newest pepper. Nobody waits for it, and it may fail."""
        try:
            async with asyncio.timeout(_STORAGE_S):
                await self._keys.touch(key.org_id, key.key_id, clock.now())
                if key.pepper_version != self._peppers.newest:
                    await self._keys.rehash(key.org_id, key.key_id, self._peppers.sign(text), self._peppers.newest)
        except Exception as error:  # noqa: BLE001 - the next use notes it
            self._gateway.faults["auth.storage"] += 1
            log.warning("the use of a key could not be noted (%s)", type(error).__name__)


def _by_login(caller: Caller) -> bool:
    return "authorization" not in caller.headers and "x-api-key" not in caller.headers


def key_digest(text: str) -> bytes:
    """All of a key, as what it is remembered by."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _unexpired(identity: _Identity) -> Principal:
    if identity.expires_at <= clock.now():
        raise Unauthenticated
    return identity.principal


def _away(error: Exception) -> Unavailable:
    log.warning("a key could not be looked up (%s)", type(error).__name__)
    return Unavailable(
        "storage cannot be reached, so this key cannot be looked up", code="storage_unavailable", retry_after=5
    )


def principal_of(key: ApiKey) -> Principal:
    """Whom a key speaks for, and what it may do."""
    found = permissions(key.role, key.scopes)
    role = key.role if key.role in {"admin", "developer", "viewer", "billing"} else "viewer"
    return msgspec.convert(
        {
            "org": key.org_id,
            "user": key.user_id,
            "key_id": key.key_id,
            "role": role,
            "permissions": list(found),
            "may_act_for_users": key.may_act_for_users,
        },
        Principal,
    )
