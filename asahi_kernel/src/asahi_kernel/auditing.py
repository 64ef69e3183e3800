"""Auditing: who did what, handed to one writer that appends in batches, so that no org's chain ever forks."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from asahi_kernel import clock
from asahi_kernel.background import running
from asahi_kernel.errors import Unavailable, Unstorable
from asahi_kernel.identity import new_id
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.audit import AuditEntry

log = logging.getLogger("asahi.audit")

Result: TypeAlias = Literal["success", "denied", "error"]
Classification: TypeAlias = Literal["public", "internal", "confidential", "restricted"]

_Waiting: TypeAlias = tuple[AuditEntry, "asyncio.Future[None] | None"]

_BATCH = 1_000
_MOST = 100_000
_STORAGE_S = 5.0
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.25, 5.0


class Actor(Struct, frozen=True, kw_only=True):
    """Who does it, and from where."""

    org: str
    user: str
    ip_address: str | None = None
    user_agent: str | None = None


def entry_of(
    actor: Actor,
    action: str,
    resource: str,
    details: Mapping[str, Any] | None = None,
    *,
    org: str | None = None,
    result: Result = "success",
    classification: Classification = "internal",
) -> AuditEntry:
    """An entry of the org's log that is not linked yet; `org` is the org it is done to, else the actor's own."""
    return AuditEntry(
        entry_id=new_id(),
        timestamp=clock.now(),
        org_id=org or actor.org,
        user_id=actor.user,
        action=action,
        resource=_storable(resource)[:255],
        details={name: _storable(value) if type(value) is str else value for name, value in (details or {}).items()},
        ip_address=actor.ip_address,
        user_agent=_storable(actor.user_agent or "")[:200] or None,
        result=result,
        data_classification=classification,
    )


class AuditWriter:
    """The one writer of this process. A change that has a transaction of its own appends its entry there instead."""

    def __init__(self, storage: object, faults: Counter[str]) -> None:
        self._storage = storage if isinstance(storage, Governing) else None
        self._faults = faults
        self._waiting: deque[_Waiting] = deque()
        self._doubted: set[str] = set()
        self._most = _BATCH
        self._work = asyncio.Event()
        self._urgent = asyncio.Event()

    def note(self, entry: AuditEntry) -> None:
        """Append it soon, off the request path. While storage is away it waits here; past 100,000 waiting entries the
        newest are lost, which is counted as `audit.lost`."""
        if self._storage is None or len(self._waiting) >= _MOST:
            self._faults["audit.lost"] += 1
            return
        self._waiting.append((entry, None))
        self._work.set()

    async def record(self, entry: AuditEntry) -> None:
        """Append it now. Raises `Unavailable` when it cannot be: whoever asked must then change nothing."""
        if self._storage is None:
            raise Unavailable("this storage keeps no audit log", code="storage_unavailable")
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        self._work.set()
        self._urgent.set()
        await done

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write while the block lasts, and what is left at its end."""
        async with running(self._write()):
            yield
        while self._waiting and await self._append():
            pass
        if self._waiting:
            self._faults["audit.lost"] += len(self._waiting)
            log.error("%d audit entries could not be written before the end", len(self._waiting))

    async def _write(self) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                if await self._append():
                    pause = _FIRST_PAUSE_S
                    continue
                await self._rest(pause)
                pause = min(2 * pause, _LAST_PAUSE_S)

    async def _rest(self, pause: float) -> None:
        """Until it is worth another try, or somebody waits to hear that it is none."""
        self._urgent.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._urgent.wait()

    async def _append(self) -> bool:
        """Whether to go on at once. What nobody waits for stays waiting while storage is away."""
        batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            await self._keep([entry for entry, _ in batch])
        except Unstorable as error:
            self._split(batch, error)
            return True
        except BaseException as error:
            self._faults["audit.storage"] += 1
            self._put_back(batch)
            if not isinstance(error, Exception):
                raise
            log.warning("the audit log cannot be written (%s)", type(error).__name__)
            return False
        self._most = min(_BATCH, 2 * self._most)
        self._doubted.difference_update(entry.entry_id for entry, _ in batch)
        for _, done in batch:
            if done is not None:
                with suppress(asyncio.InvalidStateError):
                    done.set_result(None)
        return True

    async def _keep(self, entries: Sequence[AuditEntry]) -> None:
        assert self._storage is not None
        async with asyncio.timeout(_STORAGE_S), self._storage.together() as kept:
            there = {each.entry_id for each in entries if each.entry_id in self._doubted and await kept.audit.has(each)}
            await kept.audit.append([each for each in entries if each.entry_id not in there])

    def _put_back(self, batch: Sequence[_Waiting]) -> None:
        """A commit may have gone through although its answer never came: those entries are looked for next time."""
        for entry, done in reversed(batch):
            if done is None:
                self._waiting.appendleft((entry, None))
                self._doubted.add(entry.entry_id)
            elif not done.done():
                done.set_exception(_unwritable())

    def _split(self, batch: Sequence[_Waiting], error: Unstorable) -> None:
        """One of them can never be written: find it by halves, so that it holds up nothing else."""
        if len(batch) > 1:
            self._waiting.extendleft(reversed(batch))
            self._most = len(batch) // 2
            return
        ((entry, done),) = batch
        self._doubted.discard(entry.entry_id)
        self._faults["audit.lost"] += 1
        log.error("an audit entry of %s can never be written: %s", entry.action, error)
        if done is not None and not done.done():
            done.set_exception(_unwritable())


def _storable(text: str) -> str:
    """A text as every database takes it: one that it never takes would hold up whatever waits behind it."""
    return text.encode("utf-8", "replace").decode().replace("\0", "�")


def _unwritable() -> Unavailable:
    return Unavailable(
        "the audit log cannot be written, so nothing was changed", code="storage_unavailable", retry_after=5
    )
