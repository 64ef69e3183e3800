"""What the failed attempts of one request mean for its client, all together."""

from __future__ import annotations

from collections.abc import Sequence

from asahi_kernel.errors import (
    AsahiError,
    DeadlineExceeded,
    Exhausted,
    Invalid,
    ProviderError,
    ProviderFailed,
    Unavailable,
)
from asahi_kernel.records import Attempt


class Broken(ProviderFailed):
    """The provider failed after the client had the first byte: nothing may be retried or spliced any more."""


def verdict(
    failures: Sequence[ProviderError], rests_s: float, attempts: Sequence[Attempt], *, expired: bool
) -> AsahiError:
    """One error for all failures. `rests_s` is when a resting provider may be asked again."""
    details = {"attempts": told(attempts)}
    if not failures:
        return Unavailable(
            "every provider that could answer is resting after failures",
            code="no_provider",
            retry_after=max(1.0, rests_s),
            details=details,
        )
    last = failures[-1]
    if last.rejected:
        return Invalid(f"the provider refused the request: {last.message}", details=details)
    if all(failure.status == 429 for failure in failures):
        waits = [failure.retry_after for failure in failures if failure.retry_after is not None]
        return Exhausted(
            "the provider's own rate limit is reached", retry_after=min(waits, default=1.0), details=details
        )
    if all(failure.busy for failure in failures):
        return Unavailable("every connection to the provider is in use", retry_after=1, details=details)
    if last.timed_out or expired:
        return DeadlineExceeded("no provider answered in time", details=details)
    if all(failure.status in {503, 529} for failure in failures):
        return Unavailable("the provider is overloaded", code="no_provider", retry_after=1, details=details)
    return ProviderFailed(f"every attempt failed; the last one: {last.message}", details=details)


def told(attempts: Sequence[Attempt]) -> list[dict[str, object]]:
    """The attempts as an error's details tell them."""
    return [
        {
            "provider": attempt.provider,
            "model": attempt.model,
            "outcome": attempt.outcome,
            "status": attempt.http_status,
        }
        for attempt in attempts
    ]
