"""Batches at a provider: what may go into one, whose answer is whose, and what each costs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from asahi_kernel import books
from asahi_kernel.answer import Bill
from asahi_kernel.draft import Draft
from asahi_kernel.errors import ProviderError
from asahi_kernel.types import Batch, Completion, Model, Request

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway

MOST_MEMBERS = 10_000
_MEMBER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BATCH_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def check_members(members: Sequence[tuple[str, Request]]) -> None:
    """Raises `ProviderError` for members that cannot be told apart, or are none or too many."""
    if not 1 <= len(members) <= MOST_MEMBERS:
        raise _rejected(f"a batch has 1 to {MOST_MEMBERS} members, not {len(members)}")
    seen: set[str] = set()
    for member_id, _ in members:
        if not _MEMBER_ID.fullmatch(member_id):
            raise _rejected("a member's id has 1 to 64 letters, digits, '-' and '_'")
        if member_id in seen:
            raise _rejected(f"two members have the id {member_id!r}")
        seen.add(member_id)


def check_batch_id(batch_id: str) -> str:
    """The id, which goes into an address; `ProviderError` for one that no vendor gives."""
    if not _BATCH_ID.fullmatch(batch_id):
        raise _rejected("that is no id of a batch")
    return batch_id


def gather(answers: Iterable[tuple[str, Completion | ProviderError]]) -> Mapping[str, Completion | ProviderError]:
    """The answers by id. Of a member that is answered twice nobody knows which is the right one: it has failed."""
    found: dict[str, Completion | ProviderError] = {}
    for member_id, answer in answers:
        twice = member_id in found
        found[member_id] = ProviderError("answered a member twice", retryable=False) if twice else answer
    return found


def assigned(members: Iterable[str], batch: Batch) -> Mapping[str, Completion | ProviderError]:
    """What became of each member of a batch that is over, and of nobody else."""
    reason = batch.error or "did not answer this member"
    return {each: batch.results.get(each) or ProviderError(reason, retryable=False) for each in members}


def settle_member(
    gateway: Gateway, request: Request, model: Model, answer: Completion | ProviderError
) -> tuple[Completion | ProviderError, Bill]:
    """The answer with a usage that can be billed, and its bill at the batch price; a failed member costs nothing."""
    baseline = gateway.registry.baseline_of(request)
    named = baseline.name if baseline else None
    if isinstance(answer, ProviderError):
        return answer, Bill(baseline_model=named, price_version=model.price_version)
    draft = Draft(model.name)
    usage = answer.usage
    if usage is None or not books.believable(usage, request, answer, draft):
        usage = books.own_count(request, answer, draft)
    answer = msgspec.structs.replace(answer, model=model.name, provider=model.provider, usage=usage)
    if model.prices is None:
        return answer, Bill(cost=None, baseline_model=named, price_version=model.price_version)
    cost = model.prices.cost(usage, round(1_000 * gateway.settings.pricing.batch_factor))
    sizes = usage.input_tokens, usage.output_tokens
    before = baseline.prices.plain(*sizes) if baseline is not None and baseline.prices is not None else cost
    uncached, live = model.prices.plain(*sizes), model.prices.cost(usage)
    parts = {"routing": before - uncached, "prompt_caching": uncached - live, "batching": live - cost}
    return answer, Bill(
        cost=cost,
        baseline_cost=before,
        saved=before - cost,
        saved_by={name: amount for name, amount in parts.items() if amount},
        baseline_model=named,
        price_version=model.price_version,
    )


def _rejected(reason: str) -> ProviderError:
    return ProviderError(reason, status=400, retryable=False, rejected=True)
