"""What every host is configured with."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from asahi_kernel.factory import Config, Secret

Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=3600)]


class CallsConfig(Config, frozen=True, kw_only=True):
    """A part of a plugin's table, which adds `base_url` and what is its own. Durations are in seconds.

    The key goes to the host of `base_url` and nowhere else; `timeout_s` holds for a whole call.
    """

    api_key: Secret
    connect_timeout_s: Seconds = 5.0
    timeout_s: Seconds = 30.0
    max_connections: Annotated[int, Meta(ge=1, le=10_000)] = 100


class HostConfig(CallsConfig, frozen=True, kw_only=True):
    """The same for a host that streams: `first_token_timeout_s` is until the first event, `idle_timeout_s` between two
    pieces, `stream_timeout_s` for a whole stream."""

    first_token_timeout_s: Seconds = 15.0
    idle_timeout_s: Seconds = 30.0
    stream_timeout_s: Seconds = 120.0
