"""What an OpenAI-compatible host is configured with."""

from __future__ import annotations

from typing import Literal

from asahi_kernel.http.host import HostConfig


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
