"""Beginnings of prompts: told apart by digest, and remembered for a while, each org for itself."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from asahi_kernel.clock import monotonic

if TYPE_CHECKING:
    from asahi_kernel.types import Request

T = TypeVar("T")
_encode = msgspec.msgpack.Encoder().encode


def digests(request: Request) -> tuple[bytes, ...]:
    """A digest for each beginning of the request: its tools, and then those with one message more each time."""
    chain = [_digest(b"", request.tools)]
    for message in request.messages:
        chain.append(_digest(chain[-1], message))
    return tuple(chain)


def extended(digest: bytes, text: str) -> bytes:
    """The digest of a beginning that goes on with a part of the next message."""
    return _digest(digest, text)


class Recent(Generic[T]):
    """What is known of keys, per org, for so many seconds after it was last put. The org that was quiet for longest and
    the key that was put longest ago are forgotten first, so no org can push out another's keys with its own."""

    def __init__(self, kept_s: float, *, most: int, orgs: int = 256, clock: Callable[[], float] = monotonic) -> None:
        self._kept_s = kept_s
        self._most = most
        self._orgs = orgs
        self._clock = clock
        self._shelves: OrderedDict[str, OrderedDict[bytes, tuple[float, T]]] = OrderedDict()

    def get(self, org: str, key: bytes) -> T | None:
        """What was put, if it was not too long ago."""
        shelf = self._shelves.get(org)
        found = None if shelf is None else shelf.get(key)
        return found[1] if found is not None and self._clock() - found[0] < self._kept_s else None

    def put(self, org: str, key: bytes, value: T) -> None:
        """Remembers it from now on."""
        shelf = self._shelves.get(org)
        if shelf is None:
            shelf = self._shelves[org] = OrderedDict()
            if len(self._shelves) > self._orgs:
                self._shelves.popitem(last=False)
        self._shelves.move_to_end(org)
        shelf[key] = (self._clock(), value)
        shelf.move_to_end(key)
        if len(shelf) > self._most:
            shelf.popitem(last=False)

    def __bool__(self) -> bool:
        return bool(self._shelves)

    def __len__(self) -> int:
        return sum(map(len, self._shelves.values()))


def _digest(before: bytes, further: object) -> bytes:
    return hashlib.blake2b(before + _encode(further), digest_size=16).digest()
