"""The tables of this plugin."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from asahi_kernel import Config, Secret


class CheckpointsConfig(Config, frozen=True):
    """`key` is the seed of the Ed25519 key that signs, 64 hexadecimal digits."""

    key: Secret | None = None


class AlertsConfig(Config, frozen=True):
    """`webhook_url` may hold a token, so it prints as a secret. It is sent JSON by POST, and never redirected."""

    interval_s: Annotated[float, Meta(gt=0, le=3_600)] = 60.0
    webhook_url: Secret | None = None
    webhook_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
