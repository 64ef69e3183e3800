"""Serving: the application as worker processes start it, and the drain that their server announces."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from asahi_kernel.api.transport import fixed_headers, trusted_proxies
from asahi_kernel.config import read
from asahi_kernel.errors import ConfigError
from asahi_kernel.gateway import Gateway, storage_of
from asahi_kernel.logs import announce, configure
from asahi_kernel.plugins import load_plugins
from asahi_kernel.server import EdgeLimits, run
from asahi_kernel.settings import Settings

if TYPE_CHECKING:
    from asahi_kernel.api.front import Front

log = logging.getLogger("asahi")

#: How the command line reaches worker processes: a JSON object of dotted keys, laid over file and environment.
OVERRIDES = "ASAHI__COMMAND_LINE"
#: Streams are ended in order this long before the server would cut their connections.
_CUT_BEFORE_S = 2.0
#: How many threads numpy multiplies with, read when it is imported. There is a worker for each core: threads that wait
#: for each other there make one product of two last a hundred times as long.
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_gateways: list[Gateway] = []


def settings(path: Path | None = None) -> Settings:
    """The settings of this process: command line over environment over file over defaults."""
    overrides = json.loads(os.environ.get(OVERRIDES, "{}"))
    env = {key: value for key, value in os.environ.items() if key != OVERRIDES}
    if path is not None:
        env["ASAHI_CONFIG"] = str(path)
    return read(None, env, overrides)


def factory() -> Front:
    """The application, made from the environment alone so that every worker can make its own."""
    from asahi_kernel.app import create_app

    found = settings()
    configure(found.logging)
    gateway = Gateway(found)
    _gateways.append(gateway)
    app = create_app(found, gateway=gateway)
    settle_memory()
    return app


def settle_memory() -> None:
    """What was loaded to start with lives as long as the process: keep it out of every garbage collection, and collect
    less often, since requests leave next to no cycles behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def drain() -> None:
    """The server of this process stops taking requests: readiness turns false."""
    for gateway in _gateways:
        gateway.draining = True
        last = max(gateway.settings.api.drain_s - _CUT_BEFORE_S, gateway.settings.api.drain_s / 2)
        asyncio.get_running_loop().call_later(last, gateway.cut)


def serve(found: Settings) -> int:
    """Serve until told to stop; the exit status."""
    configure(found.logging)
    for name in _THREADS:
        os.environ.setdefault(name, "1")
    api = found.api
    storage = storage_of(found, load_plugins())["type"] if api.workers > 1 else ""
    if api.workers > 1 and storage == "memory" and not api.allow_split_state:
        raise ConfigError(
            f"api.workers: {api.workers} workers would each have their own memory storage, cache and limits; use 1, "
            "a shared storage, or say api.allow_split_state: true"
        )
    limits = EdgeLimits(
        bind_host=api.host,
        allowed_hosts=api.allowed_hosts,
        max_headers=api.max_headers,
        max_header_bytes=api.max_header_bytes,
        max_body_bytes=api.max_body_bytes,
        max_inference_body_bytes=api.max_inference_body_bytes,
        header_timeout_s=api.header_timeout_s,
        body_timeout_s=api.body_timeout_s,
    )

    def ready(port: int) -> None:
        shown = f"[{api.host}]" if ":" in api.host else api.host
        announce(f"Asahi listens on http://{shown}:{port}  (docs: /docs, health: /health)", found.logging)

    return run(
        "asahi_kernel.serving:factory",
        host=api.host,
        port=api.port,
        workers=api.workers,
        drain_s=api.drain_s,
        limits=limits,
        trusted_proxies=trusted_proxies(found),
        headers=fixed_headers(found),
        on_ready=ready,
        on_drain=drain,
    )
