"""Everything that may go wrong, in one place: class = meaning, with the HTTP status and the code it becomes.

Messages are for a human who can act. They never hold secrets, hosts, or another tenant's names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AsahiError(Exception):
    """Base of all errors raised on purpose. `code` goes to the client; `details` too, as JSON."""

    status = 500
    code = "internal"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        self.param = param
        self.retry_after = retry_after
        self.details = dict(details or {})


class ConfigError(AsahiError):
    """The configuration cannot be honoured; the gateway refuses to start. The message names path, mistake and fix."""


class PluginError(AsahiError):
    """A plugin broke its contract; the message names its distribution."""


class Invalid(AsahiError):
    """The request is not understood or out of range."""

    status = 400
    code = "invalid_request"


class InvalidJSON(Invalid):
    """The body is not the strict JSON that Asahi accepts."""

    code = "invalid_json"


class Unauthenticated(AsahiError):
    """No valid key. One text for all causes, so that nothing can be probed."""

    status = 401
    code = "unauthenticated"

    def __init__(self) -> None:
        super().__init__("a valid key is required: send it as 'Authorization: Bearer <key>' or 'x-api-key: <key>'")


class Denied(AsahiError):
    """Known, but not allowed."""

    status = 403
    code = "permission_denied"


class NotFound(AsahiError):
    """No such thing, or not yours: the two look the same."""

    status = 404
    code = "not_found"


class MethodNotAllowed(AsahiError):
    status = 405
    code = "method_not_allowed"


class RequestTimeout(AsahiError):
    """The client sent its request too slowly."""

    status = 408
    code = "request_timeout"


class Conflict(AsahiError):
    status = 409
    code = "idempotency_conflict"


class TooLarge(AsahiError):
    status = 413
    code = "body_too_large"


class UnsupportedMediaType(AsahiError):
    status = 415
    code = "unsupported_media_type"


class Unprocessable(AsahiError):
    """Understood, but cannot be done as it is asked."""

    status = 422
    code = "idempotency_mismatch"


class NoRoute(Unprocessable):
    """No model may answer under the stated bounds; the details say what each bound would need."""

    code = "no_route"


class Exhausted(AsahiError):
    """A limit, quota or budget is used up."""

    status = 429
    code = "rate_limited"


class Aborted(AsahiError):
    """The client left, and the configuration says to stop paying."""

    status = 499
    code = "client_closed_request"


class ProviderFailed(AsahiError):
    """Every attempt failed; the details list the attempts by provider and status."""

    status = 502
    code = "provider_error"


class Unavailable(AsahiError):
    """Not now: overloaded, no provider, or no storage. Always with `retry_after`."""

    status = 503
    code = "overloaded"


class DeadlineExceeded(AsahiError):
    """The call took longer than it may."""

    status = 504
    code = "deadline_exceeded"


class Unstorable(Exception):
    """A row that storage can never take, such as text with a NUL. Raised by storages; the journal sets the row apart.
    The message must hold no value of the row."""


class ProviderError(Exception):
    """One attempt at one vendor failed; raised by provider plugins, and only seen by the pipeline.

    `status` is the vendor's HTTP status, None when there was none. `retryable` says whether another attempt at the same
    vendor is sensible, `retry_after` is the vendor's wish in seconds. `rejected` means that the vendor found the
    request itself at fault, so no other attempt will do better. `busy` means that nothing was sent, for want of
    a connection of our own: no fault of the vendor's. The message must hold no credential.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retryable: bool = True,
        retry_after: float | None = None,
        rejected: bool = False,
        timed_out: bool = False,
        busy: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after
        self.rejected = rejected
        self.timed_out = timed_out
        self.busy = busy
