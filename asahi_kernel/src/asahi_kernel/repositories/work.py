"""Bodies, data keys and jobs: what must lie sealed, the keys that seal it, and requests that are answered later."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct

from asahi_kernel.identity import first_id
from asahi_kernel.repositories.records import Rows, Shape

#: Keys are small; bodies are not.
_PAGE, _BODIES = 1_000, 200

State = Literal["queued", "running", "done", "failed", "cancelled"]


class Body(Struct, frozen=True, kw_only=True):
    """The prompt and the answer of a request, where they may be kept. `subject` names whose data key seals them."""

    request_id: str
    org_id: str
    subject: str
    expires_at: datetime
    request: bytes | None = None
    response: bytes | None = None


class DataKey(Struct, frozen=True, kw_only=True):
    """A data key of a subject, wrapped by a key-encryption key. Erased: the key is gone, and what it sealed with it.
    What it sealed names it by its random `key_name`, which no other key ever has."""

    subject: str
    org_id: str
    key_version: int
    kek_id: str
    created_at: datetime
    key_name: str = ""
    wrapped_key: bytes | None = None
    erased_at: datetime | None = None


class Job(Struct, frozen=True, kw_only=True):
    """A request that is answered by its deadline."""

    request_id: str
    org_id: str
    deadline: datetime
    created_at: datetime
    state: State = "queued"
    key_id: str | None = None
    user_id: str | None = None
    provider_batch_id: str | None = None
    request: bytes | None = None
    response: bytes | None = None
    error: str | None = None


BODIES = Shape(
    table="event_bodies",
    record=Body,
    identity=("request_id",),
    order="request_id",
    sealed=frozenset({"request", "response"}),
    owner="subject",
)
#: Wrapped already, by a key that is not in the database: sealing it again would bind its rotation to ours.
DATA_KEYS = Shape(table="data_keys", record=DataKey, identity=("subject", "key_version"), order="key_version")
JOBS = Shape(
    table="jobs",
    record=Job,
    identity=("request_id",),
    order="request_id",
    sealed=frozenset({"request", "response"}),
    owner="user_id",
)


class Bodies:
    """Prompts and answers."""

    def __init__(self, rows: Rows) -> None:
        self._bodies = rows.of(BODIES)

    async def save(self, body: Body) -> bool:
        """False when that request's are there."""
        return await self._bodies.add(body)

    async def save_all(self, bodies: Sequence[Body]) -> None:
        """All or none: `Unstorable` when one of them is there already."""
        await self._bodies.add_all(bodies)

    async def get(self, org: str, request_id: str) -> Body | None:
        """The org's own."""
        return await self._bodies.find(org, {"request_id": request_id})

    async def holds(self, org: str) -> bool:
        """Whether the org has one."""
        return await self._bodies.find(org, {}) is not None

    async def forget_before(self, org: str, moment: datetime) -> int:
        """Those of requests from before, whatever end they have; how many there were."""
        gone = 0
        while old := await self._bodies.select(org, before=first_id(moment), limit=_BODIES):
            for body in old:
                gone += await self._bodies.remove(org, {"request_id": body.request_id})
        return gone

    async def forget(self, org: str, subject: str | None = None) -> int:
        """Those of a subject, or of the whole org."""
        return await self._bodies.remove(org, {} if subject is None else {"subject": subject})

    async def expire(self, now: datetime) -> int:
        """Forget those that are past their time."""
        return await self._bodies.expire("expires_at", now)


class DataKeys:
    """Data keys of subjects."""

    def __init__(self, rows: Rows) -> None:
        self._keys = rows.of(DATA_KEYS)

    async def save(self, key: DataKey) -> bool:
        """False when that version is there: somebody else was quicker, use theirs."""
        return await self._keys.add(key)

    async def get(self, org: str, subject: str, version: int | None = None) -> DataKey | None:
        """The newest, or that version."""
        where = {"subject": subject} if version is None else {"subject": subject, "key_version": version}
        return await self._keys.find(org, where)

    async def of_org(self, org: str, limit: int = 10_000) -> Sequence[DataKey]:
        """All of an org."""
        return await self._keys.select(org, limit=limit)

    async def named(self, org: str, name: str) -> DataKey | None:
        """The one of that name, if it is the org's, erased or not."""
        return await self._keys.find(org, {"key_name": name})

    async def wrapped_by_others(self, kek_id: str) -> AsyncIterator[DataKey]:
        """Keys of all orgs that another key-encryption key than this one wraps, for rotation: also those that are made
        meanwhile."""
        place = 0
        while page := await self._keys.walk(place, _PAGE):
            place = page[-1][0]
            for _, key in page:
                if key.kek_id != kek_id and key.wrapped_key is not None:
                    yield key

    async def rewrap(self, key: DataKey, wrapped_key: bytes, kek_id: str) -> bool:
        """The same key under another key-encryption key."""
        where = {"subject": key.subject, "key_version": key.key_version, "erased_at": None}
        return await self._keys.change(key.org_id, where, {"wrapped_key": wrapped_key, "kek_id": kek_id}) > 0

    async def erase(self, org: str, subject: str, at: datetime) -> int:
        """Destroy every key of a subject."""
        to = {"wrapped_key": None, "erased_at": at}
        return await self._keys.change(org, {"subject": subject, "erased_at": None}, to)


class Jobs:
    """Requests that are answered later."""

    def __init__(self, rows: Rows) -> None:
        self._jobs = rows.of(JOBS)

    async def add(self, job: Job) -> bool:
        """False when it is there."""
        return await self._jobs.add(job)

    async def get(self, org: str, request_id: str) -> Job | None:
        """The org's own."""
        return await self._jobs.find(org, {"request_id": request_id})

    async def in_state(self, state: State, limit: int = 1_000) -> Sequence[Job]:
        """Of all orgs: for whoever works on them."""
        return await self._jobs.anywhere({"state": state}, limit=limit)

    async def move(self, job: Job, to: Job) -> bool:
        """Change a job only if it still is in the state that it was seen in: of two workers one gets it."""
        changed = msgspec.structs.asdict(to)
        fields = {name: changed[name] for name in ("state", "provider_batch_id", "response", "error", "deadline")}
        where = {"request_id": job.request_id, "state": job.state, "user_id": job.user_id}
        return await self._jobs.change(job.org_id, where, fields) > 0
