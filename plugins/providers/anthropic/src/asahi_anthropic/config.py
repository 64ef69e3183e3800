"""What Anthropic's API is configured with."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from asahi_kernel.http.host import HostConfig


class AnthropicConfig(HostConfig, frozen=True, kw_only=True):
    """The table `providers.<name>` with `type: anthropic`.

    The API demands a bound on every answer: `default_max_tokens` is sent where the caller gave none.
    `transport` `sdk` calls through Anthropic's own SDK, which `cloud` needs; `project` and `region` are Google's.
    """

    base_url: str = "https://api.anthropic.com"
    default_max_tokens: Annotated[int, Meta(ge=1, le=1_000_000)] = 4096
    transport: Literal["lean", "sdk"] = "lean"
    cloud: Literal["vertex", "bedrock"] | None = None
    project: str = ""
    region: str = ""
