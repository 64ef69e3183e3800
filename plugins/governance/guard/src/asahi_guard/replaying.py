"""Replaying: what a policy would have done to an org's past requests, by their events."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from asahi_guard.demands import demands_of, unfit
from asahi_guard.models import fault
from asahi_kernel import clock
from asahi_kernel.errors import Unavailable
from asahi_kernel.money import dollars
from asahi_kernel.records import OWN
from asahi_kernel.standing import Standing

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.records import Event
    from asahi_kernel.repositories.rules import OrgPolicy

_DAYS = 7
_IDS = 50
_PATIENCE_S = 30.0
_MINUTE = timedelta(minutes=1)


async def replay(gateway: Gateway, policy: OrgPolicy) -> dict[str, Any]:
    """Counts, reasons and up to 50 request ids. Money as it was billed, and as it would have been: a refused request
    costs nothing, and one that Asahi had routed to a model that is not permitted goes to the cheapest that is."""
    until = clock.now()
    course = _Course(gateway, policy)
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await gateway.journal.catch_up()
            async for event in gateway.storage.events.between(policy.org_id, until - timedelta(days=_DAYS), until):
                if event.route != OWN and event.status != "denied":
                    course.take(event)
    except TimeoutError:
        raise Unavailable("the events could not be read in time", code="storage_unavailable", retry_after=30) from None
    return course.told() | {"org_id": policy.org_id, "from": until - timedelta(days=_DAYS), "to": until}


class _Course:
    """The requests in their order, as the policy would have met them."""

    def __init__(self, gateway: Gateway, policy: OrgPolicy) -> None:
        self._gateway = gateway
        self._policy = policy
        self._demands = demands_of(Standing(org=policy.org_id, policy=policy))
        self._requests = 0
        self._refused: Counter[str] = Counter()
        self._rerouted = 0
        self._ids: list[dict[str, str]] = []
        self._billed = self._would = 0
        self._minute: deque[tuple[datetime, int]] = deque()
        self._tokens = 0
        self._day = self._month = ""
        self._of_day = self._spent_day = self._spent_month = 0

    def take(self, event: Event) -> None:
        """One request: refused for the first reason that holds, or counted."""
        self._requests += 1
        self._billed += event.cost or 0
        self._turn(event.timestamp)
        cost, reason = self._model(event)
        reason = reason or self._limits(event, cost)
        if reason:
            self._refused[reason] += 1
            if len(self._ids) < _IDS:
                self._ids.append({"request_id": event.request_id, "reason": reason})
            return
        self._would += cost
        self._of_day += 1
        self._spent_day += cost
        self._spent_month += cost
        self._minute.append((event.timestamp, event.total_tokens))
        self._tokens += event.total_tokens

    def told(self) -> dict[str, Any]:
        """The outcome."""
        return {
            "requests": self._requests,
            "refused": self._refused.total(),
            "rerouted": self._rerouted,
            "reasons": dict(self._refused),
            "request_ids": self._ids,
            "cost": dollars(self._billed),
            "cost_under_policy": dollars(self._would),
            "cost_difference": dollars(self._would - self._billed),
        }

    def _turn(self, moment: datetime) -> None:
        """Into the windows that the moment is in."""
        day, month = f"{moment:%Y-%m-%d}", f"{moment:%Y-%m}"
        if day != self._day:
            self._day, self._of_day, self._spent_day = day, 0, 0
        if month != self._month:
            self._month, self._spent_month = month, 0
        while self._minute and self._minute[0][0] <= moment - _MINUTE:
            self._tokens -= self._minute.popleft()[1]

    def _model(self, event: Event) -> tuple[int, str]:
        """The cost at the model that might answer, or why none might."""
        cost = event.cost or 0
        reason = self._unpermitted(event.model_selected) if event.model_selected else ""
        if not reason:
            return cost, ""
        others = [each for each in self._gateway.registry.chat if not self._unpermitted(each.name) and each.prices]
        embeds = event.model_selected not in {each.name for each in self._gateway.registry.chat}
        if event.routing_mode == "explicit" or embeds or not others:
            return 0, reason
        self._rerouted += 1
        sizes = event.input_tokens, event.output_tokens
        return min(each.prices.plain(*sizes) for each in others if each.prices), ""

    def _unpermitted(self, name: str) -> str:
        if fault(self._gateway, self._policy, name):
            return "model_blocked"
        model = self._gateway.registry.by_name.get(name)
        return "data_residency" if model is not None and unfit(self._gateway, self._demands, model) else ""

    def _limits(self, event: Event, cost: int) -> str:
        """In the order in which they are checked on a request."""
        policy = self._policy
        over = {
            "max_requests_per_minute": len(self._minute) + 1,
            "max_tokens_per_minute": self._tokens + event.total_tokens,
            "max_requests_per_day": self._of_day + 1,
            "max_cost_per_request": cost,
            "max_cost_per_day": self._spent_day + cost,
            "max_cost_per_month": self._spent_month + cost,
        }
        for name, value in over.items():
            limit = getattr(policy, name)
            if limit is not None and value > limit:
                return name
        return ""
