"""Scraping: who may read the metrics of the whole gateway, and in which form they are asked for."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from litestar import Response

from asahi_kernel.errors import Denied, NotFound

if TYPE_CHECKING:
    from asahi_kernel.gateway import Gateway
    from asahi_kernel.types import Principal

Form: TypeAlias = Literal["json", "text", "openmetrics"]
#: Set in the scope of a request that the guard let in by the scrape token: there is no principal then.
SCRAPER = "asahi.scraper"
#: The framework adds the charset to `text/…` by itself.
TYPES = {
    "text": "text/plain; version=0.0.4",
    "openmetrics": "application/openmetrics-text; version=1.0.0; charset=utf-8",
}
_FORMS: dict[str, Form] = {
    "application/json": "json",
    "application/*": "json",
    "*/*": "json",
    "text/plain": "text",
    "text/*": "text",
    "application/openmetrics-text": "openmetrics",
}


def form_of(accept: str) -> Form:
    """What an `Accept` header likes best, of two alike what it names first; JSON when it names nothing we have."""
    best: Form = "json"
    most = 0.0
    for part in accept.split(","):
        kind, *parameters = (each.strip().lower() for each in part.split(";"))
        form = _FORMS.get(kind)
        share = next((_share(each[2:]) for each in parameters if each.startswith("q=")), 1.0)
        if form is not None and share > most:
            best, most = form, share
    return best


def by_token(gateway: Gateway, headers: Mapping[str, str], path: str) -> bool:
    """Whether a request asks for the text form with the configured token, and for nothing else."""
    token = gateway.settings.observability.scrape_token
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if not token or scheme.lower() != "bearer" or (path == "/metrics" and form_of(headers.get("accept", "")) == "json"):
        return False
    return hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.reveal().encode())


def may_scrape(gateway: Gateway, principal: Principal) -> None:
    """Raises `Denied` for whoever may not see the money of all organisations together."""
    if principal.org != gateway.settings.governance.operator_org:
        raise Denied("metrics of all organisations together are for the operator; ask for application/json")
    if "view_cost" not in principal.permissions:
        raise Denied(f"this needs the permission 'view_cost', which the role {principal.role!r} does not have")


async def exposed(gateway: Gateway, form: Form) -> Response[bytes]:
    """The exposition as an answer; raises `NotFound` where nothing writes one."""
    if gateway.exposing is None:
        raise NotFound("there are no metrics in Prometheus' form: asahi-telemetry is not installed, or is switched off")
    text = await gateway.exposing.exposition(openmetrics=form == "openmetrics")
    return Response(text, media_type=TYPES[form], headers={"vary": "accept"})


def scraped(scope: Any) -> bool:
    """Whether the guard let this request in by the scrape token."""
    return bool(scope.get(SCRAPER))


def _share(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
