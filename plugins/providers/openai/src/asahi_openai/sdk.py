"""OpenAI's own SDK as the way to OpenAI and to Azure."""

from __future__ import annotations

from typing import Any

from asahi_kernel.http.official import Faults, Official, http_client
from asahi_openai.config import OpenAIConfig


def open_sdk(config: OpenAIConfig) -> Official:
    """The SDK's client, bound to the address and the key of the configuration, whatever the environment says."""
    import httpx2
    import openai

    http = http_client(httpx2, config)
    key = config.api_key.reveal()
    told: dict[str, Any] = {"http_client": http, "max_retries": 0, "timeout": http.timeout, "api_key": key or "none"}
    if config.cloud == "azure":
        client: Any = openai.AsyncAzureOpenAI(azure_endpoint=config.base_url, api_version=config.api_version, **told)
    else:
        client = openai.AsyncOpenAI(base_url=config.base_url, **told)
    client.organization = client.project = None
    client._custom_headers = {}
    silent = {} if key else {"Authorization": openai.Omit(), "api-key": openai.Omit()}
    return Official(client, Faults(openai.APIStatusError, openai.APIConnectionError, openai.OpenAIError), silent)
