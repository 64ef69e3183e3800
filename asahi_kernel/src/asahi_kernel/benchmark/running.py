"""Running: both contestants open side by side, replay the cases one after the other, and are audited."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from msgspec import Struct

from asahi_kernel.benchmark.circumstances import configuration, machine
from asahi_kernel.benchmark.comparing import Run, compare
from asahi_kernel.benchmark.contestants import (
    asahi_settings,
    baseline_case,
    baseline_model,
    baseline_settings,
    is_mock,
    refuse_paid,
)
from asahi_kernel.benchmark.recording import check_models
from asahi_kernel.benchmark.replaying import audit, replay
from asahi_kernel.benchmark.report import Circumstances
from asahi_kernel.benchmark.standing_in import Instructed, truths
from asahi_kernel.gateway import Gateway, running
from asahi_kernel.identity import new_id

if TYPE_CHECKING:
    from asahi_kernel.benchmark.report import Report
    from asahi_kernel.benchmark.workload import Case
    from asahi_kernel.plugins import Plugins
    from asahi_kernel.settings import Settings


log = logging.getLogger(__name__)


class Plan(Struct, frozen=True, kw_only=True):
    """What to run: `source` names the workload in the report, `configured` where the settings come from, and `command`
    is what does it again. `bound` is the share of hits of a learning tier that may be false."""

    settings: Settings
    plugins: Plugins
    cases: Sequence[Case]
    source: str
    seed: int
    concurrency: int
    built_in: bool = False
    bound: float = 0.0
    remarks: tuple[str, ...] = ()
    configured: str = "defaults"
    command: str = ""


async def run(plan: Plan, tick: Callable[[], None]) -> Report:
    """Replay everything through both; `tick` is called after each request. The org is new, so nothing is cached yet
    and nobody else's numbers are touched."""
    org = f"benchmark-{new_id()[-12:].lower()}"
    settings, mock = plan.settings, is_mock(plan.settings)
    refuse_paid(settings)
    plugins, answers = (Instructed(plan.plugins), truths(plan.cases)) if mock else (plan.plugins, {})
    started, begun = datetime.now(UTC), time.monotonic()
    async with (
        running(Gateway(asahi_settings(settings)), plugins) as ours,
        running(Gateway(baseline_settings(settings)), plugins) as theirs,
    ):
        check_models(plan.cases, ours.registry)
        plain = [baseline_case(case, theirs.registry) for case in plan.cases]
        before = await replay(theirs, plain, org, plan.concurrency, tick, answers)
        after = await replay(ours, plan.cases, org, plan.concurrency, tick, answers)
        baseline_books, asahi_books = await audit(theirs, before, org), await audit(ours, after, org)
        observed = Run(
            source=plan.source,
            built_in=plan.built_in,
            bound=plan.bound,
            remarks=plan.remarks,
            seed=plan.seed,
            concurrency=plan.concurrency,
            mock=mock,
            version=version("asahi-kernel"),
            baseline_model=baseline_model(ours.registry),
            tiers=tuple(ours.tiers),
            cases=plan.cases,
            baseline=before,
            asahi=after,
            baseline_books=baseline_books,
            asahi_books=asahi_books,
            circumstances=Circumstances(
                started=started.isoformat(timespec="seconds"),
                duration_s=round(time.monotonic() - begun, 1),
                command=plan.command,
                machine=machine(),
                configuration=configuration(ours, plan.configured),
            ),
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
