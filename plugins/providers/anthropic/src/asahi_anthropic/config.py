"""What Anthropic's API is configured with."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from asahi_kernel import Config, Secret

Seconds = Annotated[float, Meta(gt=0, le=3600)]


class AnthropicConfig(Config, frozen=True, kw_only=True):
    """The table `providers.<name>` with `type: anthropic`. Durations are in seconds.

    The key goes to the host of `base_url` and nowhere else. The API demands a bound on every answer:
    `default_max_tokens` is sent where the caller gave none. `first_token_timeout_s` and `idle_timeout_s` hold for
    streams, `timeout_s` for a whole call, `stream_timeout_s` for a whole stream.
    """

    api_key: Secret
    base_url: str = "https://api.anthropic.com"
    connect_timeout_s: Seconds = 5.0
    first_token_timeout_s: Seconds = 15.0
    idle_timeout_s: Seconds = 30.0
    timeout_s: Seconds = 30.0
    stream_timeout_s: Seconds = 120.0
    max_connections: Annotated[int, Meta(ge=1, le=10_000)] = 100
    default_max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] = 4096
