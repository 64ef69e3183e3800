"""Watching: keeps what was found out about served answers, and raises an alert when the error bound is broken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from asahi_kernel import clock
from asahi_kernel.alerting import alert, resolve
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.judgements import Label

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_semantic.controller import Precision
    from asahi_semantic.looking import Candidate

log = logging.getLogger(__name__)


class Watch:
    """Called with each served answer that a recheck or a person has judged."""

    def __init__(self, gateway: Gateway, precision: Callable[[str], Sequence[Precision]]) -> None:
        self._gateway = gateway
        self._precision = precision
        self._breached: set[tuple[str, str]] = set()

    def __call__(
        self, org: str, task: str, served: Candidate, right: bool, source: Literal["recheck", "feedback"]
    ) -> None:
        label = Label(
            org_id=org,
            entry_id=served.entry.entry_id,
            similarity=served.similarity,
            correct=right,
            source=source,
            timestamp=clock.now(),
        )
        self._gateway.detach(self._keep(label))
        found = next((each for each in self._precision(org) if each.task == task), None)
        if found is None:
            return
        metric, was = f"false_hits:{task}", (org, task) in self._breached
        if found.state == "breached" and not was:
            self._breached.add((org, task))
            alert(
                self._gateway,
                org,
                "false_hits",
                metric,
                f"{found.false_hits} of {found.labelled_hits} checked semantic hits of the task {task!r} were wrong: "
                f"above the bound of {found.max_error_rate:.1%}, so none are served until that is proven again",
                severity="critical",
                current=found.rate,
                expected=found.max_error_rate,
            )
        elif found.state != "breached" and was:
            self._breached.discard((org, task))
            resolve(self._gateway, org, metric)

    async def _keep(self, label: Label) -> None:
        storage = self._gateway.storage
        if not isinstance(storage, Governing):
            return
        try:
            await storage.repositories.labels.save([label])
        except Exception as error:  # noqa: BLE001 - the controller has learnt from it all the same
            self._gateway.faults["cache.semantic.labels"] += 1
            log.warning("a label could not be kept (%s)", type(error).__name__)
