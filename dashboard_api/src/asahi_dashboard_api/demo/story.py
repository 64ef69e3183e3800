"""The story: what happens in the month besides questions. Each chapter is done through the API, by who may do it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from asahi_dashboard_api.demo.company import NAME, NEIGHBOUR, OLD_LAPTOP, PEOPLE, ZONE, Person
from asahi_dashboard_api.demo.door import Door, Reply
from asahi_dashboard_api.demo.questions import Body
from asahi_kernel import clock
from asahi_kernel.errors import ConfigError

Chapter: TypeAlias = Callable[[], Awaitable[object]]

_STRANGER = "203.0.113.77"


class Story:
    """`keys` are the living ones by the name of the key. `bootstrap` opens a gateway that knows nobody yet."""

    def __init__(self, door: Door, bootstrap: str, start: datetime, days: int) -> None:
        self._door = door
        self._bootstrap = bootstrap
        self._start, self._span = start, timedelta(days=days)
        self._ids: dict[str, str] = {}
        self.keys: dict[str, str] = {}
        self._chapters = self._plot(days)

    async def begin(self) -> None:
        """Everything that stands on the first morning. Raises `ConfigError` where a part of the gateway is missing."""
        operator = self._bootstrap
        await self._must("POST", "/governance/tenants", operator, {"org_id": NEIGHBOUR, "name": "Harbor Labs"})
        for person in (*PEOPLE, OLD_LAPTOP):
            await self._issue(person)
        ana = self.keys["ana's laptop"]
        general = {"organisation_name": NAME, "contact_email": "ana@kitsune.example", "timezone": ZONE}
        await self._must("PUT", "/settings", ana, {"general": general, "privacy": {"store_prompts": True}})
        await self._must("POST", "/governance/compliance/default", ana, {"frameworks": ["soc2"], "retention_days": 180})
        policy = {"max_requests_per_day": 5_000, "pii_action": "flag"}
        await self._must("POST", "/governance/policies/default", ana, policy)

    async def until(self, moment: datetime) -> None:
        """Live through the chapters that are due before a moment, each at its own time."""
        while self._chapters and self._chapters[0][0] <= moment:
            at, chapter = self._chapters.pop(0)
            if at > clock.now():
                clock.move(at)
            await chapter()

    def _plot(self, days: int) -> list[tuple[datetime, Chapter]]:
        chapters = [
            (0.10, self._stranger),
            (0.30, self._rotate),
            (0.45, self._revoke),
            (0.70, self._acknowledge),
            (0.705, self._set_limits),
            (0.75, self._clear),
            (0.88, self._allot),
            (0.95, self._acknowledge),
        ]
        found = [(self._start + self._span * share, chapter) for share, chapter in chapters]
        found += [(self._start + timedelta(days=day, hours=8.6), self._look_around) for day in range(0, days, 3)]
        return sorted(found, key=lambda each: each[0])

    async def _issue(self, person: Person) -> None:
        order: Body = {"user_id": person.user, "name": person.key, "role": person.role, "scopes": person.scopes}
        order |= {"expires_in_days": person.days} | ({"org_id": person.org} if person.org else {})
        made = (await self._must("POST", "/governance/api-keys", self._bootstrap, order)).json()
        self.keys[person.key], self._ids[person.key] = made["api_key"], made["key_id"]

    async def _look_around(self) -> None:
        """The admin logs in and reads."""
        ana = self.keys["ana's laptop"]
        await self._door.ask("POST", "/auth/login", "", {"api_key": ana}, address="10.20.0.4")
        for path in ("/governance/audit?limit=50", "/analytics/summary", "/governance/audit/verify"):
            await self._door.ask("GET", path, ana, address="10.20.0.4")

    async def _stranger(self) -> None:
        for number in range(4):
            await self._door.ask("GET", "/models", f"ask_guess{number}", address=_STRANGER)

    async def _rotate(self) -> None:
        path = f"/governance/api-keys/{self._ids['code review']}/rotate"
        made = (await self._must("POST", path, self.keys["ana's laptop"], {"overlap_hours": 24})).json()
        self.keys["code review"], self._ids["code review"] = made["api_key"], made["key_id"]

    async def _revoke(self) -> None:
        path = f"/governance/api-keys/{self._ids['old laptop']}"
        await self._door.ask("DELETE", path, self.keys["ana's laptop"], address="10.20.0.4")

    async def _acknowledge(self) -> None:
        ana = self.keys["ana's laptop"]
        found = (await self._must("GET", "/analytics/anomalies", ana)).json()["data"]
        for each in found:
            path = f"/analytics/anomalies/{each['id']}/acknowledge"
            await self._door.ask("POST", path, ana, {}, address="10.20.0.4")

    async def _set_limits(self) -> None:
        """The day after money was lost."""
        policy: Body = {"max_requests_per_day": 5_000, "max_cost_per_day": 25.0, "max_cost_per_request": 0.5}
        policy |= {"pii_action": "flag", "blocked_models": ["claude-opus-4"]}
        budget = {"level": "org", "window": "month", "limit": 120.0, "action": "warn", "alert_at": [0.5, 0.75, 1]}
        for path, body in (("/governance/policies/default", policy), ("/governance/budgets", budget)):
            await self._must("POST", path, self.keys["ana's laptop"], body)

    async def _clear(self) -> None:
        await self._door.ask("DELETE", "/cache/clear", self.keys["ana's laptop"], address="10.20.0.4")

    async def _allot(self) -> None:
        budget = {"level": "user", "subject": "lea", "window": "day", "limit": 0.05, "action": "refuse"}
        await self._must("POST", "/governance/budgets", self.keys["ana's laptop"], budget)

    async def _must(self, method: str, path: str, key: str, body: Any = None) -> Reply:
        reply = await self._door.ask(method, path, key, body, address="10.20.0.4")
        if reply.status >= 300:
            told = reply.body.decode("utf-8", "replace")[:300]
            raise ConfigError(f"the demonstration cannot go on: {method} {path} answered {reply.status}: {told}")
        return reply
