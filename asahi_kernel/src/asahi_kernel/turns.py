"""Turns: of all workers over one storage, one does at a time what need not be done by each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asahi_kernel.identity import new_id
from asahi_kernel.records import Claim

if TYPE_CHECKING:
    from asahi_kernel.protocols import Storage


async def my_turn(storage: Storage, org: str, name: str, seconds: float) -> bool:
    """Whether nobody else has had this turn for so long. It is never given back, but runs out: so many workers look no
    more often than one, and one that died is replaced. `org` is the operator's; whoever has the turn for longer than
    that does not keep the next one from beginning, so what is done must bear being done twice."""
    claim = Claim(org_id=org, route="turns", key=name, fingerprint=b"", request_id=new_id(), lease_s=seconds)
    return await storage.idempotency.claim(claim) is None
