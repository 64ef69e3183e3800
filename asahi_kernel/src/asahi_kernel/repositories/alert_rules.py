"""Alert rules: what an org wants to be told of, beside what every org is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct

from asahi_kernel.repositories.records import Rows, Shape

#: So many an org has at most.
MOST = 50
_EVERYWHERE = 100_000


class AlertRule(Struct, frozen=True, kw_only=True):
    """It fires when `metric` of a scope has been over, or under, a threshold for `for_min` minutes, each time looked at
    over the `window_min` minutes before. `threshold` is in dollars, milliseconds, requests or tokens, or a fraction of
    one. `subject` is the key, user, model or task; of the org it is empty. Fewer than `min_requests` say nothing."""

    rule_id: str
    org_id: str
    name: str
    metric: str
    scope: Literal["org", "key", "user", "model", "task"]
    direction: Literal["over", "under"]
    threshold: float
    created_at: datetime
    updated_at: datetime
    subject: str = ""
    window_min: int = 60
    for_min: int = 0
    severity: Literal["warning", "critical"] = "warning"
    min_requests: int = 0
    enabled: bool = True
    version: int = 1
    updated_by: str | None = None


ALERT_RULES = Shape(table="alert_rules", record=AlertRule, identity=("rule_id",), order="created_at")


class AlertRules:
    """Rules of an org."""

    def __init__(self, rows: Rows) -> None:
        self._rules = rows.of(ALERT_RULES)

    async def add(self, rule: AlertRule) -> bool:
        """False when the org has as many as it may. Use `together`."""
        if len(await self._rules.select(rule.org_id, limit=MOST)) >= MOST:
            return False
        return await self._rules.add(rule)

    async def get(self, org: str, rule_id: str) -> AlertRule | None:
        """The org's own."""
        return await self._rules.find(org, {"rule_id": rule_id})

    async def of_org(self, org: str) -> Sequence[AlertRule]:
        """In the order they were made."""
        return await self._rules.select(org, limit=MOST, newest=False)

    async def enabled(self) -> Sequence[AlertRule]:
        """Of every org, for who looks whether they fire."""
        return await self._rules.anywhere({"enabled": True}, limit=_EVERYWHERE)

    async def save(self, rule: AlertRule) -> AlertRule | None:
        """In the place of the version that it was read as, with the next one; None when somebody else was quicker."""
        saved = msgspec.structs.replace(rule, version=rule.version + 1)
        fixed = ("rule_id", "org_id", "created_at")
        to = {name: value for name, value in msgspec.structs.asdict(saved).items() if name not in fixed}
        where = {"rule_id": rule.rule_id, "version": rule.version}
        return saved if await self._rules.change(rule.org_id, where, to) else None

    async def remove(self, org: str, rule_id: str) -> bool:
        """Whether there was one."""
        return await self._rules.remove(org, {"rule_id": rule_id}) > 0
