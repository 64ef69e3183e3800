"""The bare passthrough that the gateway is measured against: same server, same client, nothing in between."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from asahi_kernel.http.client import Client
from asahi_kernel.server import run


def factory() -> Any:
    client = Client(os.environ["UPSTREAM"], {"authorization": "Bearer sk-bench"}, limit=100, connect_timeout_s=5)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        body = (await receive())["body"]
        until = asyncio.get_running_loop().time() + 30
        response = await client.post("/chat/completions", body, until=until, head_until=until)
        if b'"stream": true' in body:
            await _relay(response, send, until)
            return
        try:
            reply = await response.read(1 << 24)
        finally:
            response.finish()
        head = [(b"content-type", b"application/json"), (b"content-length", str(len(reply)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": reply})

    return app


async def _relay(response: Any, send: Any, until: float) -> None:
    """A stream, piece by piece as it comes."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    try:
        while piece := await response.chunk(until):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        response.finish()
    await send({"type": "http.response.body", "body": b""})


async def lifespan(receive: Any, send: Any) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


if __name__ == "__main__":
    run(
        "benchmarks.passthrough:factory",
        port=0,
        on_ready=lambda port: print(f"listens on http://127.0.0.1:{port}", file=sys.stderr, flush=True),
    )
