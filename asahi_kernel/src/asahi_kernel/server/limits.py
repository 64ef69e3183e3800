"""What the HTTP edge allows; every bound of the protocol in one frozen value that can travel to a worker."""

from __future__ import annotations

from msgspec import Struct

INFERENCE_PATHS = frozenset({"/infer", "/v1/chat/completions", "/v1/messages", "/v1/embeddings", "/v1/responses"})
"""Paths whose bodies may be as large as `max_inference_body_bytes`."""


class EdgeLimits(Struct, frozen=True, kw_only=True):
    """Bounds of one server. Times are in seconds, sizes in bytes.

    `bind_host` and `allowed_hosts` decide which `Host` is answered, see `HostRule`. `body_timeout_s` bounds a whole
    body, `write_timeout_s` the time in which a client reads nothing of its answer. After a refusal the edge reads on
    for `linger_s` or `linger_bytes`, so that the answer is not lost in a reset. `drain_grace_s` is how long an idle
    connection may still send a request, which is answered, after the drain began.
    """

    bind_host: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    max_headers: int = 100
    max_header_bytes: int = 16 * 1024
    max_target_bytes: int = 8 * 1024
    max_body_bytes: int = 1024 * 1024
    max_inference_body_bytes: int = 20 * 1024 * 1024
    inference_paths: frozenset[str] = INFERENCE_PATHS
    max_pipelined: int = 1_024
    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    write_timeout_s: float = 30.0
    keep_alive_s: int = 75
    linger_s: float = 2.0
    linger_bytes: int = 32 * 1024 * 1024
    drain_grace_s: float = 1.0
