"""What a provider may be able to do beyond one plain completion, and how to find out without asking its vendor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from asahi_kernel.protocols import (
    BatchProvider,
    CountingProvider,
    EmbeddingProvider,
    SelectiveProvider,
    StreamingProvider,
)
from asahi_kernel.testing.samples import ASK
from asahi_kernel.types import Message, Part, Request, Tool

_LOOK = Tool(name="look", parameters=b'{"type":"object","properties":{}}')
_SCHEMA = b'{"type":"json_schema","json_schema":{"name":"city","schema":{"type":"object","properties":{}}}}'
_PIXEL = b'{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}'
_SOUND = b'{"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}}'
_FILE = b'{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERi0="}}'


def _with(**fields: Any) -> Request:
    return msgspec.structs.replace(ASK, **fields)


def _showing(kind: str, raw: bytes) -> Request:
    return Request(messages=(Message("user", (Part("text", "What is this?"), Part(kind, raw=raw))),))


#: By ability, a request that nothing but a provider with it can carry out.
REQUESTS: Mapping[str, Request] = {
    "call tools": _with(tools=(_LOOK,)),
    "call the named tool": _with(tools=(_LOOK,), tool_choice=b'{"type":"function","function":{"name":"look"}}'),
    "call one tool at a time": _with(tools=(_LOOK,), options=(("parallel_tool_calls", b"false"),)),
    "hold one tool to its schema": _with(tools=(_LOOK, Tool(name="see", parameters=_LOOK.parameters, strict=True))),
    "answer by a JSON Schema": _with(response_format=_SCHEMA),
    "answer by a JSON Schema or call tools": _with(response_format=_SCHEMA, tools=(_LOOK,)),
    "answer in any JSON": _with(response_format=b'{"type":"json_object"}'),
    "see images": _showing("image_url", _PIXEL),
    "hear audio": _showing("input_audio", _SOUND),
    "read files": _showing("file", _FILE),
    "give several answers": _with(n=2),
    "take a seed": _with(seed=7),
    "take a temperature of 2": _with(temperature=2.0),
    "take a top_p of 1": _with(top_p=1.0),
    "tell speakers apart": _with(messages=(Message("user", "Who am I?", name="ann"),)),
}

_PROTOCOLS: Mapping[str, type] = {
    "stream": StreamingProvider,
    "answer in batches": BatchProvider,
    "embed texts": EmbeddingProvider,
    "count tokens": CountingProvider,
}


def _takes(request: Request) -> Callable[[Any], bool]:
    return lambda provider: not isinstance(provider, SelectiveProvider) or not provider.refuses(request)


def _is(protocol: type) -> Callable[[Any], bool]:
    return lambda provider: isinstance(provider, protocol)


#: By ability, whether an open provider has it.
ABILITIES: Mapping[str, Callable[[Any], bool]] = {
    **{name: _is(protocol) for name, protocol in _PROTOCOLS.items()},
    **{name: _takes(request) for name, request in REQUESTS.items()},
}
