"""The policy `rate`: requests of a key, and requests and tokens of an org, within a minute that slides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asahi_kernel.allowances import Counted, Left, estimate, tell
from asahi_kernel.asking import note_fault
from asahi_kernel.errors import Exhausted, Unavailable
from asahi_kernel.money import count_input, expect_output
from asahi_kernel.protocols import LocalPart

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.types import Principal, Request

_MINUTE = 60
#: No limit: what was used beyond an estimate is counted whatever is left.
_ANY = 1 << 53


class Rate:
    """Counts in the shared counter. A counter of this worker alone allows its share of a limit, never all of it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        workers = gateway.settings.api.workers
        self._share = workers if isinstance(gateway.counter, LocalPart) else 1

    async def admit(self, request: Request, principal: Principal) -> Request:
        """Raises `Exhausted` with the seconds until there is room."""
        policy = (await self._gateway.standings.of(principal.org)).policy
        key = principal.key_id or principal.user or "-"
        await self._take(principal, f"key:{key}", "requests", 1, self._gateway.settings.api.rate_limit_per_minute)
        await self._take(principal, "org", "requests", 1, policy.max_requests_per_minute)
        if policy.max_tokens_per_minute:
            tokens = count_input(request)
            tokens += expect_output(tokens, request.max_tokens) * request.n
            await self._take(principal, "org:tokens", "tokens", tokens, policy.max_tokens_per_minute)
            estimate(tokens)
        return request

    async def metered(self, principal: Principal, estimated: int, billed: int) -> None:
        """What was used beyond the estimate counts too; an estimate that was too high is forgotten with its minute."""
        if billed > estimated:
            await self._gateway.counter.take(principal.org, "org:tokens", billed - estimated, _ANY, _MINUTE)

    async def _take(self, principal: Principal, key: str, counted: Counted, amount: int, limit: int | None) -> None:
        if not limit:
            return
        here = max(1, limit // self._share)
        try:
            left = await self._gateway.counter.take(principal.org, key, amount, here, _MINUTE)
        except Exception:  # noqa: BLE001 - fails closed, whatever it is
            note_fault(self._gateway, "limits", "counter")
            raise Unavailable("what is left of a rate limit cannot be known now", retry_after=5) from None
        tell(counted, Left(here, left.remaining, left.retry_after if not left.granted else _MINUTE))
        if not left.granted:
            self._gateway.faults[f"rate.limited.{key.partition(':')[0]}"] += 1
            whose = "this key" if key.startswith("key:") else f"organisation {principal.org!r}"
            raise Exhausted(
                f"{whose} may use {limit} {counted} a minute",
                retry_after=left.retry_after,
                details={"limit": limit, "used": here - left.remaining, "resets_in_s": round(left.retry_after, 3)},
            )
