"""`GET /explain/{request_id}`: the decision record of a past request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, get
from litestar.params import FromPath

from asahi_kernel.api.access import principal_of
from asahi_kernel.api.kept_words import kept_words
from asahi_kernel.api.stored import stored
from asahi_kernel.errors import Invalid, NotFound
from asahi_kernel.identity import is_id
from asahi_kernel.money import dollars
from asahi_kernel.records import Attempt, Considered, Decision, Event

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway


def explain_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    @get("/explain/{request_id:str}", opt={"permission": "infer"}, tags=["explain"])
    async def explain(request: Request[Any, Any, Any], request_id: FromPath[str]) -> dict[str, Any]:
        """Why a request was answered as it was. Another org's id answers 404, the same as an unknown one. `words` is
        what was asked and answered, where the org keeps that, or why it is not there; other users' words need
        view_audit_log."""
        if not is_id(request_id):
            raise Invalid(
                "a request id has 26 letters and digits, as in the header x-asahi-request-id", param="request_id"
            )
        principal = principal_of(request)
        decision = await stored(gateway, gateway.storage.decisions.find(principal.org, request_id))
        if decision is None:
            await gateway.journal.catch_up()
            decision = await stored(gateway, gateway.storage.decisions.find(principal.org, request_id))
        whole_org = "view_metrics" in principal.permissions
        own = decision is not None and principal.user is not None and decision.user_id == principal.user
        if decision is None or not (whole_org or own):
            raise NotFound("there is no such request")
        event = await stored(gateway, gateway.storage.events.find(principal.org, request_id))
        told = await kept_words(gateway, request, request_id, decision.user_id)
        return tell(decision, event) | {"words": told}

    return [explain]


def tell(decision: Decision, event: Event | None) -> dict[str, Any]:
    """A decision as JSON-ready data, money in dollars; money and attempts are those of its event."""
    budget = decision.required.get("cost")
    required = {**decision.required, "cost": None if budget is None else dollars(int(budget))}
    return {
        "request_id": decision.request_id,
        "timestamp": decision.timestamp,
        "mode": decision.mode,
        "task": _task(decision),
        "difficulty": _difficulty(decision),
        "required": required | {"source": dict(decision.sources)},
        "reason": decision.reason,
        "cache": [
            {
                "tier": each.tier,
                "asked": each.asked,
                "hit": each.hit,
                "reason": each.reason,
                "similarity": each.similarity,
            }
            for each in decision.lookups
        ],
        "rules": _rules(decision),
        "candidates": [_candidate(each, decision) for each in decision.candidates],
        "attempts": [_attempt(each) for each in event.attempts] if event else [],
        "money": _money(event),
    }


def _money(event: Event | None) -> dict[str, Any] | None:
    if event is None:
        return None
    return {
        "cost": dollars(event.cost),
        "baseline_cost": dollars(event.baseline_cost),
        "saved": dollars(event.saved),
        "baseline_model": event.baseline_model,
        "price_version": event.price_version,
    }


def _rules(decision: Decision) -> list[dict[str, Any]]:
    told, names = [], [each.name for each in decision.candidates]
    for note in decision.rules:
        names = list(note.order) or [name for name in names if name not in note.dropped]
        dropped = [{"model": model, "reason": reason} for model, reason in note.dropped.items()]
        told.append({"rule": note.rule, "dropped": dropped, "order": names})
    return told


def _task(decision: Decision) -> dict[str, Any]:
    found = decision.findings
    if found is None:
        return {"type": decision.task_type}
    return {"type": found.task, "confidence": found.confidence, "matches": dict(found.matches)}


def _difficulty(decision: Decision) -> dict[str, Any] | None:
    found = decision.findings
    if found is None:
        return None
    return {"score": found.score, "bucket": found.difficulty, "predictor": found.predictor}


def _candidate(candidate: Considered, decision: Decision) -> dict[str, Any]:
    told: dict[str, Any] = {
        "model": candidate.name,
        "predicted_quality": candidate.quality,
        "interval": candidate.interval,
        "estimated_cost": dollars(candidate.cost),
        "latency_ms": candidate.latency_ms,
        "chosen": candidate.name == decision.chosen,
    }
    if told["chosen"]:
        return told
    for note in decision.rules:
        if candidate.name in note.dropped:
            return told | {"refused_by": note.rule, "reason": note.dropped[candidate.name]}
    chosen = next((each for each in decision.candidates if each.name == decision.chosen), None)
    if chosen is not None and chosen.cost is not None and candidate.cost is not None:
        dearer = dollars(candidate.cost - chosen.cost)
        return told | {
            "refused_by": decision.rules[-1].rule,
            "reason": f"adequate, dearer by ${dearer:.9f}".rstrip("0"),
        }
    return told


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "n": attempt.n,
        "provider": attempt.provider,
        "model": attempt.model,
        "outcome": attempt.outcome,
        "http_status": attempt.http_status,
        "ttft_ms": attempt.ttft_ms,
        "latency_ms": attempt.latency_ms,
        "input_tokens": attempt.usage.input_tokens,
        "output_tokens": attempt.usage.output_tokens,
        "cost": dollars(attempt.cost),
        "billed": attempt.billed,
    }
