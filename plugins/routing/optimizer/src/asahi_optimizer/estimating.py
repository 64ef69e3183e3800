"""The rule `estimate`: puts task, difficulty, expected quality and the cost in a warm conversation on every candidate,
and drops none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from asahi_kernel import Candidate, Verdict
from asahi_optimizer.difficulty import find
from asahi_optimizer.quality import Qualities
from asahi_optimizer.tasks import detect
from asahi_optimizer.warmth import Warmth, discounted

if TYPE_CHECKING:
    from asahi_kernel import Completion, Principal, Request
    from asahi_kernel.records import Observation
    from asahi_optimizer.config import EstimateConfig


class Estimate:
    """Looks at a request once. It learns from feedback, and remembers who answered."""

    local = True

    def __init__(self, config: EstimateConfig) -> None:
        self._qualities = Qualities(config)
        self._warmth = Warmth()

    async def rank(self, request: Request, principal: Principal, candidates: Sequence[Candidate]) -> Verdict:
        if not candidates:
            return Verdict(())
        findings = find(request, candidates[0].input_tokens)
        task, difficulty, org = findings.task, findings.difficulty, principal.org
        qualities = self._qualities
        warm = self._warmth.of(org, request)
        qualities.refresh()
        estimated = []
        for each in candidates:
            expected = qualities.expect(org, each.model, task, difficulty)
            estimated.append(
                Candidate(
                    name=each.name,
                    model=each.model,
                    input_tokens=each.input_tokens,
                    cost=each.cost if warm is None else discounted(each, request, warm),
                    quality=expected.quality,
                    latency_ms=each.latency_ms,
                    interval=expected.interval,
                    findings=findings,
                )
            )
        return Verdict(tuple(estimated))

    def task(self, request: Request) -> str:
        """The task alone, as the candidates' findings will name it."""
        return detect(request).task

    async def observe(self, observation: Observation) -> None:
        """Count a judgement of a past answer."""
        self._qualities.observe(observation)

    def answered(self, request: Request, principal: Principal, completion: Completion) -> None:
        """The next turn of this conversation is cheaper at the same model."""
        self._warmth.remember(principal.org, request, completion.model)
