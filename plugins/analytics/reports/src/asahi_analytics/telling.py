"""Telling the operator of an alert: the log, a metric, and the webhook. The page and the mail read what is kept."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asahi_analytics.webhook import Webhook
    from asahi_kernel.repositories.judgements import Alert

log = logging.getLogger("asahi.alerts")

#: Where the teller of this process is, while the service is open.
TELLER = "analytics.teller"


class Teller:
    """Says what became of an alert, in the process that found it out."""

    def __init__(self, faults: Counter[str], webhook: Webhook | None = None) -> None:
        self.webhook = webhook
        self._faults = faults

    def tell(self, state: str, alert: Alert) -> None:
        """`state` is `raised`, `worse` or `resolved`. Never waits and never fails."""
        level = logging.INFO if state == "resolved" else logging.WARNING
        log.log(
            level,
            "alert %s: %s %s of org %s: %s",
            state,
            alert.severity,
            alert.anomaly_type,
            alert.org_id,
            alert.message,
        )
        self._faults[f"alerts.{state}.{alert.anomaly_type}"] += 1
        if self.webhook is not None:
            self.webhook.tell(state, alert)
