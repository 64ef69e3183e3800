"""What was asked and answered in a past request, for who may read it, or why it is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request

from asahi_kernel import words
from asahi_kernel.api.access import actor_of, principal_of
from asahi_kernel.api.stored import stored
from asahi_kernel.auditing import entry_of
from asahi_kernel.repositories import Governing
from asahi_kernel.vault import Unsealable

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.repositories.work import Body

_OFF = "not stored: prompt storage is off"
_FORBIDDEN = "not stored: the compliance profile of this organisation forbids it"
_NOT_THERE = "not stored: it was asked while prompt storage was off, had no answer, is past its time, or was lost"
_NOT_YOURS = "not shown: the words of others need the permission view_audit_log"
_LOCKED = "not shown: it is sealed under a key that is not there any more"


async def kept_words(gateway: Gateway, request: Request[Any, Any, Any], request_id: str, user: str | None) -> Any:
    """Those of the caller's own org alone: the caller's, and of other users to whoever may view the audit log, which
    then says so. Raises `Unavailable` where it cannot."""
    principal = principal_of(request)
    own = user is not None and principal.user == user
    if not own and "view_audit_log" not in principal.permissions:
        return _absent(_NOT_YOURS)
    try:
        body = await stored(gateway, _find(gateway, principal.org, request_id))
    except Unsealable:
        return _absent(_LOCKED)
    standing = gateway.standings.known(principal.org)
    if not standing.may_store_prompts:
        return _absent(_FORBIDDEN)
    if body is None:
        return _absent(_NOT_THERE if standing.preferences.privacy.store_prompts else _OFF)
    if not own:
        entry = entry_of(actor_of(request), "words_read", f"request/{request_id}", {}, classification="confidential")
        await gateway.audit.record(entry)
    return {
        "kept": True,
        "request": msgspec.to_builtins(words.read(body.request)),
        "response": msgspec.to_builtins(words.read(body.response)),
        "expires_at": body.expires_at,
    }


async def _find(gateway: Gateway, org: str, request_id: str) -> Body | None:
    if not isinstance(gateway.storage, Governing):
        return None
    bodies = gateway.storage.repositories.bodies
    body = await bodies.get(org, request_id)
    if body is None and gateway.scribe is not None and gateway.scribe.waiting:
        await gateway.scribe.flush()
        body = await bodies.get(org, request_id)
    return body


def _absent(reason: str) -> dict[str, Any]:
    return {"kept": False, "reason": reason}
