"""Subjects: whose data something is. Erasing one takes its rows away; what must stay says no longer whose it was."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from asahi_kernel.repositories.agents import OUTPUTS, PROFILES, RUNS, STATES
from asahi_kernel.repositories.alert_rules import ALERT_RULES
from asahi_kernel.repositories.audit import ERASED, Audit
from asahi_kernel.repositories.judgements import ALERTS, JUDGEMENTS, LABELS, OPINIONS
from asahi_kernel.repositories.people import KEYS, LOGINS, TENANTS, ApiKey, Tenant
from asahi_kernel.repositories.records import Rows, Shape, Where
from asahi_kernel.repositories.rules import COMPLIANCE, POLICIES, SETTINGS
from asahi_kernel.repositories.work import BODIES, DATA_KEYS, JOBS

_MOST, _PAGE = 1_000_000, 100


class Erasure(Struct, frozen=True, kw_only=True):
    """An order to erase a user of an org, or the org. `subject` is the user's name, sealed, and gone when it is done.
    `residues` is how much was still found afterwards; `counts` says how much went from where."""

    erasure_id: str
    org_id: str
    requested_at: datetime
    state: Literal["queued", "running", "done"] = "queued"
    whole_org: bool = False
    subject: bytes | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    residues: int | None = None
    counts: dict[str, int] = {}


ERASURES = Shape(
    table="erasures",
    record=Erasure,
    identity=("erasure_id",),
    order="requested_at",
    sealed=frozenset({"subject"}),
    # Read after the subject's own key is destroyed, until the order is carried out.
    owner="",
)
#: What goes with its org, whole.
_OF_ORG: tuple[Shape[Any], ...] = (
    KEYS, LOGINS, POLICIES, COMPLIANCE, SETTINGS, LABELS, JUDGEMENTS, OPINIONS, ALERTS, ALERT_RULES, BODIES, JOBS,
    STATES, OUTPUTS, RUNS, PROFILES,
)  # fmt: skip
#: Where a user is named beside what is the org's own.
_NAMED: tuple[tuple[Shape[Any], str], ...] = (
    (POLICIES, "updated_by"),
    (COMPLIANCE, "updated_by"),
    (SETTINGS, "updated_by"),
    (ALERT_RULES, "updated_by"),
    (KEYS, "revoked_by"),
    (ALERTS, "acknowledged_by"),
    (JUDGEMENTS, "user_id"),
)
#: What is a user's own.
_OF_USER: tuple[Shape[Any], ...] = (OPINIONS, LOGINS, JOBS)


def subject_of(org: str, user: str | None = None) -> str:
    """How a subject is called where data keys and bodies are: by a digest, which names nobody."""
    if user is None:
        return org
    return f"{org}/{hashlib.sha256(f'asahi subject {len(org)} {org} {user}'.encode()).hexdigest()[:32]}"


def owner_of(shape: Shape[Any], values: Where) -> str | None:
    """The subject whose key seals a record's values; None where they are the gateway's own."""
    if not shape.owner:
        return None
    named = values[shape.owner]
    return subject_of(values["org_id"], named) if shape.owner == "user_id" else str(named)


class Subjects:
    """Use within `together`."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._audit = Audit(rows)

    async def erase_user(self, org: str, user: str, now: datetime) -> dict[str, int]:
        """How many rows of which table went, or were changed."""
        rows, counts = self._rows, dict[str, int]()
        subject = subject_of(org, user)
        counts["event_bodies"] = await rows.of(BODIES).remove(org, {"subject": subject})
        counts["data_keys"] = await rows.of(DATA_KEYS).change(org, {"subject": subject, "erased_at": None}, _gone(now))
        for key in await rows.of(KEYS).select(org, {"user_id": user}, limit=_MOST):
            jobs = await rows.of(JOBS).remove(org, {"key_id": key.key_id})
            counts["jobs"] = counts.get("jobs", 0) + jobs
        to = {"user_id": ERASED, "name": "", "revoked": True, "revoked_at": now}
        counts["api_keys"] = await rows.of(KEYS).change(org, {"user_id": user}, to)
        for shape in _OF_USER:
            counts[shape.table] = counts.get(shape.table, 0) + await rows.of(shape).remove(org, {"user_id": user})
        for shape, field in _NAMED:
            changed = await rows.of(shape).change(org, {field: user}, {field: None})
            counts[shape.table] = counts.get(shape.table, 0) + changed
        counts["alert_rules"] += await rows.of(ALERT_RULES).remove(org, {"scope": "user", "subject": user})
        for rule in await rows.of(ALERT_RULES).select(org, limit=_MOST):
            if user in rule.name:
                to = {"name": f"{rule.metric} of {rule.subject or 'the organisation'}"}
                counts["alert_rules"] += await rows.of(ALERT_RULES).change(org, {"rule_id": rule.rule_id}, to)
        for alert in await rows.of(ALERTS).select(org, limit=_MOST):
            if user in alert.message or user in alert.metric_name:
                counts["alerts"] += await rows.of(ALERTS).remove(org, {"alert_id": alert.alert_id})
        counts["audit_entries"] = await self._audit.erase(org, user)
        return counts

    async def erase_org(self, org: str, now: datetime) -> dict[str, int]:
        """All of it. Its chains stay, and an empty tenant, so that nobody else gets its name."""
        rows = self._rows
        counts = {shape.table: await rows.of(shape).remove(org, {}) for shape in _OF_ORG}
        counts["data_keys"] = await rows.of(DATA_KEYS).change(org, {"erased_at": None}, _gone(now))
        counts["audit_entries"] = await self._audit.erase(org)
        to = {"name": org, "status": "erasing", "cache_salt": b"", "updated_at": now}
        counts["tenants"] = await rows.of(TENANTS).change(org, {}, to)
        return counts

    async def kept_of(self, org: str, user: str) -> AsyncIterator[tuple[str, Struct]]:
        """Every row that is a user's own, with its table. Use outside `together`."""
        rows = self._rows
        own: tuple[Shape[Any], ...] = (KEYS, LOGINS, OPINIONS, JUDGEMENTS, JOBS)
        for shape in own:
            for each in await rows.of(shape).select(org, {"user_id": user}, limit=_MOST):
                yield shape.table, each
                if isinstance(each, ApiKey):
                    for job in await rows.of(JOBS).select(org, {"key_id": each.key_id, "user_id": None}, limit=_MOST):
                        yield JOBS.table, job
        for rule in await rows.of(ALERT_RULES).select(org, {"scope": "user", "subject": user}):
            yield ALERT_RULES.table, rule
        bodies, before = {"subject": subject_of(org, user)}, None
        while page := await rows.of(BODIES).select(org, bodies, before=before, limit=_PAGE):
            for body in page:
                yield BODIES.table, body
            before = page[-1].request_id

    async def condemned(self) -> Sequence[Tenant]:
        """Those that are marked to be erased, and are not yet."""
        found = await self._rows.of(TENANTS).anywhere({"status": "erasing"}, limit=100_000)
        return [tenant for tenant in found if tenant.cache_salt]

    async def residues(self, org: str, user: str | None) -> int:
        """How many rows still name a user, or are an org's."""
        rows = self._rows
        if user is None:
            found = [await rows.of(shape).select(org, limit=1_000) for shape in _OF_ORG]
            return sum(map(len, found)) + await self._living_keys(org, None)
        count = 0
        count += len(await rows.of(ALERT_RULES).select(org, {"scope": "user", "subject": user}))
        for shape, field in (*_NAMED, *((shape, "user_id") for shape in (*_OF_USER, KEYS))):
            count += len(await rows.of(shape).select(org, {field: user}, limit=1_000))
        count += len(await rows.of(BODIES).select(org, {"subject": subject_of(org, user)}))
        async for entry in self._audit.entries(org):
            count += entry.user_id == user or user in entry.resource
        return count + await self._living_keys(org, subject_of(org, user))

    async def _living_keys(self, org: str, subject: str | None) -> int:
        where = {"erased_at": None} if subject is None else {"erased_at": None, "subject": subject}
        return len(await self._rows.of(DATA_KEYS).select(org, where, limit=1_000))


class Erasures:
    """Orders to erase."""

    def __init__(self, rows: Rows) -> None:
        self._erasures = rows.of(ERASURES)

    async def order(self, erasure: Erasure) -> bool:
        """False when there is one of that id."""
        return await self._erasures.add(erasure)

    async def get(self, org: str, erasure_id: str) -> Erasure | None:
        """The org's own."""
        return await self._erasures.find(org, {"erasure_id": erasure_id})

    async def anywhere(self, erasure_id: str) -> Erasure | None:
        """In whatever org: for the operator."""
        found = await self._erasures.anywhere({"erasure_id": erasure_id})
        return found[0] if found else None

    async def of_org(self, org: str, *, whole_org: bool) -> Sequence[Erasure]:
        """Newest first."""
        return await self._erasures.select(org, {"whole_org": whole_org})

    async def in_state(self, state: str) -> Sequence[Erasure]:
        """Of all orgs."""
        return await self._erasures.anywhere({"state": state}, limit=1_000)

    async def move(self, erasure: Erasure, to: Erasure) -> bool:
        """Change one only if it still is as it was seen: of two workers one gets it."""
        fields = msgspec.structs.asdict(to)
        changed = {name: fields[name] for name in ("state", "started_at", "completed_at", "residues", "counts")}
        if to.state == "done":
            changed["subject"] = None
        where = {"erasure_id": erasure.erasure_id, "state": erasure.state, "started_at": erasure.started_at}
        return await self._erasures.change(erasure.org_id, where, changed) > 0


def _gone(now: datetime) -> dict[str, Any]:
    return {"wrapped_key": None, "erased_at": now}
