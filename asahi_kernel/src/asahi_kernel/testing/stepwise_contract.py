"""The contract of tiers that answer in steps: see `StepwiseTier`."""

from __future__ import annotations

from typing import Any

from asahi_kernel.testing.contracts import KEY, OTHER_KEY, Contract
from asahi_kernel.testing.samples import ASK, HERE, PARIS, THERE
from asahi_kernel.tiers import ListingTier, Step, StepwiseTier

STEP = Step(step_id="one", step_type="answer", request=ASK, key=KEY)
OTHER = Step(step_id="other", step_type="answer", request=ASK, key=OTHER_KEY)


class StepwiseTierContract(Contract):
    """It keeps the results of steps, each org's apart, and never whole answers."""

    async def test_it_is_one_and_lists(self, subject: Any) -> None:
        assert isinstance(subject, StepwiseTier)
        assert isinstance(subject, ListingTier)
        assert subject.tier == 3

    async def test_a_result_is_found_again_under_its_key_alone(self, subject: Any) -> None:
        await subject.keep(STEP, HERE, PARIS)
        hit = await subject.find(STEP, HERE)
        assert (hit.completion, hit.tier) == (PARIS, 3)
        assert await subject.find(OTHER, HERE) is None

    async def test_orgs_never_meet(self, subject: Any) -> None:
        await subject.keep(STEP, HERE, PARIS)
        assert await subject.find(STEP, THERE) is None
        assert await subject.clear("there") == 0
        assert await subject.find(STEP, HERE) is not None

    async def test_whole_answers_are_not_its_business(self, subject: Any) -> None:
        await subject.put(KEY, ASK, HERE, PARIS)
        assert await subject.get(KEY, ASK, HERE) is None
        assert await subject.entries("here") == []

    async def test_clear_and_evict_forget(self, subject: Any) -> None:
        for step in (STEP, OTHER):
            await subject.keep(step, HERE, PARIS)
        hit = await subject.find(STEP, HERE)
        assert await subject.evict("there", hit.entry_id) is False
        assert await subject.evict("here", hit.entry_id) is True
        assert await subject.find(STEP, HERE) is None
        assert await subject.clear("here") == 1
        assert await subject.find(OTHER, HERE) is None

    async def test_a_plain_question_has_no_plan(self, subject: Any) -> None:
        assert subject.plan(ASK, HERE) is None
