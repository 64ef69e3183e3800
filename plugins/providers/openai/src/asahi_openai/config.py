"""What an OpenAI-compatible host is configured with."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from asahi_kernel import Config, Secret

Seconds = Annotated[float, Meta(gt=0, le=3600)]


class OpenAIConfig(Config, frozen=True, kw_only=True):
    """The table `providers.<name>` with `type: openai`. Durations are in seconds.

    The key goes to the host of `base_url` and nowhere else. `max_tokens_parameter` None means `max_completion_tokens`
    for api.openai.com and `max_tokens` for every other host. `first_token_timeout_s` and `idle_timeout_s` hold for
    streams, `timeout_s` for a whole call, `stream_timeout_s` for a whole stream.
    """

    api_key: Secret
    base_url: str = "https://api.openai.com/v1"
    connect_timeout_s: Seconds = 5.0
    first_token_timeout_s: Seconds = 15.0
    idle_timeout_s: Seconds = 30.0
    timeout_s: Seconds = 30.0
    stream_timeout_s: Seconds = 120.0
    max_connections: Annotated[int, Meta(ge=1, le=10_000)] = 100
    max_tokens_parameter: Literal["max_tokens", "max_completion_tokens"] | None = None


class EmbedderConfig(Config, frozen=True, kw_only=True):
    """The table `embedders.<name>` with `type: openai`. Durations are in seconds.

    `dimension` is the length of the vectors; it is asked for unless `send_dimension` is false, for hosts and models
    that have no choice. Texts go in calls of `batch_size`.
    """

    api_key: Secret
    base_url: str = "https://api.openai.com/v1"
    model: str = "text-embedding-3-small"
    dimension: Annotated[int, Meta(ge=1, le=65_536)] = 1_024
    send_dimension: bool = True
    batch_size: Annotated[int, Meta(ge=1, le=256)] = 96
    connect_timeout_s: Seconds = 5.0
    timeout_s: Seconds = 30.0
    max_retries: Annotated[int, Meta(ge=0, le=10)] = 3
    max_connections: Annotated[int, Meta(ge=1, le=10_000)] = 20
