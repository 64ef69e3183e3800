"""Prometheus, OpenTelemetry, Sentry, Kafka and mail, off the request path."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asahi_kernel import Factory, hookimpl
from asahi_telemetry.config import (
    JSONLConfig,
    KafkaConfig,
    MailConfig,
    MetersConfig,
    PrometheusConfig,
    SentryConfig,
    TracesConfig,
)

if TYPE_CHECKING:
    from litestar.types import ControllerRouterHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.protocols import Sink


@hookimpl
def register_sinks() -> Iterable[Factory[Sink, Any]]:
    """`prometheus`, `traces`, `meters` and `sentry`, which are open wherever they are installed; `kafka` and `jsonl`
    where they have a table."""
    return (
        Factory("prometheus", PrometheusConfig, open_prometheus),
        Factory("traces", TracesConfig, open_traces),
        Factory("meters", MetersConfig, open_meters),
        Factory("sentry", SentryConfig, open_sentry),
        Factory("kafka", KafkaConfig, open_kafka),
        Factory("jsonl", JSONLConfig, open_jsonl),
    )


@hookimpl
def register_services() -> Iterable[Factory[None, Any]]:
    """`mail`, where it has a table."""
    return (Factory("mail", MailConfig, open_mail),)


@hookimpl
def register_routes(gateway: Gateway) -> Iterable[ControllerRouterHandler]:
    """`GET /analytics/prometheus`."""
    from asahi_telemetry.routes import scrape_routes

    return scrape_routes(gateway)


@asynccontextmanager
async def open_prometheus(config: PrometheusConfig, gateway: Gateway) -> AsyncIterator[Sink]:
    from asahi_telemetry.metrics import opened

    async with opened(config, gateway) as metrics:
        yield metrics


@asynccontextmanager
async def open_traces(config: TracesConfig, gateway: Gateway) -> AsyncIterator[Sink]:
    from asahi_telemetry.traces import opened

    async with opened(config, gateway) as traces:
        yield traces


@asynccontextmanager
async def open_meters(config: MetersConfig, gateway: Gateway) -> AsyncIterator[Sink]:
    from asahi_telemetry.meters import opened

    async with opened(config, gateway) as meters:
        yield meters


@asynccontextmanager
async def open_mail(config: MailConfig, gateway: Gateway) -> AsyncIterator[None]:
    from asahi_telemetry.mail import opened

    async with opened(config, gateway):
        yield None


@asynccontextmanager
async def open_sentry(config: SentryConfig, gateway: Gateway) -> AsyncIterator[Sink]:
    from asahi_telemetry.sentry import opened

    async with opened(config, gateway) as sentry:
        yield sentry


@asynccontextmanager
async def open_kafka(config: KafkaConfig, gateway: Gateway) -> AsyncIterator[Sink]:
    from asahi_telemetry.kafka import opened

    async with opened(config, gateway) as stream:
        yield stream


@asynccontextmanager
async def open_jsonl(config: JSONLConfig, gateway: Gateway) -> AsyncIterator[Sink]:
    from asahi_telemetry.jsonl import opened

    async with opened(config, gateway) as files:
        yield files
