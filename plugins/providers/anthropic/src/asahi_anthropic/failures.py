"""How Anthropic tells its failures."""

from __future__ import annotations

from collections.abc import Mapping

from asahi_kernel import ProviderError
from asahi_kernel.http import failures

_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


class AnthropicDialect:
    """Masks the credential in what the host says."""

    request_id = b"request-id"

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def refused(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
        """An empty account answers 400 as well, but the request is not at fault: another provider may serve it."""
        told = failures.read_body(body)
        if status == 400 and "credit balance" in (told.message or ""):
            return ProviderError("has no credit left for this credential", status=status, retryable=False)
        return failures.refused(status, headers, told, self._secret)

    def reported(self, error: bytes) -> ProviderError:
        """The error's type stands for the status that it has elsewhere."""
        return failures.reported(_STATUSES.get(failures.read_error(error).type or ""))
