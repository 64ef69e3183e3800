"""Answers by `Idempotency-Key` in this process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection

from asahi_kernel.clock import monotonic
from asahi_kernel.records import Claim, Kept

_DAY_S = 86_400.0
_MAX_BYTES = 64 << 20


class MemoryIdempotency:
    """Keeps answers for a day.

    When an org's are too many bytes together its oldest go first, but never a claim whose request is still under way:
    that one would be paid for twice.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str, str], tuple[float, Kept, str]] = OrderedDict()
        self._bytes: dict[str, int] = {}

    async def claim(self, claim: Claim) -> Kept | None:
        name = _name(claim)
        until, kept, _ = self._kept.get(name, (0.0, None, ""))
        if kept is not None and until > self._clock():
            return kept
        self._drop(name)
        self._put(name, self._clock() + claim.lease_s, Kept(fingerprint=claim.fingerprint), claim.request_id)
        return None

    async def keep(self, claim: Claim, kept: Kept) -> None:
        name = _name(claim)
        _, found, owner = self._kept.get(name, (0.0, None, ""))
        if found is None or not found.status or owner == claim.request_id:
            self._drop(name)
            self._put(name, self._clock() + _DAY_S, kept, claim.request_id)

    async def release(self, claim: Claim) -> None:
        name = _name(claim)
        if name in self._kept and self._kept[name][2] == claim.request_id:
            self._drop(name)

    def forget(self, org: str, request_ids: Collection[str] | None) -> int:
        """Those of these requests, or of the whole org; how many."""
        doomed = [
            name
            for name, (_, _, owner) in self._kept.items()
            if name[0] == org and (request_ids is None or owner in request_ids)
        ]
        for name in doomed:
            self._drop(name)
        return len(doomed)

    def _put(self, name: tuple[str, str, str], until: float, kept: Kept, owner: str) -> None:
        org = name[0]
        self._kept[name] = until, kept, owner
        self._bytes[org] = self._bytes.get(org, 0) + _size(kept)
        if self._bytes[org] > _MAX_BYTES:
            for oldest in [each for each, (_, old, _) in self._kept.items() if each[0] == org and old.status]:
                if self._bytes[org] <= _MAX_BYTES or oldest == name:
                    break
                self._drop(oldest)

    def _drop(self, name: tuple[str, str, str]) -> None:
        if name in self._kept:
            self._bytes[name[0]] -= _size(self._kept.pop(name)[1])


def _name(claim: Claim) -> tuple[str, str, str]:
    return claim.org_id, claim.route, claim.key


def _size(kept: Kept) -> int:
    return len(kept.body) + 1_000
