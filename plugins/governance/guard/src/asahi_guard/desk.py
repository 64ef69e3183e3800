"""What the routes share: whose org it is, the body, the version that is expected, and one transaction for a change and
its entry in the audit log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from litestar import Request

from asahi_kernel.api.access import principal_of
from asahi_kernel.errors import Conflict, Invalid, NotFound, UnsupportedMediaType
from asahi_kernel.repositories import Governing
from asahi_kernel.wire.mistakes import checked
from asahi_kernel.wire.strict import scan

if TYPE_CHECKING:
    from asahi_guard.documents import Policy, Profile
    from asahi_kernel.gateway import Gateway

    Document = TypeVar("Document", Policy, Profile)

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_VERSION = re.compile(r'(?:W/)?"?([0-9]{1,9})"?')


def org_of(gateway: Gateway, request: Request[Any, Any, Any], org: str | None) -> str:
    """The org that is asked about: one's own, or, for the operator's admins, any. All others do not exist."""
    principal = principal_of(request)
    if org is None or org == principal.org:
        return principal.org
    if not _ID.fullmatch(org):
        raise Invalid("an org id has 1 to 63 of a-z, 0-9, '_' and '-', and begins with a letter or digit", param="org")
    operates = principal.org == gateway.settings.governance.operator_org and "manage_policy" in principal.permissions
    if not operates:
        raise NotFound("there is no such organisation")
    return org


def governing(gateway: Gateway) -> Governing:
    """The storage, if it keeps such things at all."""
    if not isinstance(gateway.storage, Governing):
        raise NotFound("this gateway's storage keeps no policies")
    return gateway.storage


async def body_of(request: Request[Any, Any, Any], kind: type[Document], org: str) -> Document:
    """The body, strictly; it may repeat the org, and not name another."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("send the body as Content-Type: application/json in UTF-8")
    given = checked(scan(await request.body()), kind)
    if given.org_id is not None and given.org_id != org:
        raise Invalid("`org_id` in the body and the org in the path differ", code="conflicting_fields", param="org_id")
    return msgspec.structs.replace(given, org_id=org)


def expected(request: Request[Any, Any, Any]) -> int | None:
    """The version in `If-Match`, or None where anything may be replaced."""
    header = request.headers.get("if-match")
    if header is None or header.strip() == "*":
        return None
    found = _VERSION.fullmatch(header.strip())
    if found is None:
        raise Invalid("If-Match must be a version, as the policy or profile tells it", param="If-Match")
    return int(found[1])


def conflict(version: int) -> Conflict:
    """Somebody else was quicker."""
    return Conflict(
        f"it is at version {version} by now: read it again, and send that as If-Match",
        code="version_conflict",
        details={"version": version},
    )
