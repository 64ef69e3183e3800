"""`POST /feedback`: a caller's judgement of a past answer, for the rules that learn and the caches that forget."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated, Any, Literal

from litestar import Request, post
from msgspec import Meta, Struct

from asahi_kernel import clock
from asahi_kernel.api.access import principal_of
from asahi_kernel.api.stored import stored
from asahi_kernel.errors import AsahiError, Invalid, NotFound, UnsupportedMediaType
from asahi_kernel.identity import is_id
from asahi_kernel.records import Observation
from asahi_kernel.repositories import Governing
from asahi_kernel.repositories.judgements import Opinion
from asahi_kernel.wire.mistakes import checked
from asahi_kernel.wire.strict import scan

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from asahi_kernel.gateway import Gateway
    from asahi_kernel.records import Event
    from asahi_kernel.types import Principal

log = logging.getLogger(__name__)

THUMBS = {"up": 5.0, "down": 1.0}


#: Tiers whose wrong answer may be known under other ids too: the exact one's elsewhere, and the steps of one in steps.
_OF_MANY = frozenset({1, 3})


class Feedback(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body: which request, and at least one of the three judgements."""

    request_id: str
    rating: Annotated[float, Meta(ge=0, le=5)] | None = None
    thumb: Literal["up", "down"] | None = None
    cache_wrong: bool | None = None
    comment: Annotated[str, Meta(max_length=2_000)] | None = None


def feedback_routes(gateway: Gateway) -> list[HTTPRouteHandler]:
    @post("/feedback", opt={"permission": "infer"}, tags=["feedback"], status_code=204)
    async def feedback(request: Request[Any, Any, Any]) -> None:
        """Judge a past answer of one's own org. Another org's request answers 404, the same as an unknown one."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise UnsupportedMediaType("send the body as Content-Type: application/json in UTF-8")
        principal = principal_of(request)
        given = read(await request.body())
        event = await _find(gateway, principal.org, given.request_id)
        if given.cache_wrong and event.cache_entry_id is not None:
            await forget(gateway, principal.org, event.cache_entry_id)
            if event.cache_tier in _OF_MANY:
                await forget_copies(gateway, principal.org)
        quality = THUMBS[given.thumb] if given.thumb else given.rating
        if quality is not None and not given.cache_wrong and event.status == "ok":
            await teach(gateway, event, principal, quality)
        await keep(gateway, principal, given)

    return [feedback]


def read(body: bytes) -> Feedback:
    """The body, strictly; raises `Invalid`."""
    given = checked(scan(body), Feedback)
    if not is_id(given.request_id):
        raise Invalid("a request id has 26 letters and digits, as in the header x-asahi-request-id", param="request_id")
    if given.rating is not None and given.thumb is not None:
        raise Invalid("`rating` and `thumb` say the same: send one of them", code="conflicting_fields", param="thumb")
    if given.rating is None and given.thumb is None and given.cache_wrong is None:
        raise Invalid("one of `rating`, `thumb` and `cache_wrong` is required", param="rating")
    return given


async def keep(gateway: Gateway, principal: Principal, given: Feedback) -> None:
    """Keep what a user thought, in place of an earlier opinion; the comment only where texts of the org may be kept. A
    storage that fails loses it, logged and counted."""
    if not isinstance(gateway.storage, Governing) or principal.user is None:
        return
    try:
        profile = (await gateway.standings.of(principal.org)).profile
        keeps = profile is None or profile.prompt_storage_allowed
        opinion = Opinion(
            org_id=principal.org,
            request_id=given.request_id,
            user_id=principal.user,
            timestamp=clock.now(),
            rating=given.rating,
            thumb=given.thumb,
            cache_wrong=given.cache_wrong,
            comment=given.comment.encode() if given.comment and keeps else None,
        )
        await stored(gateway, gateway.storage.repositories.feedback.save(opinion))
    except AsahiError:
        gateway.faults["feedback.storage"] += 1
        log.warning("an opinion could not be kept")


async def forget(gateway: Gateway, org: str, entry_id: str) -> bool:
    """Remove a cache entry wherever it is; a tier that fails is logged and counted."""
    gone = False
    for tier in gateway.evicting_tiers:
        try:
            gone |= await tier.evict(org, entry_id)
        except Exception:
            gateway.faults["cache.evict"] += 1
            log.warning("a cache tier failed to evict an entry", exc_info=True)
    return gone


async def forget_copies(gateway: Gateway, org: str) -> None:
    """Other tiers know the answer of an exact hit under an id of their own: they forget all that this org has there."""
    for name, tier in gateway.tiers.items():
        if name not in gateway.exact_tiers:
            try:
                await tier.clear(org)
            except Exception:
                gateway.faults["cache.evict"] += 1
                log.warning("a cache tier failed to clear its entries", exc_info=True)


async def teach(gateway: Gateway, event: Event, principal: Principal, quality: float) -> None:
    """Tell every rule that learns. One that fails loses this observation, logged and counted."""
    observation = Observation(
        request_id=event.request_id,
        org=principal.org,
        user=principal.user,
        model=event.model_selected,
        task=event.task_type,
        difficulty=event.difficulty,
        quality=quality,
        timestamp=clock.now(),
    )
    for learner in gateway.learners:
        try:
            await learner.observe(observation)
        except Exception:
            gateway.faults["rule.observe"] += 1
            log.warning("a rule failed to learn from feedback", exc_info=True)


async def _find(gateway: Gateway, org: str, request_id: str) -> Event:
    event = await stored(gateway, gateway.storage.events.find(org, request_id))
    if event is None:
        await gateway.journal.catch_up()
        event = await stored(gateway, gateway.storage.events.find(org, request_id))
    if event is None:
        raise NotFound("there is no such request")
    return event
