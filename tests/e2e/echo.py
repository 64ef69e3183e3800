"""A tiny application behind the real edge: `python -m tests.e2e.echo '<EdgeLimits as JSON>' [workers] [drain_s]`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec

from asahi_kernel.errors import AsahiError
from asahi_kernel.server import EdgeLimits, read_body, run

drained = asyncio.Event()
gone: list[str] = []


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Tells path and body size; `/stream` in pieces, `/early` without reading, `/big` at length, `/wait` never."""
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    path = scope["path"]
    if path == "/stream":
        await stream(send)
        return
    if path == "/wait":
        await read_body(receive, 0)
        await receive()
        gone.append(path)
        return
    status = 200
    try:
        size = 0 if path == "/early" else len(await read_body(receive, 20 << 20))
    except AsahiError as error:
        status, size = error.status, 0
    body = msgspec.json.encode({"path": path, "size": size, "draining": drained.is_set(), "left": len(gone)})
    if path == "/big":
        body = b"x" * (32 << 20)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"x-echo", b"1")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    scope["state"]["on_drain"] = drained.set
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


async def stream(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for index in range(30):
        await send({"type": "http.response.body", "body": b"data: %d\n\n" % index, "more_body": True})
        await asyncio.sleep(0.05)
    last = b"data: draining\n\n" if drained.is_set() else b"data: done\n\n"
    await send({"type": "http.response.body", "body": last})


def make() -> Any:
    """The factory that a worker imports."""
    return echo


def tell(port: int) -> None:
    print(port, flush=True)


def tell_drain() -> None:
    print("draining", flush=True)


def main() -> int:
    limits = msgspec.json.decode(sys.argv[1], type=EdgeLimits)
    workers = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    drain_s = float(sys.argv[3]) if len(sys.argv) > 3 else 10.0
    return run(make, port=0, workers=workers, drain_s=drain_s, limits=limits, on_ready=tell, on_drain=tell_drain)


if __name__ == "__main__":
    sys.exit(main())
