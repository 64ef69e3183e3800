"""The sink `meters`: what calls of vendors took, and how many tokens, by the GenAI conventions of OpenTelemetry, where
a collector is named."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asahi_kernel.background import repeated
from asahi_kernel.errors import ConfigError
from asahi_telemetry.collector import named, ourselves
from asahi_telemetry.distributions import Attributes, Distributions, Instrument
from asahi_telemetry.reaching import Reaching, Silent

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Sink
    from asahi_kernel.records import Attempt, Event
    from asahi_telemetry.config import MetersConfig

log = logging.getLogger(__name__)
TOKENS = Instrument(
    "gen_ai.client.token.usage",
    "{token}",
    "Number of input and output tokens used.",
    tuple(float(4**power) for power in range(14)),
)
DURATION = Instrument(
    "gen_ai.client.operation.duration",
    "s",
    "GenAI operation duration.",
    tuple(0.01 * 2**power for power in range(14)),
)
_EMBEDDINGS = "/v1/embeddings"


class Meters:
    """`write` only adds numbers; all of them are sent every interval. A dead collector costs nothing: numbers that add
    up since the start are sent the next time, and those since the last time are kept until then."""

    def __init__(self, gateway: Gateway, exporter: OTLPMetricExporter, *, delta: bool) -> None:
        self._gateway = gateway
        self._exporter = exporter
        self._delta = delta
        self._org_label = gateway.settings.observability.org_label
        now = time.time_ns()
        self._tokens, self._duration = Distributions(TOKENS, now), Distributions(DURATION, now)
        self._reaching = Reaching(log, "metrics", "the collector")

    async def write(self, events: Sequence[Event]) -> None:
        for event in events:
            for attempt in event.attempts:
                self._count(event, attempt)

    async def send(self) -> None:
        """Send what there is to tell."""
        now = time.time_ns()
        mine = (self._tokens, self._duration)
        told = [each.taken(now) for each in mine] if self._delta else mine
        metrics = [each.told(now, delta=self._delta) for each in told if each.held]
        if not metrics:
            return
        sent = await asyncio.to_thread(self._export, metrics)
        if not sent:
            self._gateway.faults["meters.unsent"] += 1
            if self._delta:
                for each, taken in zip(mine, told, strict=True):
                    each.restore(taken)
        self._reaching.told(sent)

    def _count(self, event: Event, attempt: Attempt) -> None:
        """Only tokens that the vendor counted are told: the conventions ask for what is billed, or nothing."""
        base: Attributes = (
            ("gen_ai.operation.name", "embeddings" if event.route == _EMBEDDINGS else "chat"),
            ("gen_ai.provider.name", attempt.provider),
            ("gen_ai.request.model", attempt.model),
        )
        if self._org_label:
            base = (*base, ("asahi.org", event.org_id))
        ok = attempt.outcome == "ok"
        self._duration.record(attempt.latency_ms / 1e3, base if ok else (*base, ("error.type", attempt.outcome)))
        usage = attempt.usage
        if attempt.billed and usage.source == "provider":
            self._tokens.record(usage.input_tokens, (*base, ("gen_ai.token.type", "input")))
            if event.route != _EMBEDDINGS:
                self._tokens.record(usage.output_tokens, (*base, ("gen_ai.token.type", "output")))

    def _export(self, metrics: Sequence[object]) -> bool:
        from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData, ResourceMetrics, ScopeMetrics
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        scope = ScopeMetrics(InstrumentationScope("asahi_telemetry"), list(metrics), "")  # type: ignore[arg-type]
        whole = MetricsData([ResourceMetrics(ourselves(), [scope], "")])
        return self._exporter.export(whole) is MetricExportResult.SUCCESS


@asynccontextmanager
async def opened(
    config: MetersConfig, gateway: Gateway, environment: Mapping[str, str] = os.environ
) -> AsyncIterator[Sink]:
    """The sink; without a collector in the environment it does nothing, and no SDK is loaded."""
    if not named("metrics", environment):
        yield Silent()
        return
    every_s = _every_s(environment)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it tells of each failure; we of each change
    wish = environment.get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "").lower()
    exporter = OTLPMetricExporter(timeout=config.timeout_s)
    meters = Meters(gateway, exporter, delta=wish in {"delta", "lowmemory"})
    async with repeated("sink.meters", meters.send, every_s, gateway.faults):
        yield meters
    await meters.send()
    await asyncio.to_thread(exporter.shutdown)


def _every_s(environment: Mapping[str, str]) -> float:
    told = environment.get("OTEL_METRIC_EXPORT_INTERVAL") or "60000"
    if not told.isdecimal() or not 100 <= int(told) <= 3_600_000:
        raise ConfigError(f"OTEL_METRIC_EXPORT_INTERVAL: {told[:20]!r} is no number of ms from 100 to 3600000")
    return int(told) / 1e3
