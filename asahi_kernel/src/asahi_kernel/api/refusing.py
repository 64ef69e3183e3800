"""How an error looks to the clients of a path: problem+json natively, the vendors' own shapes under `/v1`."""

from __future__ import annotations

from asahi_kernel.errors import AsahiError
from asahi_kernel.wire import anthropic, native, openai


def shape(error: AsahiError, path: str, request_id: str) -> tuple[str, bytes]:
    """The media type and the body."""
    if path.startswith("/v1/messages"):
        return "application/json", anthropic.error(error, request_id)
    if path.startswith("/v1/"):
        return "application/json", openai.error(error)
    return "application/problem+json", native.problem(error, request_id)


def identity(request_id: str) -> dict[str, str]:
    """The headers that name the request."""
    return {"x-asahi-request-id": request_id, "x-request-id": request_id, "request-id": request_id}
