"""What a decoded call asks for: the request, and what only the gateway may grant."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from asahi_kernel.types import Request


class Asked(Struct, frozen=True, kw_only=True):
    """One decoded call. Nothing here is granted yet: ids are claims to hold against the principal.

    `end_user` is OpenAI's `user`, an identity only where the key may act for users, else a label. `mode_stated` tells a
    mode that the caller chose from one that follows from a named model, which an alias may still turn into another.
    `dimensions` and `encoding_format` are for vectors. `echo` is a JSON object that the answer repeats.
    """

    request: Request
    user_id: str | None = None
    organization_id: str | None = None
    end_user: str | None = None
    idempotency_key: str | None = None
    deadline_s: int | None = None
    include_usage: bool = False
    dimensions: int | None = None
    encoding_format: Literal["float", "base64"] = "float"
    mode_stated: bool = False
    echo: bytes = b""
