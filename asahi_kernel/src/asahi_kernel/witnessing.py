"""Witnessing: what the audit log is told of inference. Off the request path, and never a prompt or an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asahi_kernel.auditing import Actor, Classification, Result, entry_of
from asahi_kernel.records import OWN

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.records import Event

_RESULTS: dict[str, Result] = {"ok": "success", "denied": "denied"}


def witness(gateway: Gateway, event: Event) -> None:
    """Note a refusal always, and any other request where the org's policy or profile demands it."""
    if event.route == OWN:
        return
    standing = gateway.standings.known(event.org_id)
    denied = event.status == "denied"
    if not (denied or standing.audits_inference):
        return
    secret: Classification = "restricted" if "hipaa" in standing.frameworks else "internal"
    details = {
        "route": event.route,
        "status": event.status,
        "error": event.error,
        "model": event.model_selected or event.model_requested,
        "key_id": event.key_id,
        "cache_tier": event.cache_tier,
    }
    gateway.audit.note(
        entry_of(
            Actor(org=event.org_id, user=event.user_id or event.key_id or "-"),
            "inference_denied" if denied else "inference",
            event.request_id,
            {name: value for name, value in details.items() if value is not None},
            result=_RESULTS.get(event.status, "error"),
            classification=secret,
        )
    )
