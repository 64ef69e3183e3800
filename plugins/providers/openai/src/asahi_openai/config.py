"""What an OpenAI-compatible host is configured with."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from asahi_kernel.http.host import CallsConfig, HostConfig


class OpenAIConfig(HostConfig, frozen=True, kw_only=True):
    """The table `providers.<name>` with `type: openai`.

    `max_tokens_parameter` None means `max_completion_tokens` for api.openai.com and `max_tokens` for every other host.
    `ask_for_usage` None means that streams ask for their usage, but not at api.mistral.ai, which tells it unasked and
    refuses the question. `batches` None means that api.openai.com has them, and no other host.
    `transport` `sdk` calls through OpenAI's own SDK, which `cloud` needs; `api_version` is Azure's.
    """

    base_url: str = "https://api.openai.com/v1"
    max_tokens_parameter: Literal["max_tokens", "max_completion_tokens"] | None = None
    ask_for_usage: bool | None = None
    batches: bool | None = None
    transport: Literal["lean", "sdk"] = "lean"
    cloud: Literal["azure"] | None = None
    api_version: str = "2024-10-21"


class EmbedderConfig(CallsConfig, frozen=True, kw_only=True):
    """The table `embedders.<name>` with `type: openai`.

    `dimension` is the length of the vectors; it is asked for unless `send_dimension` is false, for hosts and models
    that have no choice. Texts go in calls of `batch_size`.
    """

    base_url: str = "https://api.openai.com/v1"
    model: str = "text-embedding-3-small"
    dimension: Annotated[int, Meta(ge=1, le=65_536)] = 1_024
    send_dimension: bool = True
    batch_size: Annotated[int, Meta(ge=1, le=256)] = 96
    max_retries: Annotated[int, Meta(ge=0, le=10)] = 3
    max_connections: Annotated[int, Meta(ge=1, le=10_000)] = 20
