"""Every way a vendor can fail, as one error that holds no secret."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec
from msgspec import Struct

from asahi_kernel import ProviderError

_RETRYABLE = frozenset({408, 409, 429})
_REJECTED = frozenset({400, 422})
_LONGEST_TEXT = 300
_SECRET = re.compile(r"\b(?:sk|pk|key|ask)[-_][\w*.\-]{4,}", re.ASCII)
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class _Error(Struct, frozen=True):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None


class _Body(Struct, frozen=True):
    error: _Error | str | None = None
    message: str | None = None


_decode_body = msgspec.json.Decoder(_Body, strict=False).decode
_decode_error = msgspec.json.Decoder(_Error | str, strict=False).decode


def refused(status: int, headers: Mapping[bytes, bytes], body: bytes, secret: str) -> ProviderError:
    """The error for an answer with a status other than 200. Only for a bad request does it quote the vendor."""
    error = _read(body)
    if 300 <= status < 400:
        return ProviderError(f"answered {status}, a redirect; none is followed", status=status, retryable=False)
    if status in _REJECTED:
        text = f"refused the request: {_quote(error.message or 'no reason given', secret)}"
        return ProviderError(text, status=status, retryable=False, rejected=True)
    if status == 429 and error.code == "insufficient_quota":
        return ProviderError("has no quota left for this credential", status=status, retryable=False)
    retryable = status in _RETRYABLE or status >= 500
    return ProviderError(f"answered {status}", status=status, retryable=retryable, retry_after=_retry_after(headers))


def reported(raw: bytes) -> ProviderError:
    """The error for an error object where an answer or an event was due. A status in its code is taken at its word."""
    try:
        error = _decode_error(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = ""
    code = None if isinstance(error, str) else error.code
    status = code if isinstance(code, int) and 400 <= code < 600 else None
    retryable = status is None or status in _RETRYABLE or status >= 500
    return ProviderError("reported an error in place of an answer", status=status, retryable=retryable)


def _read(body: bytes) -> _Error:
    try:
        told = _decode_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Error()
    if isinstance(told.error, _Error):
        return told.error
    return _Error(message=told.error or told.message)


def _quote(text: str, secret: str) -> str:
    """The vendor's text on one line, without credentials, cut short."""
    if secret:
        text = text.replace(secret, "…")
    text = _SECRET.sub("…", _ODD.sub(" ", text[: 4 * _LONGEST_TEXT]))
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _retry_after(headers: Mapping[bytes, bytes]) -> float | None:
    """The vendor's wish in seconds, from `retry-after-ms`, or `retry-after` in seconds or as a date."""
    exact = _number(headers.get(b"retry-after-ms", b""))
    if exact is not None:
        return exact / 1000
    value = headers.get(b"retry-after", b"")
    seconds = _number(value)
    if seconds is not None or not value:
        return seconds
    try:
        date = parsedate_to_datetime(value.decode("latin-1"))
    except ValueError:
        return None
    date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
