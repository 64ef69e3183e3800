"""What every host is configured with."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from asahi_kernel.factory import Config, Secret

Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=3600)]


class HostConfig(Config, frozen=True, kw_only=True):
    """A part of a `providers.<name>` table; a plugin adds `base_url` and what is its own. Durations are in seconds.

    The key goes to the host of `base_url` and nowhere else. `first_token_timeout_s` and `idle_timeout_s` hold for
    streams, `timeout_s` for a whole call, `stream_timeout_s` for a whole stream.
    """

    api_key: Secret
    connect_timeout_s: Seconds = 5.0
    first_token_timeout_s: Seconds = 15.0
    idle_timeout_s: Seconds = 30.0
    timeout_s: Seconds = 30.0
    stream_timeout_s: Seconds = 120.0
    max_connections: Annotated[int, Meta(ge=1, le=10_000)] = 100
