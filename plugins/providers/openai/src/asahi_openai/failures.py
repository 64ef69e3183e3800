"""How an OpenAI-compatible host tells its failures."""

from __future__ import annotations

from collections.abc import Mapping

from asahi_kernel import ProviderError
from asahi_kernel.http import failures


class OpenAIDialect:
    """Masks the credential in what the host says."""

    request_id = b"x-request-id"

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def refused(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
        """A quota that is used up answers 429 too, but no waiting helps."""
        told = failures.read_body(body)
        if status == 429 and told.code == "insufficient_quota":
            return ProviderError("has no quota left for this credential", status=status, retryable=False)
        return failures.refused(status, headers, told, self._secret)

    def reported(self, error: bytes) -> ProviderError:
        """A status in the error's code is taken at its word."""
        code = failures.read_error(error).code
        return failures.reported(code if isinstance(code, int) and 400 <= code < 600 else None)
