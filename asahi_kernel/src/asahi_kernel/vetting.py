"""What a policy may be able to do beyond admitting a request. Each is a protocol of its own, looked for once while the
gateway opens."""

from __future__ import annotations

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
