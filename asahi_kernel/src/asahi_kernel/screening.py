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
from asahi_kernel.vetting import Sieve, StreamPolicy, WholePolicy

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.relay import Relay
    from asahi_kernel.types import Principal, Request

log = logging.getLogger(__name__)
#: Members that are words of the vendor's or signed by it, and no text of the answer.
_FIXED = frozenset({"type", "id", "role", "status", "signature"})
_BLOCK = "content_block_delta"
_encode = msgspec.json.Encoder().encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Screen:
    """What stands between an upstream and the relay of one stream.

    Text goes through as the sieves let it, and so do the texts of vendor fields, such as thinking. Tool calls wait for
    the end of their choice and go through whole, since their arguments are JSON, whose escapes hide what is in them.
    Log probabilities are left out: they spell what is held back.
    """

    def __init__(self, makers: Sequence[Callable[[], Sieve]]) -> None:
        self._makers = makers
        self._choices: dict[int, _Choice] = {}

    def restart(self) -> None:
        """Another attempt begins: what was held back of the last one is forgotten."""
        self._choices.clear()

    def pass_on(self, chunk: Chunk) -> Iterable[Chunk]:
        """What may go out now."""
        with _blamed():
            choice = self._choices.get(chunk.index)
            if choice is None:
                choice = self._choices[chunk.index] = _Choice(chunk.index, self._makers)
            return tuple(choice.sift(chunk))


class _Choice:
    def __init__(self, index: int, makers: Sequence[Callable[[], Sieve]]) -> None:
        self._index = index
        self._makers = makers
        self._text = self._made()
        self._vendor = _VendorTexts(self._made)
        self._calls: dict[int, list[ToolCallDelta]] = {}
        self._ended = False

    def sift(self, chunk: Chunk) -> Iterator[Chunk]:
        if self._ended:
            return
        yield from self._told(self._vendor.turn(chunk))
        if chunk.delta:
            yield from self._told(self._vendor.feed(chunk.delta, self._whole))
        for call in chunk.tool_calls:
            self._calls.setdefault(call.index, []).append(call)
        text = fed(self._text, chunk.text)
        if chunk.finish_reason is None:
            if text:
                yield Chunk(index=self._index, text=text)
            return
        self._ended = True
        yield from self._told(self._vendor.end())
        if text := text + ended(self._text):
            yield Chunk(index=self._index, text=text)
        for _, pieces in sorted(self._calls.items()):
            yield Chunk(index=self._index, tool_calls=(_joined(pieces, self._whole),))
        ending = _without_odds(chunk.choice, self._whole) if chunk.choice else b""
        yield msgspec.structs.replace(chunk, text="", tool_calls=(), delta=b"", choice=ending)

    def _told(self, deltas: Iterable[bytes]) -> Iterator[Chunk]:
        return (Chunk(index=self._index, delta=delta) for delta in deltas if delta)

    def _made(self) -> Sequence[Sieve]:
        return [make() for make in self._makers]

    def _whole(self, text: str) -> str:
        """A text that is there to its end."""
        sieves = self._made()
        return fed(sieves, text) + ended(sieves)


class _VendorTexts:
    """Vendor fields whose texts come piece by piece: strings of a chunk's own object, and of what Anthropic calls the
    delta of a block. Any other value is whole. A field is at its end once something else comes."""

    def __init__(self, made: Callable[[], Sequence[Sieve]]) -> None:
        self._made = made
        self._open: dict[str, Sequence[Sieve]] = {}
        self._form: dict[str, object] = {}
        self._inner = ""

    def turn(self, chunk: Chunk) -> Iterator[bytes]:
        """What was held, where the chunk brings something else."""
        if chunk.text or chunk.tool_calls:
            yield from self.end()

    def feed(self, delta: bytes, whole: Callable[[str], str]) -> Iterator[bytes]:
        """The fields as they may go out."""
        told = msgspec.json.decode(delta)
        inner = _BLOCK if isinstance(told.get(_BLOCK), dict) else ""
        fields = told[inner] if inner else told
        texts = {name: value for name, value in fields.items() if isinstance(value, str) and name not in _FIXED}
        if self._open and (inner != self._inner or texts.keys() != self._open.keys()):
            yield from self.end()
        self._inner = inner
        self._form = {name: value for name, value in fields.items() if name in _FIXED and isinstance(value, str)}
        others = {name: value for name, value in fields.items() if name not in texts and name not in self._form}
        if others:
            others = msgspec.json.decode(in_json(_encode(others).decode(), whole))
        for name, text in texts.items():
            if name not in self._open:
                self._open[name] = self._made()
            texts[name] = fed(self._open[name], text)
        said = {name: text for name, text in texts.items() if text}
        if said or others or (self._form and not texts):
            yield self._laid({**self._form, **said, **others})

    def end(self) -> Iterator[bytes]:
        """What was held."""
        for name, sieves in self._open.items():
            if text := ended(sieves):
                yield self._laid({**self._form, name: text})
        self._open.clear()

    def _laid(self, fields: dict[str, object]) -> bytes:
        return _encode({self._inner: fields} if self._inner else fields)


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
            if isinstance(policy, WholePolicy) and policy.whole(request, principal):
                return None
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
    extra = next((piece.extra for piece in pieces if piece.extra), b"")
    return ToolCallDelta(
        index=pieces[0].index,
        id=names["id"] or None,
        name=names["name"] or None,
        type=names["type"] or None,
        arguments=arguments,
        extra=in_json(extra.decode(), whole).encode() if extra else b"",
    )


def _without_odds(choice: bytes, whole: Callable[[str], str]) -> bytes:
    """The vendor's fields of an ending, without log probabilities, which spell out what was held back."""
    told = _members(choice)
    told.pop("logprobs", None)
    return in_json(_encode(told).decode(), whole).encode() if told else b""
