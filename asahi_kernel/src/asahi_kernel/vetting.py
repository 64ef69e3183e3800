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
