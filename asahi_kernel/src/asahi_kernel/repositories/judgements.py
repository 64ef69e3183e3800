"""What is known of answers afterwards: labels, quality, feedback; and what raised an alarm."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct

from asahi_kernel.repositories.records import Rows, Shape


class Label(Struct, frozen=True, kw_only=True):
    """Whether a near neighbour was the right answer, at which similarity."""

    org_id: str
    entry_id: str
    similarity: float
    correct: bool
    source: Literal["miss", "recheck", "feedback"]
    timestamp: datetime
    request_id: str | None = None


class Judgement(Struct, frozen=True, kw_only=True):
    """A quality observation: `score` 0..5, `weight` 1 for a person or a judge, less for a mere sign."""

    org_id: str
    request_id: str
    model: str
    task_type: str
    score: float
    source: Literal["feedback", "judge", "implicit"]
    timestamp: datetime
    difficulty: str | None = None
    weight: float = 1.0
    user_id: str | None = None


class Opinion(Struct, frozen=True, kw_only=True):
    """What a user thought of an answer; a later one replaces it. `comment` is UTF-8, and lies sealed."""

    org_id: str
    request_id: str
    user_id: str
    timestamp: datetime
    rating: float | None = None
    thumb: Literal["up", "down"] | None = None
    cache_wrong: bool | None = None
    comment: bytes | None = None


class Alert(Struct, frozen=True, kw_only=True):
    """An anomaly, or a budget that reached a share of itself."""

    alert_id: str
    org_id: str
    anomaly_type: str
    severity: str
    metric_name: str
    message: str
    detected_at: datetime
    current_value: float = 0.0
    expected_value: float = 0.0
    deviation_pct: float | None = None
    resolved_at: datetime | None = None
    acknowledged_by: str | None = None
    acknowledged_at: datetime | None = None


LABELS = Shape(table="semantic_labels", record=Label, identity=(), order="timestamp")
JUDGEMENTS = Shape(table="quality_observations", record=Judgement, identity=(), order="timestamp")
OPINIONS = Shape(
    table="feedback",
    record=Opinion,
    identity=("org_id", "request_id", "user_id"),
    order="timestamp",
    sealed=frozenset({"comment"}),
    owner="user_id",
)
ALERTS = Shape(table="alerts", record=Alert, identity=("alert_id",), order="detected_at")


class Labels:
    """Labels of the semantic cache."""

    def __init__(self, rows: Rows) -> None:
        self._labels = rows.of(LABELS)

    async def save(self, labels: Sequence[Label]) -> None:
        """All or none."""
        await self._labels.add_all(labels)

    async def of_org(
        self, org: str, *, entry_id: str | None = None, since: datetime | None = None, limit: int = 10_000
    ) -> Sequence[Label]:
        """Newest first."""
        where = {} if entry_id is None else {"entry_id": entry_id}
        return await self._labels.select(org, where, since=since, limit=limit)

    async def forget(self, org: str, entry_id: str) -> int:
        """Those of an entry that is gone."""
        return await self._labels.remove(org, {"entry_id": entry_id})


class Quality:
    """Quality observations."""

    def __init__(self, rows: Rows) -> None:
        self._judgements = rows.of(JUDGEMENTS)

    async def save(self, judgements: Sequence[Judgement]) -> None:
        """All or none."""
        await self._judgements.add_all(judgements)

    async def replace(self, judgement: Judgement) -> None:
        """A later judgement of one request by one user from one source replaces the earlier. Use `together`."""
        same = {"request_id": judgement.request_id, "user_id": judgement.user_id, "source": judgement.source}
        await self._judgements.remove(judgement.org_id, same)
        await self._judgements.add_all([judgement])

    async def of_org(
        self, org: str, *, model: str | None = None, since: datetime | None = None, limit: int = 10_000
    ) -> Sequence[Judgement]:
        """Newest first."""
        return await self._judgements.select(org, {} if model is None else {"model": model}, since=since, limit=limit)


class Feedback:
    """One opinion for each request and user."""

    def __init__(self, rows: Rows) -> None:
        self._opinions = rows.of(OPINIONS)

    async def save(self, opinion: Opinion) -> None:
        """In place of an earlier one."""
        await self._opinions.put(opinion)

    async def get(self, org: str, request_id: str, user_id: str) -> Opinion | None:
        """What this user thought."""
        return await self._opinions.find(org, {"request_id": request_id, "user_id": user_id})

    async def of_org(self, org: str, *, before: datetime | None = None, limit: int = 100) -> Sequence[Opinion]:
        """Newest first."""
        return await self._opinions.select(org, before=before, limit=limit)

    async def forget_user(self, org: str, user_id: str) -> int:
        """All that a user said."""
        return await self._opinions.remove(org, {"user_id": user_id})


class Alerts:
    """Alerts of an org."""

    def __init__(self, rows: Rows) -> None:
        self._alerts = rows.of(ALERTS)

    async def raise_alert(self, alert: Alert) -> bool:
        """False when it was raised before."""
        return await self._alerts.add(alert)

    async def open_of(self, org: str, metric_name: str) -> Alert | None:
        """The alert of a metric that is not resolved yet."""
        return await self._alerts.find(org, {"metric_name": metric_name, "resolved_at": None})

    async def get(self, org: str, alert_id: str) -> Alert | None:
        """The org's own."""
        return await self._alerts.find(org, {"alert_id": alert_id})

    async def unresolved(self, org: str, limit: int = 500) -> Sequence[Alert]:
        """Those that are not resolved yet, newest first."""
        return await self._alerts.select(org, {"resolved_at": None}, limit=limit)

    async def unresolved_anywhere(self) -> Sequence[Alert]:
        """The same of every org, for jobs of the gateway itself."""
        return await self._alerts.anywhere({"resolved_at": None}, limit=100_000)

    async def revise(self, alert: Alert) -> bool:
        """Tell an open alert's severity, value and message anew; False when it is resolved meanwhile."""
        named = ("severity", "current_value", "expected_value", "deviation_pct", "message")
        to = {name: getattr(alert, name) for name in named}
        return await self._alerts.change(alert.org_id, {"alert_id": alert.alert_id, "resolved_at": None}, to) > 0

    async def of_org(
        self, org: str, *, since: datetime | None = None, before: datetime | None = None, limit: int = 100
    ) -> Sequence[Alert]:
        """Newest first."""
        return await self._alerts.select(org, since=since, before=before, limit=limit)

    async def resolve(self, org: str, alert_id: str, at: datetime) -> bool:
        """Once."""
        return await self._alerts.change(org, {"alert_id": alert_id, "resolved_at": None}, {"resolved_at": at}) > 0

    async def acknowledge(self, org: str, alert_id: str, by: str, at: datetime) -> bool:
        """Once: the first who does."""
        to = {"acknowledged_by": by, "acknowledged_at": at}
        return await self._alerts.change(org, {"alert_id": alert_id, "acknowledged_at": None}, to) > 0
