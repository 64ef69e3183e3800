"""Estimating: what a run will cost, before a provider is paid."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from asahi_kernel.api.exchange import named
from asahi_kernel.benchmark.contestants import asahi_settings, baseline_case, baseline_settings
from asahi_kernel.benchmark.recording import check_models, decode
from asahi_kernel.errors import AsahiError
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.money import count_input, expect_output
from asahi_kernel.rendering import render
from asahi_kernel.routing import route
from asahi_kernel.trace import Trace
from asahi_kernel.types import Principal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asahi_kernel.benchmark.running import Plan
    from asahi_kernel.benchmark.workload import Case

_NOBODY = Principal(org="benchmark")


class Estimate(Struct, frozen=True, kw_only=True):
    """Both sides of a run together, in nUSD, as if no cache ever hit: `expected` with answers of ordinary length,
    `most` with every answer as long as it may be and no call repeated. `unpriced` requests come on top."""

    requests: int
    expected: int
    most: int
    unpriced: int


async def estimate(plan: Plan) -> Estimate:
    """Route every request on both sides, and call nobody."""
    ours, theirs = Gateway(asahi_settings(plan.settings)), Gateway(baseline_settings(plan.settings))
    async with running(ours, plan.plugins), running(theirs, plan.plugins):
        check_models(plan.cases, ours.registry)
        plain = [baseline_case(case, theirs.registry) for case in plan.cases]
        costs = [*await _foresee(ours, plan.cases), *await _foresee(theirs, plain)]
    priced = [cost for cost in costs if cost is not None]
    return Estimate(
        requests=len(costs),
        expected=sum(expected for expected, _ in priced),
        most=sum(most for _, most in priced),
        unpriced=len(costs) - len(priced),
    )


async def _foresee(gateway: Gateway, cases: Sequence[Case]) -> list[tuple[int, int] | None]:
    return [await _cost(gateway, case) for case in cases]


async def _cost(gateway: Gateway, case: Case) -> tuple[int, int] | None:
    """Expected and most, or None where the price is unknown; a request that no model may answer costs nothing."""
    request = render(named(gateway, decode(case)))
    try:
        ranked = await route(gateway, request, _NOBODY, Trace("benchmark"))
    except AsahiError:
        return 0, 0
    model = ranked[0].model
    if model.prices is None:
        return None
    tokens = count_input(request)
    longest = request.max_tokens or model.max_output_tokens
    expected = min(longest, max(expect_output(tokens, request.max_tokens), case.expected_output_length))
    return model.prices.plain(tokens, expected) * request.n, model.prices.plain(tokens, longest) * request.n
