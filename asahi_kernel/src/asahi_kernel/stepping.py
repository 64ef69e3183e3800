"""Stepping: a request that is answered in steps. What is known of them is reused, what is missing is really done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from asahi_kernel.answer import StepNote
from asahi_kernel.asking import note_fault
from asahi_kernel.errors import AsahiError
from asahi_kernel.types import Completion, Hit, Request, Usage

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.relay import Relay
    from asahi_kernel.tiers import Plan, Step, StepwiseTier
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Principal

    Obtain: TypeAlias = Callable[[Request, Trace, Relay | None, float], Awaitable[Completion]]
    Fit: TypeAlias = Callable[[Hit], bool]


class Unfinished(Exception):
    """A step's result was cut off and cannot be built on: the request must be answered whole."""


class Walk:
    """One request on its way through a plan. `tokens` are those of the whole request, by our own count; `fit` says
    whether a stored result may be used for it today."""

    def __init__(
        self, gateway: Gateway, tier: StepwiseTier, plan: Plan, principal: Principal, tokens: int, fit: Fit
    ) -> None:
        self._gateway = gateway
        self._tier = tier
        self._plan = plan
        self._principal = principal
        self._tokens = tokens
        self._fit = fit
        self._results: dict[str, Completion] = {}
        self._notes: dict[str, StepNote] = {}
        self._oldest: Hit | None = None

    @property
    def notes(self) -> tuple[StepNote, ...]:
        """The steps there are, as they came about."""
        return tuple(self._notes.values())

    async def known(self) -> Hit | None:
        """The answer, where every step of it is known. Raises what the tier raises."""
        while steps := self._plan.following(self._results):
            for step in steps:
                hit = await self._tier.find(step, self._principal)
                if hit is None or not self._fit(hit):
                    return None
                self._take(step, hit)
        oldest = self._oldest
        if oldest is None:
            return None
        answer = self._whole()
        return Hit(completion=answer, tier=3, entry_id=oldest.entry_id, age_s=oldest.age_s, user=oldest.user)

    async def finish(self, trace: Trace, relay: Relay | None, obtain: Obtain, seconds: float) -> Completion:
        """The answer, after doing what is missing within so many seconds; `obtain` asks a model for one step and pays
        for it. Raises what a call raises when a step fails, and `Unfinished`; steps that were done stay known."""
        deadline = time.monotonic() + seconds
        while steps := self._plan.following(self._results):
            missing = [step for step in steps if not await self._found(step)]
            try:
                async with asyncio.TaskGroup() as group:
                    for step in missing:
                        live = relay if self._plan.last(step) else None
                        group.create_task(self._done(step, trace, live, obtain, deadline))
            except BaseExceptionGroup as failed:
                raise cause(failed) from None
        return self._whole()

    async def _found(self, step: Step) -> bool:
        if step.step_id in self._results:
            return True
        try:
            hit = await self._tier.find(step, self._principal)
        except Exception:  # noqa: BLE001 - fails open: the step is done anew
            note_fault(self._gateway, "cache", "step")
            return False
        if hit is not None and self._fit(hit):
            self._take(step, hit)
        return step.step_id in self._results

    async def _done(self, step: Step, trace: Trace, live: Relay | None, obtain: Obtain, deadline: float) -> None:
        part = trace.branch()
        try:
            result = await obtain(step.request, part, live, deadline)
        finally:
            trace.join(part)
        if result.finish_reason != "stop" and not self._plan.last(step):
            raise Unfinished
        if result.finish_reason == "stop" and not part.inexact:
            await self._keep(step, result)
        self._results[step.step_id] = result
        self._notes[step.step_id] = self._note(step, result, reused=False)

    async def _keep(self, step: Step, result: Completion) -> None:
        try:
            await self._tier.keep(step, self._principal, result)
        except Exception:  # noqa: BLE001 - fails open: it is only not known
            note_fault(self._gateway, "cache", "step")

    def _take(self, step: Step, hit: Hit) -> None:
        self._results[step.step_id] = hit.completion
        self._notes[step.step_id] = self._note(step, hit.completion, reused=True)
        if self._oldest is None or hit.age_s > self._oldest.age_s:
            self._oldest = hit

    def _whole(self) -> Completion:
        """With the usage that one call for all of it would have had."""
        answer = self._plan.compose(self._results)
        output = answer.usage.output_tokens if answer.usage else 0
        return msgspec.structs.replace(answer, usage=Usage(self._tokens, output, source="estimated"))

    def _note(self, step: Step, result: Completion, *, reused: bool) -> StepNote:
        model = self._gateway.registry.by_name.get(result.model)
        prices = model.prices if model is not None else None
        cost = prices.cost(result.usage or Usage()) if prices is not None else None
        return StepNote(
            step_id=step.step_id,
            step_type=step.step_type,
            reused=reused,
            model=result.model,
            cost=0 if reused else cost,
            worth=(cost or 0) if reused else 0,
        )


def cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What to tell of steps that failed together: the first refusal of ours, else the first of all."""
    flat = _flat(group)
    return next((each for each in flat if isinstance(each, AsahiError)), flat[0])


def _flat(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [each for inner in error.exceptions for each in _flat(inner)]
    return [error]
