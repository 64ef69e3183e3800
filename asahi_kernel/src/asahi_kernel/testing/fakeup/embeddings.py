"""OpenAI's wire for vectors as a server speaks it."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from asahi_kernel.testing.fakeup.generation import Answer, Call, reported
from asahi_kernel.testing.fakeup.openai import error, error_event
from asahi_kernel.testing.fakeup.script import Script

PATH = "/v1/embeddings"
DIMENSIONS = 1_536

__all__ = ("PATH", "decode", "error", "error_event", "frames", "reply", "usage")


class _Body(Struct):
    model: str
    input: str | list[str]
    dimensions: int | None = None
    encoding_format: str = "float"


_DECODER = msgspec.json.Decoder(_Body)


def decode(body: bytes) -> Call:
    """Reads a request; `msgspec.DecodeError` when it is none. The last text may hold a directive."""
    asked = _DECODER.decode(body)
    texts = (asked.input,) if isinstance(asked.input, str) else tuple(asked.input)
    if not all(texts):
        raise ValueError("input cannot be an empty string")
    return Call(
        model=asked.model,
        prompt=texts[-1],
        content="".join(texts).encode(),
        max_tokens=None,
        stream=False,
        texts=texts,
        dimensions=asked.dimensions or DIMENSIONS,
        base64=asked.encoding_format == "base64",
    )


def usage(script: Script, answer: Answer) -> bytes | None:
    """The usage object as the script has it told."""
    if script.no_usage:
        return None
    told = reported(script, answer)[0]
    return b'{"prompt_tokens":%b,"total_tokens":%b}' % (told, told)


def reply(answer: Answer) -> bytes:
    """The list of vectors, unit ones, each a function of model and text; broken as the script says."""
    vectors = [_vector(answer.model, text, answer.dimensions) for text in answer.texts]
    if answer.vectors == "few":
        vectors = vectors[:-1]
    elif answer.vectors == "short":
        vectors = [vector[:-1] for vector in vectors]
    written: list[object] = [list(vector) for vector in vectors]
    if answer.base64:
        written = [base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() for vector in vectors]
    elif answer.vectors == "text":
        written = [["high"] * answer.dimensions for _ in vectors]
    rows = [{"object": "embedding", "index": at, "embedding": each} for at, each in enumerate(written)]
    if answer.vectors == "shuffled":
        rows.reverse()
    body: dict[str, object] = {"object": "list", "data": rows, "model": answer.model}
    if answer.usage is not None:
        body["usage"] = msgspec.Raw(answer.usage)
    return msgspec.json.encode(body)


def frames(answer: Answer, include_usage: bool) -> Iterator[tuple[bytes, int]]:
    """Vectors are not streamed."""
    return iter(())


def _vector(model: str, text: str, dimensions: int) -> tuple[float, ...]:
    seed = hashlib.shake_256(f"{model}\0{text}".encode()).digest(2 * dimensions)
    numbers = struct.unpack(f"<{dimensions}h", seed)
    length = math.hypot(*numbers)
    return tuple(number / length for number in numbers)
