"""Erasing subjects from a storage in this process."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from asahi_kernel.builtins.memory_books import MemoryRollups
from asahi_kernel.builtins.memory_idempotency import MemoryIdempotency
from asahi_kernel.builtins.memory_shelf import Shelf
from asahi_kernel.records import Decision, Event


class MemoryPurge:
    """See `asahi_kernel.purging`."""

    def __init__(
        self,
        events: Shelf[Event],
        decisions: Shelf[Decision],
        rollups: MemoryRollups,
        idempotency: MemoryIdempotency,
    ) -> None:
        self._events = events
        self._decisions = decisions
        self._rollups = rollups
        self._idempotency = idempotency

    async def user(self, org: str, user: str) -> Mapping[str, int]:
        own = [event for event in self._events.of(org) if event.user_id == user]
        for event in own:
            self._events.change(replace(event, user_id=None, client_request_id=None, tags={}))
            if (decision := self._decisions.get(org, event.request_id)) is not None:
                self._decisions.change(replace(decision, user_id=None))
        return {
            "inference_events": len(own),
            "usage_rollups": self._rollups.forget(org, user),
            "idempotency_keys": self._idempotency.forget(org, {event.request_id for event in own}),
        }

    async def org(self, org: str) -> Mapping[str, int]:
        self._decisions.clear(org)
        return {
            "inference_events": self._events.clear(org),
            "usage_rollups": self._rollups.forget(org, None),
            "idempotency_keys": self._idempotency.forget(org, None),
        }

    async def residues(self, org: str, user: str | None) -> int:
        events = [event for event in self._events.of(org) if user is None or event.user_id == user]
        return len(events) + self._rollups.naming(org, user)

    async def scrub(self) -> None:
        """Memory has no files."""
