"""Running: both contestants open side by side, replay the cases one after the other, and are audited."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from msgspec import Struct

from asahi_kernel.benchmark.comparing import Run, compare
from asahi_kernel.benchmark.contestants import asahi_settings, baseline_case, baseline_model, baseline_settings, is_mock
from asahi_kernel.benchmark.recording import check_models
from asahi_kernel.benchmark.replaying import audit, replay
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.identity import new_id

if TYPE_CHECKING:
    from asahi_kernel.benchmark.report import Report
    from asahi_kernel.benchmark.workload import Case
    from asahi_kernel.plugins import Plugins
    from asahi_kernel.settings import Settings


log = logging.getLogger(__name__)


class Plan(Struct, frozen=True, kw_only=True):
    """What to run: `source` names the workload in the report."""

    settings: Settings
    plugins: Plugins
    cases: Sequence[Case]
    source: str
    seed: int
    concurrency: int


async def run(plan: Plan, tick: Callable[[], None]) -> Report:
    """Replay everything through both; `tick` is called after each request. The org is new, so nothing is cached yet
    and nobody else's numbers are touched."""
    org = f"benchmark-{new_id()[-12:].lower()}"
    settings = plan.settings
    async with (
        running(Gateway(asahi_settings(settings)), plan.plugins) as ours,
        running(Gateway(baseline_settings(settings)), plan.plugins) as theirs,
    ):
        check_models(plan.cases, ours.registry)
        plain = [baseline_case(case, theirs.registry) for case in plan.cases]
        before = await replay(theirs, plain, org, plan.concurrency, tick)
        after = await replay(ours, plan.cases, org, plan.concurrency, tick)
        observed = Run(
            source=plan.source,
            seed=plan.seed,
            concurrency=plan.concurrency,
            mock=is_mock(settings),
            version=version("asahi-kernel"),
            baseline_model=baseline_model(ours.registry),
            tiers=tuple(ours.tiers),
            cases=plan.cases,
            baseline=before,
            asahi=after,
            baseline_books=await audit(theirs, before, org),
            asahi_books=await audit(ours, after, org),
        )
        await _forget(ours, org)
    return compare(observed)


async def _forget(gateway: Gateway, org: str) -> None:
    """What stays behind in a broken tier belongs to an org that nobody is, and expires."""
    for name, tier in gateway.tiers.items():
        try:
            await tier.clear(org)
        except Exception:
            log.warning("cache %s kept the benchmark's entries", name, exc_info=True)
