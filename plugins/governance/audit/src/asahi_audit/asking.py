"""What a reader of the log asks for: which entries, of when, and from where on."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import get_args

from asahi_kernel.auditing import Result
from asahi_kernel.errors import Invalid, NotFound
from asahi_kernel.repositories.audit import AuditQuery
from asahi_kernel.types import Principal

_MOST = 500
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_LONGEST = timedelta(days=400)
_MARK = 16


def query_of(
    action: str | None, user_id: str | None, result: str | None, start: str | None, end: str | None
) -> AuditQuery:
    """The filters; raises `Invalid`."""
    for name, text in (("action", action), ("user_id", user_id)):
        if text is not None and not (0 < len(text) <= 100 and text.isascii() and text.isprintable()):
            raise Invalid(f"{name} must be 1 to 100 printable ASCII characters", param=name)
    if result is not None and result not in get_args(Result):
        raise Invalid(f"result must be one of: {', '.join(get_args(Result))}", param="result")
    first, last = _moment(start, "from"), _moment(end, "to")
    if first is not None and last is not None and not first <= last:
        raise Invalid("from must not be after to", param="from")
    if first is not None and last is not None and last - first > _LONGEST:
        raise Invalid("from and to may be 400 days apart at most", param="from")
    return AuditQuery(action=action, user_id=user_id, result=result, start=first, end=last)


def org_of(principal: Principal, org_id: str | None, operator: str) -> str:
    """The org whose log is read: the caller's own; another one only for the operator."""
    if org_id in {None, principal.org}:
        return principal.org
    if principal.org != operator or not org_id:
        raise NotFound("there is no such organisation")
    return org_id


def limit_of(text: str) -> int:
    """How many at once."""
    if not text.isascii() or not text.isdigit() or len(text) > 3 or not 1 <= int(text) <= _MOST:
        raise Invalid(f"limit must be a number from 1 to {_MOST}", param="limit")
    return int(text)


def cursor(key: bytes, org: str, seq: int) -> str:
    """Where the next page begins, for the caller to give back unchanged."""
    body = seq.to_bytes(8, "big")
    return base64.urlsafe_b64encode(body + _mark(key, org, body)).decode()


def place_of(key: bytes, org: str, text: str) -> int:
    """The other way round; raises `Invalid` for what was not made here for this org."""
    try:
        raw = base64.b64decode(text, altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    body, mark = raw[:8], raw[8:]
    if len(raw) != 8 + _MARK or not hmac.compare_digest(mark, _mark(key, org, body)):
        raise Invalid("this is no cursor of a page before", param="cursor")
    return int.from_bytes(body, "big")


def _mark(key: bytes, org: str, body: bytes) -> bytes:
    return hmac.digest(key, org.encode() + b"\0" + body, hashlib.sha256)[:_MARK]


def _moment(text: str | None, name: str) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f"{name} must be a time such as 2026-11-26T12:00:00Z", param=name) from None
    if not _FIRST <= found <= _LAST:
        raise Invalid(f"{name} must be between 1970 and 2200", param=name)
    return found
