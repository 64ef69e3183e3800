"""Anthropic's own SDK as the way to Anthropic and to Vertex."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from asahi_anthropic.config import AnthropicConfig
from asahi_kernel import ConfigError
from asahi_kernel.http.official import Faults, Official, http_client

#: What the plugin reads and writes is this version of the wire, whichever one the SDK is of: the next one has no more
#: temperature. Its key goes in a header of its own.
VERSION = "2023-06-01"
_VERTEX_VERSION = "vertex-2023-10-16"


def open_sdk(config: AnthropicConfig) -> Official:
    """The SDK's client, bound to the address and the key of the configuration, whatever the environment says."""
    import anthropic
    import httpx2

    http = http_client(httpx2, config)
    key = config.api_key.reveal()
    told: dict[str, Any] = {"http_client": http, "max_retries": 0, "timeout": http.timeout, "open_telemetry": False}
    client: Any
    if config.cloud == "bedrock":
        raise ConfigError(
            "anthropic: cloud: bedrock signs and answers in AWS's own way, which needs botocore "
            "(`pip install 'anthropic[bedrock]'`) and is not read here yet; use cloud: vertex, or the vendor's own host"
        )
    if config.cloud == "vertex":
        client = _vertex(config, told)
    else:
        client = anthropic.AsyncAnthropic(base_url=config.base_url, api_key=key or "none", **told)
    client._custom_headers = {}
    headers: dict[str, Any] = {"anthropic-version": VERSION}
    if config.cloud is None:
        headers |= {"X-Api-Key": key or anthropic.Omit(), "Authorization": anthropic.Omit()}
    faults = Faults(anthropic.APIStatusError, anthropic.APIConnectionError, anthropic.AnthropicError)
    return Official(client, faults, headers, {"anthropic_version": _VERTEX_VERSION} if config.cloud else None)


def _vertex(config: AnthropicConfig, told: dict[str, Any]) -> Any:
    """With a key it is the access token; without, Google's library finds and renews one."""
    from anthropic.lib.vertex import AsyncAnthropicVertex

    if not config.project or not config.region:
        raise ConfigError("anthropic: cloud: vertex needs project and region")
    token = config.api_key.reveal() or None
    if token is None and not _installed("google", "google.auth"):
        fix = "give an access token as api_key, or `pip install 'anthropic[vertex]'`"
        raise ConfigError(f"anthropic: cloud: vertex finds no credential by itself; {fix}")
    address: dict[str, Any] = {} if config.base_url == AnthropicConfig.base_url else {"base_url": config.base_url}
    return AsyncAnthropicVertex(project_id=config.project, region=config.region, access_token=token, **address, **told)


def _installed(*modules: str) -> bool:
    return all(find_spec(module) is not None for module in modules)
