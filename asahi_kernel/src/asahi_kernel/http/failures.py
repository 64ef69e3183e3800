"""Every way a host can fail, as one error that holds no secret."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec
from msgspec import Raw, Struct

from asahi_kernel.errors import ProviderError
from asahi_kernel.http.client import ConnectError
from asahi_kernel.http.connection import BrokenError

_RETRYABLE = frozenset({408, 409, 429})
_REJECTED = frozenset({400, 422})
_LONGEST_TEXT = 300
_SECRET = re.compile(r"\b(?:sk|pk|key|ask)[-_][\w*.\-]{4,}", re.ASCII)
_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NOTHING = Raw(b"null")


class Garbage(ValueError):
    """Not what the host's wire says."""


class Failure(Exception):
    """An error object where an answer was due; `error` is its JSON."""

    def __init__(self, error: bytes) -> None:
        super().__init__()
        self.error = error


class Told(Struct, frozen=True):
    """What a host says of its failure. `details` is JSON, or empty."""

    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    details: bytes = b""


class _Error(Struct, frozen=True):
    message: Raw = _NOTHING
    detail: Raw = _NOTHING
    type: str | None = None
    code: str | int | None = None
    details: Raw = _NOTHING


class _Body(_Error, frozen=True):
    error: Raw = _NOTHING


class _Whole(Struct, frozen=True):
    error: Raw = _NOTHING


_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_body = msgspec.json.Decoder(_Body | list[_Body], strict=False).decode
_decode_error = msgspec.json.Decoder(_Error | str, strict=False).decode
_decode_whole = msgspec.json.Decoder(_Whole).decode
_decode_text = msgspec.json.Decoder(str).decode


def read_body(body: bytes) -> Told:
    """The error in the body of a refusal; empty if there is none. It may be an object, a text, or the first of a list,
    and stand by itself or as `error`."""
    try:
        told = _decode_body(body)
    except _UNREADABLE:
        return Told()
    if isinstance(told, list):
        told = told[0] if told else _Body()
    return _told(told) if bytes(told.error) == b"null" else read_error(bytes(told.error))


def read_error(raw: bytes) -> Told:
    """An error object, or the text in its place."""
    try:
        told = _decode_error(raw)
    except _UNREADABLE:
        return Told()
    return Told(message=told) if isinstance(told, str) else _told(told)


def _told(error: _Error) -> Told:
    """Where a message is no text, it is told as the JSON that it is."""
    raw = next((bytes(each) for each in (error.message, error.detail) if bytes(each) != b"null"), b"")
    try:
        message: str | None = _decode_text(raw) if raw[:1] == b'"' else raw.decode() or None
    except _UNREADABLE:
        message = None
    details = bytes(error.details)
    return Told(message, error.type, error.code, b"" if details == b"null" else details)


def unasked(body: bytes) -> Exception:
    """What a JSON object means where a stream was asked for: mostly an error."""
    try:
        error = bytes(_decode_whole(body).error)
    except _UNREADABLE:
        error = b"null"
    return Garbage("no stream where one was asked for") if error == b"null" else Failure(error)


def refused(status: int, headers: Mapping[bytes, bytes], told: Told, secret: str) -> ProviderError:
    """The error for an answer with a status other than 200. Only for a bad request does it quote the host."""
    if 300 <= status < 400:
        return ProviderError(f"answered {status}, a redirect; none is followed", status=status, retryable=False)
    if status in _REJECTED:
        text = f"refused the request: {_quote(told.message or 'no reason given', secret)}"
        return ProviderError(text, status=status, retryable=False, rejected=True)
    wish = retry_after(headers)
    return ProviderError(f"answered {status}", status=status, retryable=_retryable(status), retry_after=wish)


def reported(status: int | None) -> ProviderError:
    """The error for an error object where an answer or an event was due, with the status it stands for if any."""
    retryable = status is None or _retryable(status)
    return ProviderError("reported an error in place of an answer", status=status, retryable=retryable)


def broken(error: Exception) -> ProviderError:
    """A failure of the connection or of the answer. Only what was surely not sent is worth the same attempt again."""
    match error:
        case ConnectError():
            return ProviderError(str(error), timed_out=error.timed_out, busy=error.busy)
        case BrokenError():
            return ProviderError(str(error), retryable=error.unsent)
        case TimeoutError():
            return ProviderError("did not answer in time", retryable=False, timed_out=True)
        case _:
            return ProviderError("answered with something that is not a complete answer", retryable=False)


def retry_after(headers: Mapping[bytes, bytes]) -> float | None:
    """The host's wish in seconds, from `retry-after-ms`, or `retry-after` in seconds or as a date."""
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


def _retryable(status: int) -> bool:
    return status in _RETRYABLE or status >= 500


def _quote(text: str, secret: str) -> str:
    """The host's text on one line, without credentials, cut short."""
    if secret:
        text = text.replace(secret, "…")
    text = _SECRET.sub("…", _ODD.sub(" ", text[: 4 * _LONGEST_TEXT]))
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None
