"""How an OpenAI-compatible host tells its failures."""

from __future__ import annotations

import re
from collections.abc import Mapping

from asahi_kernel import ProviderError
from asahi_kernel.http import failures

_DELAY = re.compile(rb'"retryDelay"\s*:\s*"(\d{1,6}(?:\.\d{1,9})?)s"')


class OpenAIDialect:
    """Masks the credential in what the host says."""

    request_id = b"x-request-id"

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def refused(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
        """A quota that is used up answers 429 too, but no waiting helps; a key that is wrong answers 400 at Google's,
        but the request is not at fault. Google tells its wish in the body."""
        told = failures.read_body(body)
        if status == 429 and told.code == "insufficient_quota":
            return ProviderError("has no quota left for this credential", status=status, retryable=False)
        if status == 400 and (told.message or "").startswith("API key"):
            return ProviderError("did not accept the credential", status=401, retryable=False)
        error = failures.refused(status, headers, told, self._secret)
        if error.retryable and error.retry_after is None:
            error.retry_after = _delay(told.details)
        return error

    def reported(self, error: bytes) -> ProviderError:
        """A status in the error's code is taken at its word."""
        code = failures.read_error(error).code
        return failures.reported(code if isinstance(code, int) and 400 <= code < 600 else None)


def _delay(details: bytes) -> float | None:
    """The seconds in a `google.rpc.RetryInfo`."""
    found = _DELAY.search(details)
    return float(found.group(1)) if found else None
