"""How Cohere tells its failures."""

from __future__ import annotations

from collections.abc import Mapping

from asahi_kernel import ProviderError
from asahi_kernel.http import failures

#: A token on the vendor's deny list, a call that is over, a thing that is not made: asking again changes nothing.
_FINAL = frozenset({498, 499, 501})
_MONTHLY = ("calls / month", "calls a month", "per month")


class CohereDialect:
    """Masks the credential in what the host says."""

    request_id = b"x-debug-trace-id"

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def refused(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
        """A trial key that has used up its month answers 429 too, but no waiting helps."""
        told = failures.read_body(body)
        if status in _FINAL:
            return ProviderError(f"answered {status}", status=status, retryable=False)
        if status == 429 and any(word in (told.message or "").lower() for word in _MONTHLY):
            return ProviderError("has no calls left for this credential this month", status=status, retryable=False)
        return failures.refused(status, headers, told, self._secret)

    def reported(self, error: bytes) -> ProviderError:
        """The transcript gives the status that a broken answer stands for."""
        code = failures.read_error(error).code
        return failures.reported(code if isinstance(code, int) else None)
