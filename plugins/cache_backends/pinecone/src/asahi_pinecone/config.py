"""The table `vector_stores.<name>` with `type: pinecone`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from asahi_kernel import Config, Secret


class StoreConfig(Config, frozen=True):
    """`host` is the index's own address; without it, it is looked up by `index_name` at `controller`."""

    api_key: Secret
    index_name: Annotated[str, Meta(min_length=1, max_length=45)] = "asahi-vectors"
    host: str | None = None
    controller: str = "https://api.pinecone.io"
    timeout_ms: Annotated[int, Meta(ge=10, le=60_000)] = 100
