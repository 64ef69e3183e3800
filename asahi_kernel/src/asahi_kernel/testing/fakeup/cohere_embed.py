"""Cohere's embeddings, version 2, as a server speaks them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from asahi_kernel.testing.fakeup.cohere import error, error_event
from asahi_kernel.testing.fakeup.generation import Answer, Call, reported, vector
from asahi_kernel.testing.fakeup.script import Script

__all__ = ("PATH", "decode", "error", "error_event", "frames", "reply", "usage")

PATH = "/v2/embed"
_FIXED = 1_024


class _Body(Struct, forbid_unknown_fields=True):
    model: str
    texts: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=96)]
    input_type: Literal["search_document", "search_query", "classification", "clustering"]
    embedding_types: list[Literal["float"]]
    truncate: Literal["NONE", "START", "END"] | None = None
    output_dimension: Literal[256, 512, 1024, 1536] | None = None


_BODY = msgspec.json.Decoder(_Body)


def decode(body: bytes) -> Call:
    """Reads a request as strictly as the vendor; `ValueError` when it is none."""
    asked = _BODY.decode(body)
    if asked.output_dimension is not None and "-v3" in asked.model:
        raise ValueError(f"output_dimension: not supported by {asked.model}")
    return Call(
        model=asked.model,
        prompt=asked.texts[-1],
        content="\n".join(asked.texts).encode(),
        max_tokens=0,
        stream=False,
        texts=tuple(asked.texts),
        dimensions=asked.output_dimension or _FIXED,
    )


def usage(script: Script, answer: Answer) -> bytes | None:
    """What is billed, as the script has it told."""
    return None if script.no_usage else b'{"billed_units":{"input_tokens":%b}}' % reported(script, answer)[0]


def reply(answer: Answer) -> bytes:
    """The body of an answer; the vectors are not of unit length."""
    vectors = [[2 * number for number in vector(answer.model, text, answer.dimensions)] for text in answer.texts]
    told = b"" if answer.usage is None else b',"meta":' + answer.usage
    return b'{"id":"%b","response_type":"embeddings_by_type","texts":%b,"embeddings":{"float":%b}%b}' % (
        answer.id.encode(),
        msgspec.json.encode(answer.texts),
        msgspec.json.encode(vectors),
        told,
    )


def frames(answer: Answer, include_usage: bool) -> Iterator[tuple[bytes, int]]:
    """Embeddings are not streamed."""
    return iter(())
