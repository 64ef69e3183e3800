"""What Cohere's API is configured with."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from asahi_kernel.http.host import CallsConfig, HostConfig

InputType: TypeAlias = Literal["search_query", "search_document", "classification", "clustering"]
#: The most texts that the vendor embeds at once.
MOST_TEXTS = 96


class CohereConfig(HostConfig, frozen=True, kw_only=True):
    """The table `providers.<name>` with `type: cohere`. `input_type` is what callers' embeddings are told to be for."""

    base_url: str = "https://api.cohere.com"
    input_type: InputType = "search_document"


class CohereEmbedderConfig(CallsConfig, frozen=True, kw_only=True):
    """The table `embedders.<name>` with `type: cohere`. A text is asked for again up to `max_retries` times."""

    base_url: str = "https://api.cohere.com"
    model: str = "embed-english-v3.0"
    dimension: Annotated[int, Meta(ge=1, le=4_096)] = 1_024
    input_type: InputType = "search_query"
    batch_size: Annotated[int, Meta(ge=1, le=MOST_TEXTS)] = MOST_TEXTS
    max_retries: Annotated[int, Meta(ge=0, le=10)] = 3
