"""What a policy may be able to do beyond admitting a request. Each is a protocol of its own, looked for once while the
gateway opens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from asahi_kernel.types import Completion, Principal, Request


@runtime_checkable
class Veto(Protocol):
    """A policy that may say why a stored answer must not be served to somebody today, or nothing: then it is a miss.
    Asked for each hit after `admit`, so it must not wait."""

    def objection(self, request: Request, principal: Principal, stored: Completion) -> str: ...


@runtime_checkable
class Binding(Protocol):
    """A settlement that holds nothing for most callers: asked after `admit`, so it must not wait. Only where it binds
    is money reserved, and a model without a price no candidate."""

    def binds(self, principal: Principal) -> bool: ...


@runtime_checkable
class Meter(Protocol):
    """A policy that counts tokens: told once the request is over how many were counted in advance, and how many a
    provider billed. Off the request path; if it fails nothing else does."""

    async def metered(self, principal: Principal, estimated: int, billed: int) -> None: ...


@runtime_checkable
class Clearance(Protocol):
    """A policy that must see whatever leaves for a vendor, also what is no inference, such as a count of tokens.
    `clear` gives the request as it may leave, or raises `Denied`; it spends nothing."""

    async def clear(self, request: Request, principal: Principal) -> Request: ...


class Sieve(Protocol):
    """Looks at one text of an answer as it comes. What `feed` gives may go out now; what could still become something
    else with the next piece is held back; `end` gives the rest. Either may raise `Denied`, which ends the stream."""

    def feed(self, text: str) -> str: ...
    def end(self) -> str: ...


@runtime_checkable
class WholePolicy(Protocol):
    """A policy that can look at most answers while they come. Where `whole` says so, it must see this one to its end
    before anything goes out. Asked before `sieve`, and like it must not wait."""

    def whole(self, request: Request, principal: Principal) -> bool: ...


@runtime_checkable
class StreamPolicy(Protocol):
    """An output policy that can look at an answer while it comes; one that cannot makes every stream wait for the whole
    answer. `sieve` gives what makes a sieve for each text, or None where this request's answer needs no look. Asked for
    each stream after `admit`, so it must not wait. Joined, a sieve's pieces are what `release` makes of the whole."""

    def sieve(self, request: Request, principal: Principal) -> Callable[[], Sieve] | None: ...
