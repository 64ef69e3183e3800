"""`POST /v1/embeddings`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from asahi_kernel.api.dialects import OpenAIErrors
from asahi_kernel.embedding import embed
from asahi_kernel.errors import Invalid, NotFound
from asahi_kernel.wire.headers import answer_headers
from asahi_kernel.wire.openai import embeddings

if TYPE_CHECKING:
    from litestar.types import Receive

    from asahi_kernel.api.reply import Reply
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Principal, Request
    from asahi_kernel.wire.asked import Asked

_JSON = b"application/json"


class EmbeddingWire(OpenAIErrors):
    """How it reads a request and writes an error."""

    route = "/v1/embeddings"

    def decode(self, body: bytes, headers: Mapping[str, str]) -> Asked:
        return embeddings.decode(body, headers)


class Embedding:
    """Answers with vectors."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def named(self, request: Request) -> Request:
        """The request with the name of the model that will embed; raises for one that does not."""
        registry = self._gateway.registry
        model = registry.embedding if request.model is None else registry.find(request.model)
        if model is None:
            raise NotFound(
                "no embedding model is registered here: `models` needs one with the capability 'embeddings'",
                code="model_not_found",
                param="model",
            )
        if not model.embeds:
            raise Invalid(f"{model.name!r} answers in words; it does not embed", param="model")
        return msgspec.structs.replace(request, model=model.name)

    async def answer(
        self, asked: Asked, request: Request, principal: Principal, receive: Receive, reply: Reply, trace: Trace
    ) -> None:
        found = await embed(self._gateway, request, principal, trace, asked.dimensions)
        pieces = []
        for piece in embeddings.encode(found, asked.encoding_format):
            pieces.append(piece)
            await asyncio.sleep(0)
        await reply.whole(200, b"".join(pieces), _JSON, answer_headers(found.answer))
