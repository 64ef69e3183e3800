"""The vendor's cache of prompts: what a marked beginning costs to write, and what it saves to read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

_LOOK_BACK = 20
_MOST = 4


class Block(Struct, frozen=True):
    """A piece of a prompt in its order: tools, system, messages. `size` is in characters."""

    key: bytes
    size: int
    marked: bool


def blocks_of(body: bytes) -> tuple[Block, ...]:
    """The blocks of a request; `ValueError` for too many markers."""
    asked = json.loads(body)
    found = [_block("tool", tool) for tool in asked.get("tools") or ()]
    found += (_block("system", each) for each in _listed(asked.get("system")))
    for turn in asked["messages"]:
        found += (_block(turn["role"], each) for each in _listed(turn["content"]))
    if sum(block.marked for block in found) > _MOST:
        raise ValueError(f"A maximum of {_MOST} blocks with cache_control may be provided.")
    return tuple(found)


def tools_size(body: bytes) -> int:
    """How many characters the tools of a request have."""
    return sum(_block("tool", tool).size for tool in json.loads(body).get("tools") or ())


class PromptCache:
    """Keeps beginnings of at least `least` tokens for `kept_s` seconds since they were last used."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.least = 1_024
        self.kept_s = 300.0
        self._clock = clock
        self._kept: dict[tuple[str, str, bytes], float] = {}

    def use(self, credential: str, model: str, blocks: tuple[Block, ...]) -> tuple[int, int]:
        """The tokens that a call reads from the cache, and those that it writes to it."""
        markers = [at for at, block in enumerate(blocks) if block.marked]
        if not markers:
            return 0, 0
        keys, sizes = list(_chain(blocks)), list(_sizes(blocks))
        read = 0
        for marker in markers:
            for at in range(marker, max(-1, marker - _LOOK_BACK), -1):
                if self._alive((credential, model, keys[at])):
                    self._kept[credential, model, keys[at]] = self._clock()
                    read = max(read, sizes[at])
                    break
        written = 0
        for marker in markers:
            if sizes[marker] >= self.least:
                self._kept[credential, model, keys[marker]] = self._clock()
                written = max(written, sizes[marker] - read)
        return read, max(0, written)

    def _alive(self, key: tuple[str, str, bytes]) -> bool:
        return key in self._kept and self._clock() - self._kept[key] < self.kept_s


def _listed(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content or ())


def _block(role: str, told: dict[str, Any]) -> Block:
    plain = {name: value for name, value in told.items() if name != "cache_control"}
    key = json.dumps([role, plain], sort_keys=True).encode()
    text = plain["text"] if plain.get("type") == "text" else json.dumps(plain)
    return Block(key, len(text.encode()), "cache_control" in told)


def _chain(blocks: tuple[Block, ...]) -> Iterator[bytes]:
    digest = b""
    for block in blocks:
        digest = hashlib.blake2b(digest + block.key, digest_size=16).digest()
        yield digest


def _sizes(blocks: tuple[Block, ...]) -> Iterator[int]:
    total = 0
    for block in blocks:
        total += block.size
        yield total // 4
