"""Screening: output policies look at a stream while it comes, so that it stays one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from asahi_kernel.errors import AsahiError, PluginError
from asahi_kernel.texts import in_json
from asahi_kernel.types import Chunk, ToolCallDelta
from asahi_kernel.vetting import Sieve, StreamPolicy

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.relay import Relay
    from asahi_kernel.types import Principal, Request

log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Screen:
    """What stands between an upstream and the relay of one stream.

    Text goes through as the sieves let it. Tool calls wait for the end of their choice and go through whole, since
    their arguments are JSON, whose escapes hide what is in them. A stream that begins with vendor fields (thinking, log
    probabilities) is `held`: nobody could say what they spell piece by piece, so it waits for the whole answer. Those
    that come later, once text is out, are left out.
    """

    def __init__(self, makers: Sequence[Callable[[], Sieve]]) -> None:
        self._makers = makers
        self.held = False
        self._begun = False
        self._choices: dict[int, _Choice] = {}

    def restart(self) -> None:
        """Another attempt begins: what was held back of the last one is forgotten."""
        self.held = False
        self._choices.clear()

    def pass_on(self, chunk: Chunk) -> Iterable[Chunk]:
        """What may go out now."""
        with _blamed():
            return self._sift(chunk)

    def _sift(self, chunk: Chunk) -> Iterable[Chunk]:
        vendor = bool(chunk.delta) or (bool(chunk.choice) and chunk.finish_reason is None)
        vendor = vendor or any(call.extra for call in chunk.tool_calls) or b"logprobs" in chunk.choice
        if vendor and not self._begun:
            self.held = True
        if self.held:
            return ()
        choice = self._choices.get(chunk.index)
        if choice is None:
            choice = self._choices[chunk.index] = _Choice([make() for make in self._makers])
        out = tuple(choice.sift(chunk, self._whole))
        self._begun = self._begun or bool(out)
        return out

    def _whole(self, text: str) -> str:
        """A text that is there to its end."""
        sieves = [make() for make in self._makers]
        return fed(sieves, text) + ended(sieves)


class _Choice:
    def __init__(self, sieves: Sequence[Sieve]) -> None:
        self._sieves = sieves
        self._calls: dict[int, list[ToolCallDelta]] = {}
        self._ended = False

    def sift(self, chunk: Chunk, whole: Callable[[str], str]) -> Iterator[Chunk]:
        if self._ended:
            return
        for call in chunk.tool_calls:
            self._calls.setdefault(call.index, []).append(call)
        text = fed(self._sieves, chunk.text)
        if chunk.finish_reason is None:
            if text:
                yield Chunk(index=chunk.index, text=text)
            return
        self._ended = True
        if text := text + ended(self._sieves):
            yield Chunk(index=chunk.index, text=text)
        for _, pieces in sorted(self._calls.items()):
            yield Chunk(index=chunk.index, tool_calls=(_joined(pieces, whole),))
        ending = _without_odds(chunk.choice, whole) if chunk.choice else b""
        yield msgspec.structs.replace(chunk, text="", tool_calls=(), delta=b"", choice=ending)


def fed(sieves: Sequence[Sieve], text: str) -> str:
    """A piece through all sieves in turn."""
    for sieve in sieves:
        if not text:
            return ""
        text = sieve.feed(text)
    return text


def ended(sieves: Sequence[Sieve]) -> str:
    """What all sieves still hold: the later ones see what the earlier ones let go last."""
    text = ""
    for sieve in sieves:
        text = (sieve.feed(text) if text else "") + sieve.end()
    return text


def screened(gateway: Gateway, request: Request, principal: Principal, relay: Relay | None) -> Relay | None:
    """The relay, behind a screen where output policies look at this answer; None where one must see the whole first."""
    if relay is None or not gateway.output_policies:
        return relay
    makers: list[Callable[[], Sieve]] = []
    for policy in gateway.output_policies:
        if not isinstance(policy, StreamPolicy):
            return None
        with _blamed():
            maker = policy.sieve(request, principal)
        if maker is not None:
            makers.append(maker)
    relay.screen = Screen(makers) if makers else None
    return relay


@contextmanager
def _blamed() -> Iterator[None]:
    """Whatever goes wrong in a policy is no fault of the provider's, and closes the request."""
    try:
        yield
    except AsahiError:
        raise
    except Exception as error:
        log.warning("an output policy failed: %s", type(error).__name__)
        raise PluginError(f"an output policy failed with {type(error).__name__}") from error


def _joined(pieces: Sequence[ToolCallDelta], whole: Callable[[str], str]) -> ToolCallDelta:
    arguments = in_json("".join(piece.arguments for piece in pieces), whole)
    names = {"id": "", "name": "", "type": ""}
    for piece in pieces:
        for field in names:
            names[field] = getattr(piece, field) or names[field]
    return ToolCallDelta(
        index=pieces[0].index,
        id=names["id"] or None,
        name=names["name"] or None,
        type=names["type"] or None,
        arguments=arguments,
    )


def _without_odds(choice: bytes, whole: Callable[[str], str]) -> bytes:
    """The vendor's fields of an ending, without log probabilities, which spell out what was held back."""
    told = _members(choice)
    told.pop("logprobs", None)
    return in_json(_encode(told).decode(), whole).encode() if told else b""
