"""What the sinks of this package are told."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from asahi_kernel import Config


class PrometheusConfig(Config, frozen=True):
    """`dir` is where the workers of one host share what they counted; None means `metrics` beside the journal. Each
    writes every `interval_s`."""

    dir: str | None = None
    interval_s: Annotated[float, Meta(gt=0, le=10)] = 0.5


class MetersConfig(Config, frozen=True):
    """`timeout_s` is how long the collector may take for one message, all tries together."""

    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0


class TracesConfig(Config, frozen=True):
    """`max_queue` is how many requests may wait for the collector; traces of more are dropped and counted."""

    max_queue: Annotated[int, Meta(ge=1)] = 10_000
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
