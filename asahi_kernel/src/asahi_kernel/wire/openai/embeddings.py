"""OpenAI's wire for vectors, `POST /v1/embeddings`: each text becomes one message of the request."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.embedding import Vectors
from asahi_kernel.errors import Invalid
from asahi_kernel.types import Message, Request
from asahi_kernel.wire.account import Account, account
from asahi_kernel.wire.asked import Asked
from asahi_kernel.wire.fields import NAMES, AsahiFields, ModelName
from asahi_kernel.wire.mistakes import checked
from asahi_kernel.wire.names import refuse
from asahi_kernel.wire.openai.request import STEERING, EndUser
from asahi_kernel.wire.strict import text_is_blank
from asahi_kernel.wire.terms import gather, idempotency_key, model_of, terms_of

MOST_TEXTS = 2_048
_IN_A_PIECE = 32


class Body(AsahiFields, frozen=True, kw_only=True):
    """The whole body as it is sent."""

    model: ModelName
    input: str | Annotated[list[str], Meta(min_length=1, max_length=MOST_TEXTS)]
    dimensions: Annotated[int, Meta(ge=1, le=65_536)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: EndUser | None = None


#: What shapes or bounds an answer in words, and so cannot hold for vectors: saying nothing would be a promise.
MEANINGLESS = frozenset(
    {"document", "document_id", "examples", "task_type", "quality_preference", "latency_preference"}
    | {"quality_threshold", "latency_budget_ms", "deadline_s"}
)
#: Switches that only make sense when they are off.
OFF = frozenset({"optimize_tokens", "enrich_with_features", "allow_batching", "dry_run"})
_KNOWN = frozenset(Body.__struct_fields__)

_encode = msgspec.json.Encoder().encode


class Usage(Struct, frozen=True):
    """Tokens of all texts."""

    prompt_tokens: int
    total_tokens: int


class VectorsAccount(Account, frozen=True, kw_only=True):
    """The `asahi` object, with the number of texts that were not paid for."""

    cached_inputs: int


def decode(body: bytes, headers: Mapping[str, str]) -> Asked:
    """What is asked. No vendor field is passed on here, so that every unknown one is refused."""
    tree = gather(body, headers)
    _refuse_tokens(tree.get("input"))
    _refuse_fields(tree)
    said = checked(tree, Body)
    texts = [said.input] if isinstance(said.input, str) else said.input
    _refuse_blank(texts, alone=isinstance(said.input, str))
    model = model_of(said, said.model)
    return Asked(
        request=Request(
            messages=tuple(Message("user", text) for text in texts),
            model=model,
            terms=terms_of(said, model, False, headers),
        ),
        user_id=said.user_id,
        organization_id=said.organization_id,
        end_user=said.user or None,
        idempotency_key=idempotency_key(headers),
        mode_stated=said.routing_mode is not None,
        dimensions=said.dimensions,
        encoding_format=said.encoding_format or "float",
    )


def encode(found: Vectors, encoding_format: Literal["float", "base64"]) -> Iterator[bytes]:
    """The list of vectors in pieces, each of which is soon made: a million numbers take a second to write."""
    answer = found.answer
    tokens = answer.usage.input_tokens
    told = account(answer)
    fields = {name: getattr(told, name) for name in told.__struct_fields__}
    whole = {
        "object": "list",
        "model": answer.completion.model,
        "usage": Usage(tokens, tokens),
        "asahi": VectorsAccount(**fields, cached_inputs=found.cached),
    }
    yield _encode(whole)[:-1] + b',"data":['
    for start in range(0, len(found.vectors), _IN_A_PIECE):
        entries = [
            {"object": "embedding", "index": at, "embedding": _written(vector, encoding_format)}
            for at, vector in enumerate(found.vectors[start : start + _IN_A_PIECE], start)
        ]
        yield (b"," if start else b"") + _encode(entries)[1:-1]
    yield b"]}"


def _written(vector: bytes, encoding_format: str) -> object:
    if encoding_format == "base64":
        return base64.b64encode(vector).decode("ascii")
    return struct.unpack(f"<{len(vector) // 4}f", vector)


def _refuse_tokens(given: object) -> None:
    """Tokens are numbers of one vendor's vocabulary: no policy can read them, and no other model knows them."""
    first = given[0] if isinstance(given, list) and given else None
    inner = first[0] if isinstance(first, list) and first else first
    if isinstance(inner, int) and not isinstance(inner, bool):
        raise Invalid(
            "`input` must be text: lists of tokens are not taken, since policies and caches read text and each vendor "
            "has its own tokens. LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False)",
            param="input",
        )


def _refuse_fields(tree: Mapping[str, object]) -> None:
    if steering := tree.keys() & STEERING:
        name = min(steering)
        hint = f"`{name}` would choose a model behind Asahi's back; use `model`"
        raise Invalid(hint, code="unknown_field", param=name)
    refuse(tree.keys() - _KNOWN, _KNOWN, NAMES, "", True)
    for name in sorted(tree.keys() & (MEANINGLESS | OFF)):
        if name in MEANINGLESS or tree[name] not in (False, None):
            raise Invalid(f"`{name}` means nothing for embeddings", param=name)
    if tree.get("routing_mode") == "guided":
        raise Invalid("`routing_mode` 'guided' means nothing for embeddings", param="routing_mode")


def _refuse_blank(texts: list[str], *, alone: bool) -> None:
    for at, text in enumerate(texts):
        if text_is_blank(text):
            place = "input" if alone else f"input[{at}]"
            raise Invalid(f"`{place}` must not be blank", param=place)
