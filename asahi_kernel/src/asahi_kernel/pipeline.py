"""One inference, start to finish. Read `infer` first: it is the table of contents."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from asahi_kernel import allowances, overhead
from asahi_kernel.asking import bounded, clocked, note_fault, sound
from asahi_kernel.calling import call
from asahi_kernel.errors import AsahiError
from asahi_kernel.fingerprint import fingerprint
from asahi_kernel.holding import close, reserve
from asahi_kernel.holdout import HELD_OUT, draw
from asahi_kernel.money import count_input
from asahi_kernel.records import Lookup
from asahi_kernel.relay import Relay
from asahi_kernel.rendering import render
from asahi_kernel.routing import route, worst_case
from asahi_kernel.screening import screened
from asahi_kernel.settlement import foresee, settle, settle_failure
from asahi_kernel.stepping import Unfinished, Walk
from asahi_kernel.types import Completion, Hit, Request
from asahi_kernel.wanting import in_mode, keeps_exact

if TYPE_CHECKING:
    from asahi_kernel.answer import Answer
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.trace import Trace
    from asahi_kernel.types import Principal

log = logging.getLogger(__name__)
#: What a stored answer must be worth to a caller with a preference; of models still to answer, rules know better.
PREFERRED = {"low": 3.0, "medium": 3.5, "high": 4.0, "max": 4.5}


async def infer(
    gateway: Gateway, request: Request, principal: Principal, trace: Trace, relay: Relay | None = None
) -> Answer:
    """Answer one request, through `relay` as it comes if there is one. Settled exactly once, whatever happens."""
    try:
        request = await admit(gateway, request, principal, trace)
        if gateway.settings.savings.holdout_rate:
            request = await draw(gateway, request, principal, trace)
        hit = await recall(gateway, request, principal, trace)
        if hit is None:
            try:
                completion = await pay(gateway, request, principal, trace, relay)
            except AsahiError:
                if (hit := spared(trace, relay)) is None:
                    raise
        if hit is not None:
            trace.model = hit.completion.model
            completion = await release(gateway, request, hit.completion, principal)
        if relay is not None and not relay.started:
            relay.replay(completion)
    except BaseException as error:
        settle_failure(gateway, request, principal, trace, error)
        raise
    else:
        answer = settle(gateway, request, principal, trace, completion, hit)
        if trace.dispatched:
            await gateway.journal.kept(trace.receipt)
        if gateway.scribe is not None:
            gateway.scribe.hear(request, principal, trace, completion)
        return answer
    finally:
        await close(gateway, principal, trace)


def stream(gateway: Gateway, request: Request, principal: Principal, trace: Trace) -> Relay:
    """The same, detached from the client: the relay gives the chunks and at last the `Answer`, or raises."""
    relay = Relay()
    gateway.relays.add(relay)

    async def own() -> None:
        try:
            relay.finish(await infer(gateway, request, principal, trace, relay))
        except BaseException as error:
            relay.fail(error if isinstance(error, AsahiError) else AsahiError("the stream was cut"))
            if not isinstance(error, Exception):
                raise
            if not isinstance(error, AsahiError):
                log.exception("request %s failed", trace.request_id)
        finally:
            gateway.relays.discard(relay)

    gateway.detach(own())
    return relay


async def rehearse(gateway: Gateway, request: Request, principal: Principal, trace: Trace) -> Answer:
    """A dry run: the same decision, but nobody is called, nothing is paid and nothing recorded."""
    request = await admit(gateway, request, principal, trace)
    shaped = render(await shape(gateway, request, principal))
    ranked = await route(gateway, shaped, principal, trace)
    return foresee(gateway, shaped, trace, ranked[0])


async def admit(gateway: Gateway, request: Request, principal: Principal, trace: Trace) -> Request:
    """Policies fail closed: whatever they raise stops the request."""
    allowances.begin(trace)
    for name, policy in gateway.policies.items():
        work = policy.admit(request, principal)
        if name in gateway.waiting_policies:
            request = await bounded(gateway, f"policy {name!r}", work, Request)
        else:
            request = sound(f"policy {name!r}", await work, Request)
    for note in request.terms.notes:
        trace.warn(note)
    request = in_mode(gateway, request, principal)
    trace.mark("admission")
    return request


async def recall(gateway: Gateway, request: Request, principal: Principal, trace: Trace) -> Hit | None:
    """Caches fail open: a broken tier is a miss. An identical request under way is waited for and shared."""
    if request.terms.cache != "on" or request.n > 1:
        trace.cache_status = "bypass"
        if request.terms.cache == "refresh" and gateway.forewarned_tiers:
            await forewarn(gateway, request, principal, trace)
        return None
    trace.key = fingerprint(request, gateway.salts.of(principal.org))
    overhead.begin(trace)
    hit = await _ask(gateway, request, principal, trace)
    if hit is not None and gateway.settings.cache.early_refresh and await _renews(gateway, principal, trace, hit):
        trace.spare, hit = hit, None
    elif hit is None and (hit := await _steps(gateway, request, principal, trace)) is None:
        hit = await _join(gateway, request, principal, trace)
    trace.mark("cache_lookup")
    return hit


def spared(trace: Trace, relay: Relay | None) -> Hit | None:
    """The entry that was to be renewed early, when that failed; none once a first byte is out."""
    if trace.spare is None or (relay is not None and relay.started):
        return None
    trace.lookups.append(Lookup(tier=trace.spare.tier, hit=True, reason="could not be renewed, and is still good"))
    return trace.spare


async def forewarn(gateway: Gateway, request: Request, principal: Principal, trace: Trace) -> None:
    """Tell the tiers that must know when a question began, where they are not asked for an answer. Fails open."""
    key = fingerprint(request, gateway.salts.of(principal.org))
    for tier in gateway.forewarned_tiers:
        try:
            await bounded(gateway, "cache tier", tier.expect(key, principal), type(None))
        except Exception:  # noqa: BLE001 - fails open
            note_fault(gateway, "cache", type(tier).__name__)


async def pay(
    gateway: Gateway, request: Request, principal: Principal, trace: Trace, relay: Relay | None
) -> Completion:
    """What a miss costs: obtained whole or in steps, released, remembered."""
    gateway.journal.admit()
    with gateway.flights.lead(trace.key) as flight:
        live = screened(gateway, request, principal, relay)
        try:
            completion = await obtain_steps(gateway, principal, trace, live) if trace.walk is not None else None
            if completion is None:
                completion = await obtain(gateway, request, principal, trace, live)
        finally:
            if relay is not None:
                relay.screen = None
        trace.mark("inference")
        completion = await release(gateway, request, completion, principal)
        shared = completion if cacheable(request, completion, trace) else None
        if shared is not None:
            await remember(gateway, request, principal, shared, trace)
        flight.land(shared)
    return completion


async def obtain(
    gateway: Gateway, request: Request, principal: Principal, trace: Trace, live: Relay | None, deadline: float = 0.0
) -> Completion:
    """One answer of a model: shaped, routed, reserved, called."""
    shaped = render(request if trace.arm == HELD_OUT else await shape(gateway, request, principal))
    ranked = await route(gateway, shaped, principal, trace)
    await reserve(gateway, principal, ranked, trace, worst_case(shaped))
    trace.mark("routing")
    completion = await call(gateway, shaped, principal, ranked, trace, live, deadline=deadline)
    tell(gateway, shaped, principal, completion)
    return completion


async def obtain_steps(gateway: Gateway, principal: Principal, trace: Trace, live: Relay | None) -> Completion | None:
    """The answer in steps, of which only the missing ones are paid for; None where it must be answered whole."""

    async def step(request: Request, part: Trace, relay: Relay | None, deadline: float) -> Completion:
        return await obtain(gateway, request, principal, part, relay, deadline)

    assert trace.walk is not None
    seconds = gateway.patience_s if live is None else gateway.longest_s
    try:
        completion = await trace.walk.finish(trace, live, step, seconds)
    except Unfinished:
        trace.walk = None
        return None
    trace.steps = trace.walk.notes
    return completion


async def shape(gateway: Gateway, request: Request, principal: Principal) -> Request:
    """Transforms fail open: the request goes on as it was."""
    for name, transform in gateway.transforms.items():
        try:
            request = await bounded(gateway, f"transform {name!r}", transform.apply(request, principal), Request)
        except Exception:  # noqa: BLE001 - fails open
            note_fault(gateway, "transform", name)
    return request


def tell(gateway: Gateway, request: Request, principal: Principal, completion: Completion) -> None:
    """Rules that keep track of who answered fail open."""
    for witness in gateway.witnesses:
        try:
            witness.answered(request, principal, completion)
        except Exception:  # noqa: BLE001 - fails open
            note_fault(gateway, "rule", type(witness).__name__)


async def release(gateway: Gateway, request: Request, completion: Completion, principal: Principal) -> Completion:
    """The policies that look at answers, in reverse, on hits too. They fail closed."""
    for policy in gateway.output_policies:
        name, work = f"policy {type(policy).__name__!r}", policy.release(request, completion, principal)
        if getattr(policy, "local", False):
            completion = sound(name, await work, Completion)
        else:
            completion = await bounded(gateway, name, work, Completion)
    return completion


async def remember(
    gateway: Gateway, request: Request, principal: Principal, completion: Completion, trace: Trace
) -> None:
    """Every tier may keep the answer; a tier that fails loses only its own copy. An answer to a question from before
    the org cleared its cache is not kept."""
    if gateway.cleared.get(principal.org, 0.0) > trace.started:
        return
    key = trace.key or fingerprint(request, gateway.salts.of(principal.org))
    exact = keeps_exact(gateway, principal.org)
    for name, tier in gateway.tiers.items():
        if name in gateway.exact_tiers and not exact:
            continue
        breaker = gateway.tier_breakers[name]
        if not breaker.enter():
            continue
        try:
            async with clocked(gateway, name):
                await tier.put(key, request, principal, completion)
            breaker.succeed()
        except Exception:  # noqa: BLE001 - fails open
            breaker.fail()
            note_fault(gateway, "cache", name)
        finally:
            breaker.leave()


def cacheable(request: Request, completion: Completion, trace: Trace) -> bool:
    """Only whole answers are kept: never a truncated, filtered or broken one, never one of several."""
    return (
        request.terms.cache != "off"
        and request.n == 1
        and completion.finish_reason in {"stop", "tool_calls"}
        and not trace.inexact
    )


async def _ask(gateway: Gateway, request: Request, principal: Principal, trace: Trace) -> Hit | None:
    exact = keeps_exact(gateway, principal.org)
    for position, (name, tier) in enumerate(gateway.tiers.items(), 1):
        if tier is gateway.stepwise:
            continue
        if name in gateway.exact_tiers and not exact:
            trace.lookups.append(Lookup(tier=position, asked=False, reason="switched off in the settings"))
            continue
        breaker = gateway.tier_breakers[name]
        if not breaker.enter():
            trace.lookups.append(Lookup(tier=position, asked=False, reason="tier is resting after failures"))
            continue
        try:
            async with clocked(gateway, name):
                hit = await tier.get(trace.key, request, principal)
            if hit is not None and not isinstance(hit, Hit):
                raise TypeError(f"a tier must give a Hit, not a {type(hit).__name__}")
            breaker.succeed()
        except Exception as error:  # noqa: BLE001 - a broken tier is a miss
            breaker.fail()
            note_fault(gateway, "cache", name)
            trace.lookups.append(Lookup(tier=position, reason=f"tier failed: {type(error).__name__}"))
            continue
        finally:
            breaker.leave()
        reason = "no entry" if hit is None else _unfit(gateway, request, principal, hit)
        if hit is not None and not reason:
            trace.lookups.append(Lookup(tier=hit.tier, hit=True, similarity=hit.similarity))
            return _stored(hit)
        trace.lookups.append(Lookup(tier=position, reason=reason))
    return None


async def _steps(gateway: Gateway, request: Request, principal: Principal, trace: Trace) -> Hit | None:
    """The answer of which every step is known. What is missing of it is done later, once it must be paid for."""
    tier = gateway.stepwise
    if tier is None or trace.arm == HELD_OUT or gateway.flights.under_way(trace.key):
        return None
    plan = tier.plan(request, principal)
    if plan is None:
        trace.lookups.append(Lookup(tier=3, asked=False, reason="not a request to answer in steps"))
        return None
    tokens = count_input(render(request))
    trace.walk = Walk(gateway, tier, plan, principal, tokens, lambda hit: not _unfit(gateway, request, principal, hit))
    try:
        hit = await trace.walk.known()
    except Exception as error:  # noqa: BLE001 - a broken tier is a miss
        note_fault(gateway, "cache", type(tier).__name__)
        trace.lookups.append(Lookup(tier=3, reason=f"tier failed: {type(error).__name__}"))
        return None
    known = f"{len(trace.walk.notes)} of {plan.total} steps known"
    trace.lookups.append(Lookup(tier=3, hit=hit is not None, reason="" if hit else known))
    if hit is not None:
        trace.steps = trace.walk.notes
    return hit


async def _renews(gateway: Gateway, principal: Principal, trace: Trace, hit: Hit) -> bool:
    """Whether this request is the one that renews the entry it found, shortly before that expires."""
    if hit.tier != 1 or hit.expires_in_s is None or gateway.flights.under_way(trace.key):
        return False
    seconds = gateway.early.due(trace.key, hit, gateway.registry.by_name[hit.completion.model].avg_latency_ms / 1e3)
    if not seconds:
        return False
    for tier in gateway.claiming_tiers:
        try:
            if not await bounded(gateway, "cache tier", tier.claim(trace.key, principal, seconds), bool):
                return False
        except Exception:  # noqa: BLE001 - fails open: the entry is still good
            note_fault(gateway, "cache", type(tier).__name__)
            return False
    trace.lookups[-1] = Lookup(tier=hit.tier, reason="renewed before it expires")
    return True


async def _join(gateway: Gateway, request: Request, principal: Principal, trace: Trace) -> Hit | None:
    if not gateway.settings.cache.single_flight:
        return None
    completion = await gateway.flights.follow(trace.key, gateway.patience_s)
    if completion is None:
        return None
    hit = _stored(Hit(completion=completion, tier=1, entry_id=trace.request_id))
    if _unfit(gateway, request, principal, hit):
        return None
    trace.lookups.append(Lookup(tier=1, hit=True, reason="shared with an identical request under way"))
    return hit


def _unfit(gateway: Gateway, request: Request, principal: Principal, hit: Hit) -> str:
    """Why an entry may not be served today, or nothing."""
    model = gateway.registry.by_name.get(hit.completion.model)
    if model is None:
        return "its model is no longer registered"
    for veto in gateway.vetoes:
        if reason := veto.objection(request, principal, hit.completion):
            return reason
    terms = request.terms
    quality = model.quality_score if hit.completion.quality is None else hit.completion.quality
    floor = max(
        terms.quality_threshold or 0.0, PREFERRED[terms.quality_preference or "medium"] * (terms.mode == "guided")
    )
    return f"its model's quality {quality:.2f} < {floor:.2f}" if quality < floor else ""


def _stored(hit: Hit) -> Hit:
    usage = hit.completion.usage
    if usage is None:
        return hit
    return msgspec.structs.replace(
        hit, completion=msgspec.structs.replace(hit.completion, usage=msgspec.structs.replace(usage, source="stored"))
    )
