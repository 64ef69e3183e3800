"""Marks the beginnings of prompts that a vendor is to keep, where that repays: see decision 0018.

Some vendors keep a prompt's beginning only where the request marks it, ask more for writing it and much less for
reading it. A beginning is marked once an org has sent it twice within the time that the vendor keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from asahi_kernel.clock import monotonic
from asahi_kernel.money import count_tokens
from asahi_kernel.prefixes import Recent, digests, extended
from asahi_kernel.types import Place

if TYPE_CHECKING:
    from asahi_kernel.protocols import MarkingProvider
    from asahi_kernel.settings import PromptCache as PromptCacheSettings
    from asahi_kernel.types import Model, Request

_MOST_KEYS = 512
#: Vendors look for what they kept no further back than so many blocks.
_LOOK_BACK = 20
_DOCUMENT = ("<document>\n", "\n</document>\n\n")
_MARKER = b'"cache_control"'


class _Prefix(Struct, frozen=True):
    place: Place
    key: bytes


class PromptCache:
    """What each org has sent to which model lately. Holds digests only, bounded for each org."""

    def __init__(self, settings: PromptCacheSettings, clock: Callable[[], float] = monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._seen: dict[float, Recent[int]] = {}

    def prepare(self, org: str, provider: MarkingProvider, model: Model, request: Request) -> Request:
        """The request as this model is to get it: marked, or as it was. Called once for each model that is tried."""
        least = provider.least_tokens(model)
        if not self._settings.auto or _size(request) < 2 * least or marked(request):
            return request
        seen = self._seen.get(provider.kept_s)
        if seen is None:
            seen = self._seen[provider.kept_s] = Recent(provider.kept_s, most=_MOST_KEYS, clock=self._clock)
        fixed: list[Place] = []
        said: list[Place] = []
        for prefix in _prefixes(request):
            key = prefix.key + model.api_model.encode()
            before = seen.get(org, key) or 0
            seen.put(org, key, before + 1)
            if before and repays(model, before) and _tokens(request, prefix.place) >= least:
                growing = prefix.place.messages > _system(request) and not prefix.place.characters
                (said if growing else fixed).append(prefix.place)
        chosen = [*fixed, *said[-1:]][-min(self._settings.max_markers, provider.most_markers) :]
        return provider.mark(request, chosen) if chosen else request


def marked(request: Request) -> bool:
    """Whether the caller has set a marker anywhere: then it knows better, and nothing is added."""
    return any(_MARKER in raw for raw in _raws(request)) or any(name == "cache_control" for name, _ in request.options)


def repays(model: Model, reuse: int) -> bool:
    """Whether so many further readings of a beginning save more than writing it costs. Not where prices are unknown."""
    prices = model.prices
    if prices is None or prices.cache_read is None:
        return False
    written = prices.input if prices.cache_write is None else prices.cache_write
    return reuse * (prices.input - prices.cache_read) > written - prices.input


def _prefixes(request: Request) -> Iterator[_Prefix]:
    """From the shortest: the tools, the system prompt, what was said before, and a document in the last turn. The whole
    request comes last: it may be the beginning of the next one."""
    chain, system, last = digests(request), _system(request), len(request.messages)
    if request.tools:
        yield _Prefix(Place(0), chain[0])
    if system and system < last:
        yield _Prefix(Place(system), chain[system])
    for place in range(max(system + 1, last - _LOOK_BACK), last):
        yield _Prefix(Place(place), chain[place])
    text = request.messages[-1].content
    if isinstance(text, str) and text.startswith(_DOCUMENT[0]):
        end = text.find(_DOCUMENT[1]) + len(_DOCUMENT[1])
        if end >= len(_DOCUMENT[1]) and end < len(text):
            yield _Prefix(Place(last - 1, end), extended(chain[last - 1], text[:end]))
    yield _Prefix(Place(last), chain[last])


def _system(request: Request) -> int:
    """How many messages the system prompt has."""
    turns = (at for at, each in enumerate(request.messages) if each.role not in ("system", "developer"))
    return next(turns, len(request.messages))


def _tokens(request: Request, place: Place) -> int:
    """Estimated tokens up to a place; the last turn as a whole is no place to mark."""
    if place.messages == len(request.messages):
        return 0
    total = sum((len(tool.parameters) + len(tool.description or "")) // 4 + 1 for tool in request.tools)
    total += sum(count_tokens(message.text) for message in request.messages[: place.messages])
    if place.characters:
        total += count_tokens(request.messages[place.messages].text[: place.characters])
    return total


def _size(request: Request) -> int:
    text = sum(len(message.text) for message in request.messages)
    return text + sum(len(tool.parameters) + len(tool.description or "") for tool in request.tools)


def _raws(request: Request) -> Iterator[bytes]:
    for tool in request.tools:
        yield tool.extra
    for message in request.messages:
        yield message.extra
        yield from (call.extra for call in message.tool_calls)
        if isinstance(message.content, tuple):
            yield from (part.raw for part in message.content)
