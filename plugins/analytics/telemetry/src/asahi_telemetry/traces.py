"""The sink `traces`: exports a share of the settled requests as OpenTelemetry traces, where a collector is named."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asahi_kernel.background import repeated
from asahi_kernel.tracing import sampled, trace_id
from asahi_telemetry.collector import named, ourselves
from asahi_telemetry.reaching import Reaching, Silent

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Sink
    from asahi_kernel.records import Event
    from asahi_telemetry.config import TracesConfig
    from asahi_telemetry.spans import Layout

log = logging.getLogger(__name__)
_EVERY_S = 0.5
#: Requests in one message to the collector.
_BATCH = 200


class Traces:
    """`write` only takes a share of the events; a thread makes spans of them and sends them. A dead collector loses
    spans, which are counted, and nothing else."""

    def __init__(self, config: TracesConfig, gateway: Gateway, layout: Layout, exporter: OTLPSpanExporter) -> None:
        self._gateway = gateway
        self.share = gateway.settings.observability.trace_sample_rate
        self._salt = b"" if gateway.settings.observability.org_label else gateway.vault.derive("telemetry")
        self._layout = layout
        self._exporter = exporter
        self._waiting: deque[Event] = deque()
        self._most = config.max_queue
        self._reaching = Reaching(log, "traces", "the collector")

    async def write(self, events: Sequence[Event]) -> None:
        for event in events:
            if self._wanted(event):
                if len(self._waiting) < self._most:
                    self._waiting.append(event)
                else:
                    self._gateway.faults["traces.dropped"] += 1

    def _wanted(self, event: Event) -> bool:
        """As the caller says, or the share of those whose callers say nothing."""
        if event.parent is not None:
            return event.parent.sampled
        return sampled(trace_id(event.request_id), self.share)

    async def send(self) -> None:
        """Send what waits, in the order it came."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            sent = await asyncio.to_thread(self._export, batch)
            if not sent:
                self._gateway.faults["traces.dropped"] += len(batch)
            self._reaching.told(sent)

    def _export(self, batch: Sequence[Event]) -> bool:
        spans = [span for event in batch for span in self._layout.spans(event, self._org(event.org_id))]
        return self._exporter.export(spans).value == 0

    def _org(self, org: str) -> str:
        """Its name where the operator wants it told, else something that only tells orgs apart."""
        return hmac.new(self._salt, org.encode(), hashlib.sha256).hexdigest()[:16] if self._salt else org


@asynccontextmanager
async def opened(
    config: TracesConfig, gateway: Gateway, environment: Mapping[str, str] = os.environ
) -> AsyncIterator[Sink]:
    """The sink; without a collector in the environment it does nothing, and no SDK is loaded."""
    if not named("traces", environment):
        yield Silent()
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    from asahi_telemetry.spans import Layout

    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it tells of each failure; we of each change
    exporter = OTLPSpanExporter(timeout=config.timeout_s)
    traces = Traces(config, gateway, Layout(ourselves()), exporter)
    async with repeated("sink.traces", traces.send, _EVERY_S, gateway.faults):
        yield traces
    await traces.send()
    await asyncio.to_thread(exporter.shutdown)
