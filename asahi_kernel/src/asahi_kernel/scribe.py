"""The scribe: writes down what was asked and answered for the orgs that want it, off the path of requests."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

from asahi_kernel import words
from asahi_kernel.errors import Unstorable
from asahi_kernel.lines import CHANGE
from asahi_kernel.repositories.subjects import subject_of
from asahi_kernel.repositories.work import Body

if TYPE_CHECKING:
    from asahi_kernel.repositories import Repositories
    from asahi_kernel.standing import Standings
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Completion, Principal, Request

log = logging.getLogger(__name__)

#: What may wait to be written, in a process. What comes on top is lost, and counted.
MOST_WAITING, MOST_BYTES = 10_000, 64 << 20
_BATCH, _BATCH_BYTES = 200, 1 << 20
_BATCH_S, _RETRY_S, _STORAGE_S = 0.2, 1.0, 5.0
#: What an entry takes beside its words.
_AROUND = 2_000


class _Heard(Struct, frozen=True):
    request_id: str
    org: str
    user: str | None
    at: datetime
    request: Request
    completion: Completion
    size: int


class Scribe:
    """`hear` never waits and raises nothing. What storage does not take stays here within bounds, and is lost with the
    process: words are no money. `days` is how long the operator keeps anything."""

    def __init__(self, kept: Repositories, standings: Standings, faults: Counter[str], days: int) -> None:
        self._kept, self._standings, self._faults, self._days = kept, standings, faults, days
        self._waiting: deque[_Heard] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._failing = self._full = False

    @property
    def waiting(self) -> int:
        """Answers that are not written yet."""
        return len(self._waiting)

    def hear(self, request: Request, principal: Principal, trace: Trace, completion: Completion) -> None:
        """An answer went out. It is kept where its org wants that and may, and the request does not say otherwise."""
        if not request.terms.keep_prompt or not self._standings.known(principal.org).stores_prompts:
            return
        size = words.weight(request, completion) + _AROUND
        if len(self._waiting) >= MOST_WAITING or self._bytes + size > MOST_BYTES:
            self._lose(1)
            return
        self._full = False
        about = (trace.request_id, principal.org, principal.user, trace.timestamp)
        self._waiting.append(_Heard(*about, request, completion, size))
        self._bytes += size
        self._wake.set()

    async def write(self) -> None:
        """Until cancelled, soon after each answer."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(_BATCH_S)
            self._wake.clear()
            if not await self.flush():
                self._wake.set()
                await asyncio.sleep(_RETRY_S)

    async def flush(self) -> bool:
        """Write what is waiting now; false where storage does not take it, which then goes on waiting."""
        async with self._turn:
            while batch := self._next():
                try:
                    async with asyncio.timeout(_STORAGE_S):
                        await self._keep(batch)
                except Exception as error:  # noqa: BLE001 - fails open: it waits, and may be lost
                    self._faults["prompts.storage"] += 1
                    if not self._failing:
                        log.warning("prompts cannot be stored (%s); they wait", type(error).__name__, extra=CHANGE)
                    self._failing = True
                    return False
                for _ in batch:
                    self._bytes -= self._waiting.popleft().size
                if self._failing:
                    log.warning("prompts are stored again", extra=CHANGE)
                self._failing = False
            return True

    async def forget(self, org: str) -> int:
        """What waits of an org, once storage had its chance, is not written any more, as when somebody of it is being
        erased; how much that was."""
        await self.flush()
        async with self._turn:
            staying = [each for each in self._waiting if each.org != org]
            gone = len(self._waiting) - len(staying)
            self._waiting = deque(staying)
            self._bytes = sum(each.size for each in staying)
        return gone

    async def close(self) -> None:
        """Write what storage takes; the rest is lost."""
        if not await self.flush():
            self._lose(len(self._waiting))
            self._waiting.clear()

    def _next(self) -> list[_Heard]:
        batch, size = list[_Heard](), 0
        for each in self._waiting:
            if batch and (len(batch) >= _BATCH or size + each.size > _BATCH_BYTES):
                break
            batch.append(each)
            size += each.size
        return batch

    async def _keep(self, batch: Sequence[_Heard]) -> None:
        """What its org wants and may keep by now too."""
        lives = {org: await self._life(org) for org in {each.org for each in batch}}
        bodies = [self._body(each, life) for each in batch if (life := lives[each.org]) is not None]
        try:
            await self._kept.bodies.save_all(bodies)
        except Unstorable:  # some are there, from a time whose end was not heard; or one can never be stored
            for body in bodies:
                await self._keep_one(body)

    async def _keep_one(self, body: Body) -> None:
        try:
            await self._kept.bodies.save(body)
        except Unstorable as error:
            self._lose(1)
            log.warning("the words of request %s can never be stored: %s", body.request_id, error)

    async def _life(self, org: str) -> timedelta | None:
        standing = await self._standings.of(org)
        if not standing.stores_prompts:
            return None
        profile = standing.profile
        return timedelta(days=self._days if profile is None else min(self._days, profile.retention_days))

    def _body(self, heard: _Heard, life: timedelta) -> Body:
        return Body(
            request_id=heard.request_id,
            org_id=heard.org,
            subject=subject_of(heard.org, heard.user),
            expires_at=heard.at + life,
            request=words.asked(heard.request),
            response=words.answered(heard.completion),
        )

    def _lose(self, count: int) -> None:
        self._faults["prompts.lost"] += count
        if not self._full:
            log.warning("prompts are lost: too many wait to be stored, or storage is away", extra=CHANGE)
        self._full = True
