"""What a journal holds: an intent before a call is paid for, and the settlement after it."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec import Struct

from asahi_kernel.records import Settled


class Intent(Struct, frozen=True, tag="intent"):
    """Written before a provider is called, for each attempt anew. `settled` is what the request comes to if nothing
    further is ever heard of it: status `unknown`, and the worst case as its cost. It holds the attempts before."""

    settled: Settled


class Closed(Struct, frozen=True, tag="settled"):
    """Written when the request is over, whatever its outcome."""

    settled: Settled


Entry: TypeAlias = Intent | Closed
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Intent | Closed)


class _Id(Struct, frozen=True):
    request_id: str


class _Whole(Struct, frozen=True):
    event: _Id


class Peek(Struct, frozen=True, tag_field="type", tag="settled"):
    """The request id of an entry, without the rest."""

    settled: _Whole


class PeekIntent(Struct, frozen=True, tag_field="type", tag="intent"):
    """The same of an intent."""

    settled: _Whole


_peek: msgspec.msgpack.Decoder[Peek | PeekIntent] = msgspec.msgpack.Decoder(Peek | PeekIntent)


def encode(entry: Entry) -> bytes:
    """An entry as MessagePack."""
    return _encoder.encode(entry)


def decode(payload: bytes) -> Entry:
    """The entry; raises `msgspec.DecodeError` on one that this version cannot read."""
    return _decoder.decode(payload)


def peek(payload: bytes) -> tuple[bool, str]:
    """Whether the entry closes its request, and the request's id. Far cheaper than the whole."""
    found = _peek.decode(payload)
    return isinstance(found, Peek), found.settled.event.request_id
