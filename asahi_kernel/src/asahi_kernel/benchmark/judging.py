"""Judging: the hits of a run held against what the workload knows."""

from __future__ import annotations

from collections.abc import Sequence

from asahi_kernel.benchmark.interval import wilson
from asahi_kernel.benchmark.recording import decode
from asahi_kernel.benchmark.replaying import Outcome
from asahi_kernel.benchmark.report import FalseHit, TierTruth, Truth
from asahi_kernel.benchmark.workload import Case

#: How many false hits are told in full, and how much of each text.
_TOLD, _CUT = 200, 400

_Pairs = Sequence[tuple[Case, Outcome]]


def judge(cases: Sequence[Case], outcomes: Sequence[Outcome], bound: float = 0.0, *, real: bool = False) -> Truth:
    """A hit is true only if it serves what a provider answered to a request of the same meaning. The run is `proper`
    unless the first tier gave a false answer, or the 95 % interval of another one's false hits lies above `bound`.

    With `real` models a later tier may hold the answer to a recheck, which no request of the run was given: a hit of
    that is not judged.
    """
    pairs = list(zip(cases, outcomes, strict=True))
    paid = [(case, outcome) for case, outcome in pairs if not outcome.tier and outcome.error is None]
    right = {(case.meaning, outcome.text) for case, outcome in paid}
    known = [(case, outcome) for case, outcome in pairs if case.meaning]
    texts = {outcome.text for _, outcome in paid}
    every = [(case, outcome) for case, outcome in known if outcome.tier]
    hits = [each for each in every if not (real and each[1].tier > 1 and each[1].text not in texts)]
    false = [(case, outcome) for case, outcome in hits if (case.meaning, outcome.text) not in right]
    tiers = [_tier(tier, hits, false) for tier in sorted({outcome.tier for _, outcome in hits})]
    interval = wilson(len(false), len(hits))
    repeats = [outcome for case, outcome in pairs if case.kind == "repeat"]
    return Truth(
        judged=len(known),
        hits=len(hits),
        unjudged=len(every) - len(hits),
        false_hits=len(false),
        rate=len(false) / len(hits) if hits else None,
        rate_low=interval[0] if interval else None,
        rate_high=interval[1] if interval else None,
        bound=bound,
        proper=all(not each.false_hits if each.tier == 1 else each.rate_low <= bound for each in tiers),
        by_tier=tiers,
        false_hit_ids=[case.id for case, _ in false],
        told=_tell(false[:_TOLD], paid, real),
        repeats=len(repeats),
        missed_repeats=sum(not outcome.tier for outcome in repeats),
    )


def _tier(tier: int, hits: _Pairs, false: _Pairs) -> TierTruth:
    own = sum(outcome.tier == tier for _, outcome in hits)
    wrong = sum(outcome.tier == tier for _, outcome in false)
    low, high = wilson(wrong, own) or (0.0, 1.0)
    return TierTruth(tier=tier, hits=own, false_hits=wrong, rate=wrong / own, rate_low=low, rate_high=high)


def _tell(false: _Pairs, paid: _Pairs, real: bool) -> list[FalseHit]:
    sources = {outcome.text: case for case, outcome in reversed(paid)}
    return [_false(case, outcome, sources.get(outcome.text), real) for case, outcome in false]


def _false(case: Case, outcome: Outcome, source: Case | None, real: bool) -> FalseHit:
    invented = not real and source is not None and not source.answer
    return FalseHit(
        id=case.id,
        tier=outcome.tier,
        type=case.type,
        prompt=_question(case),
        meaning=_cut(case.meaning),
        answer="" if invented else _cut(outcome.text),
        answers=_question(source) if source is not None else None,
        answers_meaning=_cut(source.meaning) if source is not None else None,
    )


def _question(case: Case) -> str:
    return _cut(decode(case).messages[-1].text) if case.body else ""


def _cut(text: str) -> str:
    return text if len(text) <= _CUT else text[:_CUT] + " …"
