"""How the edge says no: a complete HTTP answer in the error shape of the route, which closes the connection."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

import msgspec

from asahi_kernel.errors import AsahiError
from asahi_kernel.served import refused

METHODS = {name.encode(): name for name in ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")}
"""Methods that may reach a handler."""


class UriTooLong(AsahiError):
    status = 414
    code = "uri_too_long"


class HeadersTooLarge(AsahiError):
    status = 431
    code = "headers_too_large"


def render(error: AsahiError, path: bytes, headers: Iterable[tuple[bytes, bytes]] = (), *, body: bool = True) -> bytes:
    """The bytes of the answer; `headers` are the server's defaults, `body` is False for the answer to a HEAD."""
    request_id = refused(error)
    kind, content = _content(error, path, request_id)
    lines = [
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode(),
        *(name + b": " + value for name, value in headers),
        b"content-type: " + kind,
        b"content-length: %d" % len(content),
        f"x-request-id: {request_id}\r\nx-asahi-request-id: {request_id}".encode(),
        b"connection: close",
    ]
    if error.status == 405:
        lines.append(b"allow: " + b", ".join(METHODS))
    if error.retry_after is not None:
        lines.append(b"retry-after: %d" % max(1, round(error.retry_after)))
    return b"\r\n".join([*lines, b"", content if body else b""])


def _content(error: AsahiError, path: bytes, request_id: str) -> tuple[bytes, bytes]:
    if path.startswith(b"/v1/messages"):
        kind = "request_too_large" if error.status == 413 else "invalid_request_error"
        told = {"type": "error", "error": {"type": kind, "message": error.message}, "request_id": request_id}
        return b"application/json", msgspec.json.encode(told)
    if path.startswith(b"/v1/"):
        reason = {"message": error.message, "type": "invalid_request_error", "param": error.param, "code": error.code}
        return b"application/json", msgspec.json.encode({"error": reason})
    problem = {
        "error": error.code,
        "message": error.message,
        "request_id": request_id,
        "details": error.details,
        "type": "about:blank",
        "title": error.code.replace("_", " "),
        "status": error.status,
    }
    return b"application/problem+json", msgspec.json.encode(problem)
