"""Starts the HTTP server, in this process or over several workers, and ends it without cutting an answer."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeAlias

from uvicorn.config import STARTUP_FAILURE, Config
from uvicorn.server import Server
from uvicorn.supervisors.multiprocess import Multiprocess

from asahi_kernel.server.limits import EdgeLimits
from asahi_kernel.server.protocol import edge_protocol

if TYPE_CHECKING:
    import socket

AppFactory: TypeAlias = Callable[[], Any] | str


def run(
    app_factory: AppFactory,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    drain_s: float = 120.0,
    limits: EdgeLimits | None = None,
    trusted_proxies: Sequence[str] = (),
    headers: Sequence[tuple[str, str]] = (),
    on_ready: Callable[[int], None] | None = None,
    on_drain: Callable[[], None] | None = None,
) -> int:
    """Serves until SIGTERM or SIGINT and returns the exit status; a second signal ends without waiting.

    `on_ready` gets the port once requests are answered. `on_drain` is called in each serving process when its drain
    begins. `headers` are said on every answer. With several workers, `app_factory` and `on_drain` must be importable:
    functions of a module; the factory may also be a string `module:factory`.
    """
    config = EdgeConfig(
        app_factory,
        limits=limits or EdgeLimits(bind_host=host),
        on_drain=on_drain,
        host=host,
        port=port,
        workers=workers,
        drain_s=drain_s,
        trusted_proxies=trusted_proxies,
        headers=headers,
    )
    if workers > 1:
        return Supervisor(config, [config.bind_socket()], on_ready).serve()
    server = EdgeServer(config, on_ready)
    server.run()
    return 0 if server.started else STARTUP_FAILURE


class EdgeConfig(Config):
    """uvicorn's configuration for the edge. It makes the protocol class on loading, as a worker cannot be sent one."""

    def __init__(
        self,
        app_factory: AppFactory,
        *,
        limits: EdgeLimits,
        host: str,
        port: int,
        workers: int = 1,
        drain_s: float = 120.0,
        trusted_proxies: Sequence[str] = (),
        headers: Sequence[tuple[str, str]] = (),
        on_drain: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(
            app_factory,
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="auto",
            ws="none",
            lifespan="on",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            headers=list(headers),
            backlog=2048,
            timeout_keep_alive=limits.keep_alive_s,
            timeout_graceful_shutdown=math.ceil(drain_s),
        )
        self.limits = limits
        self.on_drain = on_drain

    def load(self) -> None:
        self.http = edge_protocol(self.limits, *filter(None, [self.on_drain]))
        super().load()


class EdgeServer(Server):
    """One serving process."""

    def __init__(self, config: Config, on_ready: Callable[[int], None] | None = None) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._on_ready is not None and self.started:
            self._on_ready(self.servers[0].sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not kept for raising it again after the drain, as uvicorn does: a drained server has ended well.
        self.force_exit = self.should_exit
        self.should_exit = True


class Supervisor(Multiprocess):
    """Several serving processes on one socket; a dead one is replaced, SIGHUP replaces them one by one."""

    def __init__(self, config: Config, sockets: list[socket.socket], on_ready: Callable[[int], None] | None) -> None:
        super().__init__(config, sockets)
        self._on_ready = on_ready

    def serve(self) -> int:
        """Runs until told to stop and returns the exit status."""
        self.run()
        failed = any(process.exitcode == STARTUP_FAILURE for process in self.processes)
        return STARTUP_FAILURE if failed else 0

    def keep_subprocess_alive(self) -> None:
        super().keep_subprocess_alive()
        if self._on_ready is not None and all(process.is_ready(timeout=1) for process in self.processes):
            self._on_ready(self.sockets[0].getsockname()[1])
            self._on_ready = None

    def terminate_all(self) -> None:
        self.signal_queue.clear()
        super().terminate_all()
        for listener in self.sockets:
            listener.close()  # or new clients would hang in its backlog while the workers drain

    def join_all(self) -> None:
        """Waits for the workers, and for no more than their exit once a second signal has come."""
        while any(process.process.is_alive() for process in self.processes):
            if signal.SIGTERM in self.signal_queue or signal.SIGINT in self.signal_queue:
                for process in self.processes:
                    process.process.kill()
            time.sleep(0.05)
        super().join_all()
