"""What the edge asks of single request headers; the parser has already refused malformed ones."""

from __future__ import annotations

import re

from asahi_kernel.errors import Invalid, UnsupportedMediaType

_SCHEME = re.compile(rb"(?i:bearer)[ \t]+")
_IDEMPOTENCY_KEY = re.compile(rb"[!-~]{1,255}")


class Head:
    """What the edge knows of the request whose headers are being read."""

    host: bytes | None = None
    credential: bytes | None = None
    length = 0
    chunked = False
    expects = False


def note_host(head: Head, value: bytes) -> None:
    """One `Host`; whether it is a known one is asked when the headers are complete."""
    if head.host is not None:
        raise Invalid("the request has more than one Host header")
    head.host = value


def check_credential(head: Head, value: bytes) -> None:
    """One key, however often and wherever it is sent."""
    if head.credential is None:
        head.credential = value
    elif _key(head.credential) != _key(value):
        raise Invalid("the request has two different keys: send one, once", code="conflicting_fields")


def _key(value: bytes) -> bytes:
    return _SCHEME.sub(b"", value, count=1).strip()


def check_transfer_encoding(head: Head, value: bytes) -> None:
    """Chunked and nothing else, so that no two readers disagree about where a body ends."""
    if value.strip().lower() != b"chunked":
        raise Invalid("Transfer-Encoding may only be chunked")
    head.chunked = True


def check_content_encoding(_: Head, value: bytes) -> None:
    """Bodies are never unpacked."""
    if value.strip().lower() not in (b"", b"identity"):
        raise UnsupportedMediaType("a Content-Encoding is not accepted: send the body as it is")


def check_idempotency_key(_: Head, value: bytes) -> None:
    """A key that can be stored and compared."""
    if not _IDEMPOTENCY_KEY.fullmatch(value):
        raise Invalid("Idempotency-Key must be 1 to 255 printable ASCII characters without blanks")


def note_length(head: Head, value: bytes) -> None:
    """The parser has seen to it that this is one number."""
    head.length = int(value)


def note_expectation(head: Head, value: bytes) -> None:
    """Whether the client waits to be told to go on."""
    head.expects = value.lower() == b"100-continue"


CHECKS = {
    b"host": note_host,
    b"authorization": check_credential,
    b"x-api-key": check_credential,
    b"content-length": note_length,
    b"transfer-encoding": check_transfer_encoding,
    b"content-encoding": check_content_encoding,
    b"idempotency-key": check_idempotency_key,
    b"expect": note_expectation,
}
"""The check of each header that has one, by its name in lower case."""
