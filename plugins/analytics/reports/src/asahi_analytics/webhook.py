"""The operator's webhook: each alert as a POST of JSON, off every path. It follows no redirect, and a dead one harms
nothing."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from asahi_kernel.background import running
from asahi_kernel.errors import ConfigError

if TYPE_CHECKING:
    from asahi_analytics.config import AlertsConfig
    from asahi_kernel.http.client import Client
    from asahi_kernel.repositories.judgements import Alert

log = logging.getLogger("asahi.alerts")

#: Messages that wait; the oldest give way.
_MOST = 100
_TRIES = 3
_PAUSE_S = 1.0
#: What a test message says.
TEST = "this is a test: alerts of this organisation come here"


class Webhook:
    """Sends in order, each message up to three times."""

    def __init__(self, client: Client, path: str, timeout_s: float, faults: Counter[str]) -> None:
        self._client = client
        self._path = path
        self._timeout_s = timeout_s
        self._faults = faults
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(_MOST)

    def tell(self, state: str, alert: Alert) -> None:
        """Never waits and never fails."""
        if self._waiting.full():
            self._waiting.get_nowait()
            self._faults["alerts.webhook"] += 1
        told = msgspec.to_builtins(alert) | {
            "state": state,
            "text": f"[{alert.severity}] {alert.org_id}: {alert.message}",
        }
        self._waiting.put_nowait(msgspec.json.encode(told))

    async def test(self, org: str) -> str:
        """Send a test message now; empty when it was taken, else why not."""
        told = {"state": "test", "org_id": org, "severity": "info", "anomaly_type": "test", "message": TEST}
        return await self._refusal(msgspec.json.encode(told | {"text": f"[test] {org}: {TEST}"}))

    async def work(self) -> None:
        """Send what waits, for ever."""
        while True:
            body = await self._waiting.get()
            for attempt in range(_TRIES):
                if not await self._refusal(body):
                    break
                self._faults["alerts.webhook"] += 1
                await asyncio.sleep(_PAUSE_S * 2**attempt)
            else:
                log.warning("the alerts' webhook did not take a message; it is in the log and on the page all the same")

    async def _refusal(self, body: bytes) -> str:
        """Empty when it was taken, else why not, without the address."""
        until = asyncio.get_running_loop().time() + self._timeout_s
        try:
            answer = await self._client.post(self._path, body, until=until, head_until=until)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try may go well
            log.info("the alerts' webhook failed (%s)", type(error).__name__)
            late = asyncio.get_running_loop().time() >= until
            return "it did not answer in time" if late else "it could not be reached"
        answer.close()
        return "" if 200 <= answer.status < 300 else f"it answered {answer.status}"


@asynccontextmanager
async def open_webhook(config: AlertsConfig, faults: Counter[str]) -> AsyncIterator[Webhook | None]:
    """None where none is configured."""
    if config.webhook_url is None:
        yield None
        return
    from asahi_kernel.http.client import Client

    parts = urlsplit(config.webhook_url.reveal())
    readable = parts.geturl().isascii() and parts.geturl().isprintable() and " " not in parts.geturl()
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or not readable:
        raise ConfigError("services.alerts.webhook_url: this is no http or https address of a host")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    client = Client(f"{parts.scheme}://{parts.netloc}", {}, limit=2, connect_timeout_s=config.webhook_timeout_s)
    webhook = Webhook(client, path, config.webhook_timeout_s, faults)
    try:
        async with running(webhook.work()):
            yield webhook
    finally:
        await client.close()
