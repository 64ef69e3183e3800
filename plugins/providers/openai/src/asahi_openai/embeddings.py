"""OpenAI's call for vectors: the body, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from asahi_kernel import Embedded
from asahi_kernel.http.failures import Failure, Garbage
from asahi_kernel.http.mending import read

PATH = "/embeddings"
#: Texts in one call. The vendor takes 2,048, whose numbers are 40 MB of JSON: too much to hold up all others for.
MOST_TEXTS = 256
_MOST_TOKENS = 1 << 31
_NOTHING = Raw(b"null")


class _Entry(Struct, frozen=True):
    embedding: tuple[float, ...]
    index: int | None = None


class _Usage(Struct, frozen=True):
    prompt_tokens: int


class _Reply(Struct, frozen=True):
    data: list[_Entry] | None = None
    usage: Raw = _NOTHING
    error: Raw = _NOTHING


_encode = msgspec.json.Encoder().encode
_reply = msgspec.json.Decoder(_Reply).decode
_usage = msgspec.json.Decoder(_Usage).decode


def encode(model: str, texts: Sequence[str], dimensions: int | None) -> bytes:
    """The body of a call. Numbers are asked for as such: every host of this wire can write them."""
    body: dict[str, object] = {"model": model, "input": texts, "encoding_format": "float"}
    if dimensions is not None:
        body["dimensions"] = dimensions
    return _encode(body)


def decode(body: bytes, count: int, dimensions: int | None, request_id: str) -> Embedded:
    """The vectors in a reply, in the order of the texts. Raises `Garbage`, or `Failure` for an error object."""
    reply = read(_reply, body)
    if bytes(reply.error) != b"null":
        raise Failure(bytes(reply.error))
    entries = reply.data or []
    places = [at if entry.index is None else entry.index for at, entry in enumerate(entries)]
    if sorted(places) != list(range(count)):
        raise Garbage("not one vector for each text")
    vectors = {at: entry.embedding for at, entry in zip(places, entries, strict=True)}
    lengths = {len(vector) for vector in vectors.values()}
    if len(lengths) != 1 or 0 in lengths or (dimensions is not None and lengths != {dimensions}):
        raise Garbage("vectors of another length than was asked for")
    return Embedded(tuple(vectors[at] for at in range(count)), _read_usage(reply.usage), request_id)


def _read_usage(raw: Raw) -> int | None:
    """The tokens, or None when they are absent or cannot be true: money is never computed from them then."""
    try:
        tokens = _usage(raw).prompt_tokens
    except msgspec.DecodeError:
        return None
    return tokens if 0 < tokens < _MOST_TOKENS else None
